//! Messages for what a user can meet: what is wrong, then the line to change or the command to run.

use tcs_client::{ClientError, Liveness, similar};
use tcs_config::{ConfigError, Diagnostics};
use tcs_manager::systemd::SystemdError;
use tcs_wire::rpc::RpcError;
use tcs_wire::{Exit, IdError, UnitName};

use crate::clock::Clock;
use crate::settings::Settings;

/// Why a command failed, in words, with its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Makes the message of an error of the client.
    pub(crate) fn of_client(error: &ClientError, settings: &Settings, clock: &Clock) -> Self {
        match error {
            ClientError::NoNats { reason, .. } => {
                let message = match reason {
                    Some(reason) => format!("{error} ({reason})"),
                    None => error.to_string(),
                };
                Self::new(Exit::Unavailable, message)
                    .hint(format!("the address comes from {}", settings.origin))
                    .hint("start the server there: systemctl start nats-server")
                    .hint("or name another one: tcsctl --nats nats://HOST:4222")
            }
            ClientError::Login { reason, .. } => Self::new(Exit::NotPermitted, format!("{error} ({reason})"))
                .hint(format!("the address comes from {}", settings.origin))
                .hint("user and password stand in it: nats://USER:PASSWORD@HOST:4222"),
            ClientError::NoJetStream { .. } => Self::new(Exit::Unavailable, error.to_string())
                .hint("add the line `jetstream {}` to its configuration, for example /etc/nats-server.conf")
                .hint("then restart it: systemctl restart nats-server"),
            ClientError::NoManager { .. } => Self::new(Exit::Unavailable, error.to_string())
                .hint("on the host that runs the services: systemctl start tcs-manager")
                .hint(format!(
                    "the manager must use the same server; yours comes from {}",
                    settings.origin
                )),
            ClientError::NoSuchService { similar, .. } => {
                Self::new(Exit::NoSuchUnit, error.to_string()).near(similar)
            }
            ClientError::SeveralHosts { hosts, .. } => {
                Self::new(Exit::Usage, error.to_string()).hint(format!(
                    "say which one: --host {}",
                    hosts.first().map_or("HOST", String::as_str)
                ))
            }
            ClientError::NotOnHost { hosts, .. } => {
                let failure = Self::new(Exit::NoSuchUnit, error.to_string());
                if hosts.is_empty() {
                    failure
                } else {
                    failure.hint(format!("it is on {}", hosts.join(", ")))
                }
            }
            ClientError::ManagerAway { id, host, liveness } => {
                let failure = Self::new(Exit::Unavailable, format!("{error}{}", absence(*liveness, clock)));
                failure
                    .hint(format!(
                        "on {host}: systemctl restart tcs-manager; journalctl -u tcs-manager"
                    ))
                    .hint(format!(
                        "without the manager, on {host}: systemctl status {}",
                        UnitName::service(id)
                    ))
            }
            ClientError::Unmanaged {
                parent,
                host,
                pid,
                heard,
                ..
            } => {
                let place = host
                    .as_ref()
                    .map(|host| format!(" on {host}"))
                    .unwrap_or_default();
                let process = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
                let last = heard
                    .map(|time| format!(", last heard of {}", clock.full(time)))
                    .unwrap_or_default();
                let by = match parent {
                    Some(parent) => format!("`{parent}` runs it"),
                    None => "it was started by hand".to_owned(),
                };
                Self::new(Exit::Unavailable, format!("{error}: {by}{place}{process}{last}"))
                    .hint("only services of a manager can be controlled from here")
            }
            ClientError::NoAnswer { .. } => Self::new(Exit::Unavailable, error.to_string())
                .hint("it may still be going on: tcsctl list, tcsctl events")
                .hint("to wait longer: --timeout SECONDS"),
            ClientError::Refused(refusal) => Self::of_refusal(refusal),
            ClientError::Options(inner) => {
                let why = std::error::Error::source(inner)
                    .map(|source| format!(": {source}"))
                    .unwrap_or_default();
                Self::new(Exit::Configuration, format!("{error}{why}"))
                    .hint(format!("the address comes from {}", settings.origin))
            }
            ClientError::Lost => Self::new(Exit::Unavailable, error.to_string())
                .hint("what was asked for may still be going on: tcsctl list, tcsctl events"),
            ClientError::Bus(_) => Self::new(Exit::Unavailable, error.to_string()),
        }
    }

    /// Makes the message of a refusal, in the words of the side that refused.
    pub(crate) fn of_refusal(refusal: &RpcError) -> Self {
        let code = refusal.kind.exit_code();
        let exit = Exit::ALL.into_iter().find(|exit| exit.code() == code);
        let exit = exit.unwrap_or(Exit::Failed);
        Self::new(exit, refusal.message.clone())
    }

    /// Makes the message of a name that is not among the known ones.
    pub(crate) fn no_such_service<'a>(
        nobody_has: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::new(Exit::NoSuchUnit, format!("{nobody_has} service `{name}`")).near(&similar(name, known))
    }

    /// Adds the names that were perhaps meant.
    pub(crate) fn near(self, names: &[impl AsRef<str>]) -> Self {
        if names.is_empty() {
            return self.hint("those that are there: tcsctl list");
        }
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        self.hint(format!("did you mean `{}`?", names.join("`, `")))
    }

    /// Makes the message of an error of systemd on this host.
    pub(crate) fn of_systemd(error: &SystemdError) -> Self {
        let chain = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        match error {
            SystemdError::TooOld { .. } => Self::new(Exit::Unavailable, chain)
                .hint("upgrade this host: Debian 12, Ubuntu 23.04 and anything newer have it"),
            SystemdError::Denied(_) => Self::new(Exit::NotPermitted, chain)
                .hint("while NATS is away systemd itself is asked: try again with sudo"),
            SystemdError::NoSuchUnit(_) => Self::new(Exit::NoSuchUnit, chain),
            SystemdError::Masked(_) => Self::new(Exit::Failed, chain).hint("systemctl unmask UNIT lifts it"),
            _ => Self::new(Exit::Unavailable, chain),
        }
    }

    /// Makes the message of a text that is no service's name.
    pub(crate) fn of_name(error: &IdError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }

    /// Makes the message of configuration files that cannot be had.
    pub(crate) fn of_files(error: &ConfigError) -> Self {
        let why = std::error::Error::source(error)
            .map(|source| format!(": {source}"))
            .unwrap_or_default();
        Self::new(Exit::Configuration, format!("{error}{why}"))
    }

    /// Makes the message of a wrong configuration.
    pub(crate) fn of_configuration(problems: &Diagnostics) -> Self {
        let text = problems.to_string();
        // The printer says that it is an error.
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        Self::new(Exit::Configuration, text.trim_end()).hint("without it: tcsctl --nats nats://HOST:4222")
    }
}

/// Says what is known of a manager that does not answer.
pub(crate) fn absence(liveness: Liveness, clock: &Clock) -> String {
    match liveness {
        Liveness::Alive => ", though it beats".to_owned(),
        Liveness::Silent { since } => format!(": silent since {}", clock.full(since)),
        Liveness::Stopped { since } => format!(": stopped since {}", clock.full(since)),
        Liveness::NeverHeard => ": it was never heard of".to_owned(),
    }
}

#[cfg(test)]
mod tests;
