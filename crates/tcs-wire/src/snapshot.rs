//! The mirror: one record per service on KV `tcs_state`, key `MANAGER_ID.SERVICE_ID`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{HostName, ServiceId};
use crate::registry::RestartPolicy;
use crate::time::WireTime;

/// What kind of service it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Runs until it is stopped.
    #[default]
    Permanent,
    /// Runs to completion, on demand or by timer.
    Job,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Permanent => "permanent",
            Self::Job => "job",
        })
    }
}

/// A service as the manager of its host sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// The service.
    #[schemars(with = "String")]
    pub service_id: ServiceId,
    /// Who says so.
    #[schemars(with = "String")]
    pub manager: ServiceId,
    /// On which host.
    #[schemars(with = "String")]
    pub host: HostName,
    /// Permanent or job.
    pub kind: Kind,
    /// Whether the host's configuration names it.
    pub declared: bool,
    /// Its restart policy, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// Restarts allowed in a row; absent where there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<u32>,
    /// What systemd says of the service unit.
    pub unit: UnitSnapshot,
    /// What systemd says of its timer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<TimerSnapshot>,
    /// When the record was made.
    pub updated: WireTime,
}

/// The properties of a service unit, in systemd's own words and numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UnitSnapshot {
    /// The unit's name.
    pub name: String,
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error`.
    pub load_state: String,
    /// `active`, `inactive`, `activating`, `deactivating`, `failed`, `reloading`.
    pub active_state: String,
    /// `running`, `dead`, `auto-restart`, `start`, …
    pub sub_state: String,
    /// `success`, `exit-code`, `signal`, `core-dump`, `watchdog`, `timeout`, `oom-kill`, …
    pub result: String,
    /// `enabled`, `disabled`, `static`, `masked`, …; empty where there is no file.
    pub unit_file_state: String,
    /// Whether the files on disk are newer than what systemd has loaded.
    pub need_daemon_reload: bool,
    /// The main process; 0 for none.
    pub main_pid: u32,
    /// How the last main process ended, as in waitid(2): 1 exited, 2 killed, 3 dumped; 0 for none.
    pub exec_main_code: i32,
    /// Its exit code or signal.
    pub exec_main_status: i32,
    /// The run, 32 hex digits; empty for none.
    pub invocation_id: String,
    /// Automatic restarts since the last start by hand.
    pub restarts: u32,
    /// What the service said by `STATUS=`.
    pub status_text: String,
    /// When the unit came to its present state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<WireTime>,
    /// When the last main process was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<WireTime>,
    /// When the last main process ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exited: Option<WireTime>,
}

/// The properties of a timer unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TimerSnapshot {
    /// The unit's name.
    pub name: String,
    /// `active`, `inactive`, `failed`.
    pub active_state: String,
    /// `waiting`, `running`, `elapsed`, `dead`.
    pub sub_state: String,
    /// `enabled`, `disabled`, …
    pub unit_file_state: String,
    /// When it is due next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<WireTime>,
    /// When it last started the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<WireTime>,
}

/// One word for what a service is, as the operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It runs and is ready.
    Running,
    /// It was started and is not ready yet.
    Activating,
    /// It ended otherwise than in order and is about to be started again.
    Restarting,
    /// It is reloading its configuration.
    Reloading,
    /// It was asked to end.
    Deactivating,
    /// It ended otherwise than in order and will not be started again.
    Failed,
    /// A job whose last run ended in order.
    Finished,
    /// It ran and was ended in order.
    Stopped,
    /// It has not run since the machine came up.
    NeverStarted,
    /// The administrator made it impossible to start.
    Masked,
    /// There is no such unit, or systemd cannot read it.
    NotInstalled,
}

impl State {
    /// All states.
    pub const ALL: [Self; 11] = [
        Self::Running,
        Self::Activating,
        Self::Restarting,
        Self::Reloading,
        Self::Deactivating,
        Self::Failed,
        Self::Finished,
        Self::Stopped,
        Self::NeverStarted,
        Self::Masked,
        Self::NotInstalled,
    ];

    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Activating => "activating",
            Self::Restarting => "restarting",
            Self::Reloading => "reloading",
            Self::Deactivating => "deactivating",
            Self::Failed => "failed",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::NeverStarted => "never-started",
            Self::Masked => "masked",
            Self::NotInstalled => "not-installed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Snapshot {
    /// Returns the one word that an operator wants to read.
    pub fn state(&self) -> State {
        self.unit.state(self.kind)
    }

    /// Returns the record's key in the bucket.
    pub fn key(&self) -> String {
        format!("{}.{}", self.manager, self.service_id)
    }
}

impl UnitSnapshot {
    /// Returns the one word for a unit of a service of this kind.
    pub fn state(&self, kind: Kind) -> State {
        let masked = self.load_state == "masked" || self.unit_file_state.starts_with("masked");
        match (self.active_state.as_str(), self.sub_state.as_str()) {
            ("active", _) => State::Running,
            (_, "auto-restart" | "auto-restart-queued") => State::Restarting,
            ("activating", _) if kind == Kind::Job => State::Running,
            ("activating", _) => State::Activating,
            ("reloading" | "refreshing", _) => State::Reloading,
            ("deactivating", _) => State::Deactivating,
            ("failed", _) => State::Failed,
            // What was masked while it ran runs on.
            _ if masked => State::Masked,
            _ if matches!(self.load_state.as_str(), "not-found" | "bad-setting" | "error") => {
                State::NotInstalled
            }
            _ if self.exec_main_code == 0 && self.started.is_none() => State::NeverStarted,
            _ if kind == Kind::Job => State::Finished,
            _ => State::Stopped,
        }
    }

    /// Returns how the last main process ended: its exit code, or the negative of the signal that killed it.
    pub fn exit_code(&self) -> Option<i32> {
        match self.exec_main_code {
            1 => Some(self.exec_main_status),
            2 | 3 => Some(-self.exec_main_status),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(load: &str, active: &str, sub: &str) -> UnitSnapshot {
        UnitSnapshot {
            load_state: load.into(),
            active_state: active.into(),
            sub_state: sub.into(),
            ..UnitSnapshot::default()
        }
    }

    #[test]
    fn states_are_told_apart() {
        let ran = |mut unit: UnitSnapshot| {
            unit.exec_main_code = 1;
            unit
        };
        for (unit, kind, state) in [
            (
                unit("loaded", "active", "running"),
                Kind::Permanent,
                State::Running,
            ),
            (
                unit("loaded", "activating", "auto-restart"),
                Kind::Permanent,
                State::Restarting,
            ),
            (
                unit("loaded", "activating", "start"),
                Kind::Permanent,
                State::Activating,
            ),
            (unit("loaded", "activating", "start"), Kind::Job, State::Running),
            (unit("loaded", "failed", "failed"), Kind::Job, State::Failed),
            (
                ran(unit("loaded", "inactive", "dead")),
                Kind::Job,
                State::Finished,
            ),
            (
                ran(unit("loaded", "inactive", "dead")),
                Kind::Permanent,
                State::Stopped,
            ),
            (
                unit("loaded", "inactive", "dead"),
                Kind::Permanent,
                State::NeverStarted,
            ),
            (unit("masked", "inactive", "dead"), Kind::Permanent, State::Masked),
            (
                unit("masked", "active", "running"),
                Kind::Permanent,
                State::Running,
            ),
            (
                unit("not-found", "inactive", "dead"),
                Kind::Permanent,
                State::NotInstalled,
            ),
        ] {
            assert_eq!(unit.state(kind), state, "{unit:?}");
        }
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn signals_are_negative_exit_codes() {
        let mut unit = unit("loaded", "failed", "failed");
        assert_eq!(unit.exit_code(), None);
        (unit.exec_main_code, unit.exec_main_status) = (2, 9);
        assert_eq!(unit.exit_code(), Some(-9));
        (unit.exec_main_code, unit.exec_main_status) = (1, 3);
        assert_eq!(unit.exit_code(), Some(3));
    }
}
