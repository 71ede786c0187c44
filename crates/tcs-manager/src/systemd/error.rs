//! What can go wrong between the manager and systemd.

use std::time::Duration;

use thiserror::Error;

/// An error of a call to systemd, sorted by what the caller can do about it.
#[derive(Debug, Error)]
pub enum SystemdError {
    /// The bus cannot be reached.
    #[error("no connection to D-Bus at {address}")]
    Connect {
        /// The address that was tried.
        address: String,
        /// Why.
        source: zbus::Error,
    },
    /// The running systemd lacks what the suite builds on.
    #[error("systemd {found} is too old: version {needed} or newer is needed")]
    TooOld {
        /// Its version as it gives it.
        found: String,
        /// The oldest that will do.
        needed: u32,
    },
    /// No answer in time.
    #[error("systemd has not answered {what} within {after:?}")]
    Deadline {
        /// The call.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to D-Bus is closed")]
    Closed,
    /// polkit or the bus refused.
    #[error("not permitted: {0}")]
    Denied(String),
    /// There is no such unit.
    #[error("{0}")]
    NoSuchUnit(String),
    /// The unit is masked.
    #[error("{0}")]
    Masked(String),
    /// Any other refusal.
    #[error("{what} failed: {message} ({name})")]
    Refused {
        /// The call.
        what: &'static str,
        /// The name of the D-Bus error.
        name: String,
        /// Its message.
        message: String,
    },
    /// An answer that is not what the interface says.
    #[error("unexpected answer to {what}")]
    Protocol {
        /// The call.
        what: &'static str,
        /// What does not fit.
        source: zbus::Error,
    },
}

impl SystemdError {
    pub(super) fn from_call(what: &'static str, after: Duration, error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, message, _) => {
                Self::from_name(what, name.as_str(), &message.unwrap_or_default())
            }
            zbus::Error::FDO(error) => {
                use zbus::DBusError as _;
                Self::from_name(
                    what,
                    error.name().as_str(),
                    error.description().unwrap_or_default(),
                )
            }
            zbus::Error::InputOutput(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                Self::Deadline { what, after }
            }
            zbus::Error::InputOutput(_) => Self::Closed,
            source => Self::Protocol { what, source },
        }
    }

    fn from_name(what: &'static str, name: &str, message: &str) -> Self {
        // systemd ends its sentences; these go into the middle of ours.
        let message = message.trim_end_matches('.').to_owned();
        match name {
            "org.freedesktop.DBus.Error.AccessDenied"
            | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => Self::Denied(message),
            "org.freedesktop.systemd1.NoSuchUnit" | "org.freedesktop.DBus.Error.FileNotFound" => {
                Self::NoSuchUnit(message)
            }
            "org.freedesktop.systemd1.UnitMasked" => Self::Masked(message),
            _ => Self::Refused {
                what,
                name: name.to_owned(),
                message,
            },
        }
    }
}
