use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// What is missing before a throw-away machine can be booted here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing, as a fact: `not root (uid 1000)`.
    pub what: String,
    /// What the reader can do about it.
    pub remedy: String,
}

impl Missing {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.what, self.remedy)
    }
}

/// What can go wrong with machines, servers and what they are made of.
#[derive(Debug, thiserror::Error)]
pub enum TestkitError {
    /// A file or a process of the host could not be used.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A command ran and said no.
    #[error("`{command}` ended with {status}\n{output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote, standard error last.
        output: String,
    },
    /// No machine can be booted on this host.
    #[error("no machine can be booted here: {}", list(.0))]
    CannotBoot(Vec<Missing>),
    /// A machine did not come up.
    #[error("machine `{name}` did not boot: {reason}; the last lines of its console:\n{console}")]
    Boot {
        /// The machine's name.
        name: String,
        /// What was waited for, or what ended.
        reason: String,
        /// The last lines that the machine wrote.
        console: String,
    },
    /// The NATS server did not do what was asked.
    #[error("nats-server `{name}`: {reason}; the last lines of its log:\n{log}")]
    Nats {
        /// The server's own unique name.
        name: String,
        /// What was expected.
        reason: String,
        /// The last lines of its log.
        log: String,
    },
    /// A package is needed on the host, and nobody agreed to install it.
    #[error("{package} is needed and was not installed; as root run: {command}")]
    NotInstalled {
        /// The Debian package.
        package: String,
        /// The exact line that installs it.
        command: String,
    },
    /// A built binary cannot be staged.
    #[error("{}: {reason}", binary.display())]
    Stage {
        /// The binary.
        binary: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

fn list(missing: &[Missing]) -> String {
    missing
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl TestkitError {
    /// Wraps an I/O error with what was tried; for `map_err`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn io_from(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            what: what.into(),
            source: source.into(),
        }
    }
}

/// The result of everything in this crate.
pub type Result<T, E = TestkitError> = std::result::Result<T, E>;
