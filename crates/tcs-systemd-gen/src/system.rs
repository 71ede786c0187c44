//! The programs of the running system that are asked: systemctl, systemd-sysusers, systemd-analyze.

use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use thiserror::Error;

/// A program that could not do what it was asked.
#[derive(Debug, Error)]
pub enum SystemError {
    /// It cannot be started.
    #[error("cannot run `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It failed.
    #[error("`{command}` failed: {message}")]
    Failed {
        /// The whole command line.
        command: String,
        /// What it said.
        message: String,
    },
}

/// Returns whether systemd runs here.
pub(crate) fn is_booted() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Returns whether this process may change the system.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns whether a unit of ours was changed on disk since systemd read it; what it never loaded it reads by itself.
pub(crate) fn needs_reload() -> Result<bool, SystemError> {
    const QUESTION: [&str; 6] = [
        "show",
        "--property=NeedDaemonReload",
        "--value",
        "tcs@*",
        "tcs-*",
        "tcs.*",
    ];
    Ok(says_yes(&run("systemctl", &QUESTION)?))
}

/// Returns whether one of the answers, one a unit with empty lines between, is `yes`.
fn says_yes(answers: &str) -> bool {
    answers.lines().any(|answer| answer == "yes")
}

/// Runs a program to its end and returns what it wrote to its output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, SystemError> {
    let output = output(program, arguments)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let message = if message.is_empty() {
        output.status.to_string()
    } else {
        message
    };
    Err(SystemError::Failed {
        command: format!("{program} {}", arguments.join(" ")),
        message,
    })
}

fn output(program: &str, arguments: &[&str]) -> Result<Output, SystemError> {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .env("SYSTEMD_PAGER", "")
        .env("SYSTEMD_COLORS", "0")
        .output()
        .map_err(|source| SystemError::Start {
            program: program.to_owned(),
            source,
        })
}

/// Asks `systemd-analyze` whether a calendar expression is one; `None` when the program is not there.
pub(crate) fn check_calendar(expression: &str) -> Option<Result<String, String>> {
    // `--` keeps an expression that begins with a dash from being read as an option.
    let output = output(
        "systemd-analyze",
        &["calendar", "--iterations=1", "--", expression],
    )
    .ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Some(Ok(text(&output.stdout)));
    }
    let said = text(&output.stderr);
    Some(Err(said
        .lines()
        .next()
        .unwrap_or("systemd-analyze refuses it")
        .to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stale_unit_among_many_asks_for_a_reload() {
        assert!(says_yes("no\n\nyes\n\nno\n"));
        assert!(!says_yes("no\n\nno\n"));
        assert!(!says_yes(""), "nothing is loaded");
    }
}
