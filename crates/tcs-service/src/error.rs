//! The author's error: any error by `?`, with the exit code that it ends the process with.

use std::fmt;

use tcs_wire::Exit;

/// What a service's methods return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a service failed.
///
/// Any error turns into one by `?` and then ends the process with code 1. Where the reason is known better, one of
/// the constructors says so, and systemd with it (design decision 18).
pub struct Error {
    exit: Exit,
    inner: anyhow::Error,
}

impl Error {
    /// Returns a failure in the author's own words, exit code 1.
    pub fn new(message: impl fmt::Display) -> Self {
        Self::from_exit(Exit::Failed, message)
    }

    /// Returns a failure of the configuration, exit code 78: systemd does not try again.
    pub fn configuration(message: impl fmt::Display) -> Self {
        Self::from_exit(Exit::Configuration, message)
    }

    /// Returns a failure for want of a peer or source, exit code 69.
    pub fn unavailable(message: impl fmt::Display) -> Self {
        Self::from_exit(Exit::Unavailable, message)
    }

    /// Returns a failure for bad input data, exit code 65.
    pub fn bad_input(message: impl fmt::Display) -> Self {
        Self::from_exit(Exit::BadInput, message)
    }

    /// Makes the error end the process with another code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Says what was being done when the error happened.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.inner = self.inner.context(doing.to_string());
        self
    }

    /// Returns the code that the process ends with.
    pub fn exit_code(&self) -> Exit {
        self.exit
    }

    fn from_exit(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            inner: anyhow::Error::msg(message.to_string()),
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self {
            exit: Exit::Failed,
            inner: error.into(),
        }
    }
}

/// Gives the whole chain in one line, causes behind colons.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.inner)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (exit code {})", self.inner, self.exit.code())
    }
}

/// What a `Result` of any error can do on its way out of a service.
pub trait ResultExt<T> {
    /// Says what was being done when the error happened.
    ///
    /// # Errors
    /// The same error with `doing` in front.
    fn context(self, doing: impl fmt::Display) -> Result<T>;

    /// Ends the process with `exit` if the error ends it.
    ///
    /// # Errors
    /// The same error with that code.
    fn or_exit(self, exit: Exit) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(doing))
    }

    fn or_exit(self, exit: Exit) -> Result<T> {
        self.map_err(|error| error.into().exit(exit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read() -> Result<String> {
        let text = std::fs::read_to_string("/nowhere/at/all").context("reading the station list")?;
        Ok(text)
    }

    #[test]
    fn any_error_comes_by_question_mark_with_its_chain() {
        let error = read().unwrap_err();
        assert_eq!(
            error.to_string(),
            "reading the station list: No such file or directory (os error 2)"
        );
        assert_eq!(error.exit_code(), Exit::Failed);
    }

    #[test]
    fn the_exit_code_survives_more_context() {
        let error = read().or_exit(Exit::Unavailable).context("starting").unwrap_err();
        assert_eq!(error.exit_code(), Exit::Unavailable);
        assert_eq!(
            Error::configuration("no stations")
                .context("starting")
                .exit_code(),
            Exit::Configuration
        );
    }
}
