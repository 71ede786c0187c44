//! Why the manager cannot go on.

use tcs_bus::ConnectError;
use tcs_config::{ConfigError, Diagnostics};
use tcs_wire::{Exit, ServiceId};
use thiserror::Error;

use crate::systemd::SystemdError;

/// An error that ends the manager.
#[derive(Debug, Error)]
pub enum ManagerError {
    /// The configuration cannot be had.
    #[error("cannot read the configuration")]
    Config(#[from] ConfigError),
    /// The configuration is wrong.
    #[error("{0}")]
    Site(Diagnostics),
    /// The settings for NATS can never work.
    #[error("wrong settings for NATS")]
    Nats(#[from] ConnectError),
    /// systemd cannot be reached or refuses.
    #[error("cannot work with systemd")]
    Systemd(#[from] SystemdError),
    /// The process cannot listen to signals.
    #[error("cannot listen to signals")]
    Signals(#[source] std::io::Error),
    /// D-Bus is gone; systemd starts the manager anew.
    #[error("the connection to D-Bus was lost")]
    BusLost,
    /// Another manager has the name.
    #[error(
        "another {id} is running on `{host}` (pid {pid}): give one of the two hosts another `host:` in services.yaml"
    )]
    HeldElsewhere {
        /// The manager's id.
        id: ServiceId,
        /// Where the other one runs.
        host: String,
        /// Its process.
        pid: u32,
    },
}

impl From<Diagnostics> for ManagerError {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Site(diagnostics)
    }
}

impl ManagerError {
    /// Returns the exit code (design decision 18).
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Site(_) | Self::Nats(_) => Exit::Configuration,
            Self::Systemd(SystemdError::Denied(_)) => Exit::NotPermitted,
            Self::Systemd(_) | Self::BusLost => Exit::Unavailable,
            Self::Signals(_) => Exit::Failed,
            Self::HeldElsewhere { .. } => Exit::HeldElsewhere,
        }
    }
}
