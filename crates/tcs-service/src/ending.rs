//! How things end: a task, `run`, and the service as a whole.

use std::any::Any;

use tcs_wire::{Exit, Status};

use crate::error::{Error, Result};

/// How something of the author's ended.
pub(crate) enum Ended {
    Done,
    Failed(Error),
    Panicked(String),
}

impl Ended {
    /// Reads what `catch_unwind` gives.
    pub(crate) fn of(outcome: std::result::Result<Result<()>, Box<dyn Any + Send>>) -> Self {
        match outcome {
            Ok(Ok(())) => Self::Done,
            Ok(Err(error)) => Self::Failed(error),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                Self::Panicked(text.unwrap_or_else(|| "without a message".to_owned()))
            }
        }
    }

    /// Returns what failed, with the name of the task or method in front; none where nothing did.
    pub(crate) fn failure(self, name: Option<&str>) -> Option<Failure> {
        let at = name.map(|name| format!("{name}: ")).unwrap_or_default();
        match self {
            Self::Done => None,
            Self::Failed(error) => Some(Failure {
                exit: error.exit_code(),
                message: format!("{at}{error}"),
                panicked: false,
            }),
            Self::Panicked(text) => Some(Failure {
                exit: Exit::Bug,
                message: format!("{at}panic: {text}"),
                panicked: true,
            }),
        }
    }
}

/// Why the service ends otherwise than in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) panicked: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            panicked: false,
        }
    }
}

/// The end of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) exit: Exit,
    pub(crate) status: Status,
    pub(crate) message: String,
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self {
            exit: failure.exit,
            status: Status::Failed,
            message: failure.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_fails_under_its_name() {
        let failed = Ended::Failed(Error::unavailable("no camera")).failure(Some("exposures"));
        assert_eq!(
            failed,
            Some(Failure::new(Exit::Unavailable, "exposures: no camera"))
        );
    }

    #[test]
    fn a_panic_is_a_bug_with_its_words() {
        let failure = Ended::of(Err(Box::new("index out of bounds")))
            .failure(None)
            .unwrap();
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (Exit::Bug, "panic: index out of bounds")
        );
        assert!(Ended::of(Ok(Ok(()))).failure(None).is_none());
    }
}
