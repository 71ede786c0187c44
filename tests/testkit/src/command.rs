//! Commands that are run to their end.

use std::process::{Command, ExitStatus};

use crate::error::{Result, TestkitError};

/// How a command ended and what it wrote.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// The exit code; 128 + signal when a signal ended it, as a shell says it.
    #[must_use]
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// Standard output and standard error, one after the other.
    #[must_use]
    pub fn both(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// The command line as a person would type it.
#[must_use]
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a command to its end, whatever its exit code.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .map_err(TestkitError::io(format!("cannot run `{}`", shown(command))))?;
    Ok(Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a command and takes anything but exit code 0 as an error.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub(crate) fn run_ok(command: &mut Command) -> Result<String> {
    let output = run(command)?;
    if !output.status.success() {
        return Err(TestkitError::Command {
            command: shown(command),
            status: output.status,
            output: output.both(),
        });
    }
    Ok(output.stdout)
}
