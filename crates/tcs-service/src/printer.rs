//! The only place that writes to the streams of a command such as `describe`.
#![expect(clippy::print_stderr, reason = "this is where commands print")]

use serde::Serialize;
use tcs_wire::Exit;

/// Prints a value as JSON for people and programs.
pub(crate) fn json<T: Serialize>(value: &T) -> Exit {
    match serde_json::to_string_pretty(value) {
        Ok(text) => line(&text),
        Err(bug) => {
            error(&bug.to_string());
            Exit::Bug
        }
    }
}

/// Prints a line.
pub(crate) fn line(text: &str) -> Exit {
    use std::io::Write as _;
    // A reader that has gone away, such as `head`, is no failure.
    let _ = writeln!(std::io::stdout(), "{text}");
    Exit::Done
}

/// Prints a complaint; in the journal each of its lines has the priority of an error (`sd-daemon(3)`).
pub(crate) fn error(text: &str) {
    let priority = if crate::log::stderr_is_the_journal() {
        "<3>"
    } else {
        ""
    };
    text.lines().for_each(|line| eprintln!("{priority}{line}"));
}
