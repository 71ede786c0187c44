//! Why a verb ends, and with which exit code (design decision 18).

use std::path::PathBuf;

use tcs_config::{ConfigError, Diagnostics};
use tcs_wire::{Exit, IdError};
use thiserror::Error;

use crate::root::FileError;
use crate::system::SystemError;

/// Why a verb could not do its work.
#[derive(Debug, Error)]
pub enum Failure {
    /// The configuration cannot be had.
    #[error(transparent)]
    Find(#[from] ConfigError),
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(Diagnostics),
    /// There is no configuration.
    #[error("there is no configuration: looked for {looked_at}; write one, or name it with --config")]
    NoConfiguration {
        /// Where was looked.
        looked_at: String,
    },
    /// Another configuration is what the services will read.
    #[error(
        "services read `{installed}`, which differs from `{given}`: edit the former and leave out --config, or \
         replace it with --force (a copy is kept beside it)"
    )]
    OtherConfiguration {
        /// The file in /etc.
        installed: String,
        /// The file that was asked for.
        given: String,
    },
    /// A part of the configuration in /etc that was not asked for.
    #[error(
        "services will read `{0}` as well, which does not belong to the configuration given with --config: move it away"
    )]
    OtherPart(String),
    /// Not root.
    #[error(
        "{verb} changes the system, which only root may: use sudo, or write into another tree with `--root DIR` (`--user` is not there yet)"
    )]
    NotPermitted {
        /// The verb.
        verb: &'static str,
    },
    /// No such service.
    #[error("`{name}` is not declared; declared are {declared}")]
    NotDeclared {
        /// What was asked for.
        name: String,
        /// What there is.
        declared: String,
    },
    /// A name that no unit has.
    #[error("{problem}; {known}")]
    Name {
        /// What is wrong with it.
        problem: IdError,
        /// The known ones.
        known: String,
    },
    /// An instance whose type is not installed.
    #[error("no service type `{service_type}` is installed for `tcs@{instance}`; {known}")]
    NotInstalled {
        /// The type.
        service_type: String,
        /// The instance.
        instance: String,
        /// The known ones.
        known: String,
    },
    /// The binary of a type cannot be executed.
    #[error("cannot execute `{binary}`")]
    Execute {
        /// The binary.
        binary: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be changed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program of the system failed.
    #[error(transparent)]
    System(#[from] SystemError),
}

impl Failure {
    /// Returns the exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Find(_)
            | Self::Configuration(_)
            | Self::NoConfiguration { .. }
            | Self::OtherConfiguration { .. }
            | Self::OtherPart(_)
            | Self::Name { .. }
            | Self::NotInstalled { .. }
            | Self::Execute { .. } => Exit::Configuration,
            Self::NotPermitted { .. } => Exit::NotPermitted,
            Self::NotDeclared { .. } => Exit::NoSuchUnit,
            Self::File(_) | Self::System(_) => Exit::Failed,
        }
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Configuration(diagnostics)
    }
}
