//! Where output goes: results to standard output, talk to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use jiff::Timestamp;

use crate::cli::Color;
use crate::clock::Clock;
use crate::failure::Failure;

/// What a text is to look like; nothing is said by colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tint {
    /// All is well.
    Good,
    /// Somebody should look.
    Warn,
    /// It is broken.
    Bad,
    /// Less important.
    Dim,
    /// More important.
    Bold,
}

/// Writes output in one way for all commands.
#[derive(Debug, Clone)]
pub(crate) struct Printer {
    color: bool,
    width: Option<usize>,
    pub(crate) json: bool,
    pub(crate) clock: Clock,
}

impl Printer {
    pub(crate) fn new(color: Color, json: bool, local: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            color: match color {
                Color::Auto => terminal && !refused && !dumb,
                Color::Always => true,
                Color::Never => false,
            },
            width: if terminal { width() } else { None },
            json,
            clock: Clock::new(Timestamp::now(), local),
        }
    }

    /// Returns the columns of the terminal; none where output goes elsewhere and is not to be cut.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Writes a result.
    pub(crate) fn out(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        // A reader that closed the pipe, `head` for one, has seen enough.
        drop(io::stdout().lock().write_all(with_newline(text).as_bytes()));
    }

    /// Writes JSON on one line when `compact`, else indented.
    pub(crate) fn json(&self, value: &serde_json::Value, compact: bool) {
        let text = if compact {
            Ok(value.to_string())
        } else {
            serde_json::to_string_pretty(value)
        };
        self.out(text.unwrap_or_default());
    }

    /// Writes a remark that qualifies the result.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        self.talk("note", Tint::Warn, text.as_ref());
    }

    /// Writes why the command failed, and what to do.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.talk("error", Tint::Bad, &failure.message);
        for hint in &failure.hints {
            drop(writeln!(io::stderr().lock(), "  {hint}"));
        }
    }

    fn talk(&self, label: &str, tint: Tint, text: &str) {
        let label = if io::stderr().is_terminal() {
            self.paint(label, Some(tint))
        } else {
            label.to_owned()
        };
        drop(writeln!(io::stderr().lock(), "{label}: {text}"));
    }

    /// Returns the text in its colour.
    pub(crate) fn paint(&self, text: &str, tint: Option<Tint>) -> String {
        paint(text, tint.filter(|_| self.color))
    }

    /// Returns whether colours are used.
    pub(crate) fn is_colored(&self) -> bool {
        self.color
    }
}

/// Returns the text in a terminal's colour.
pub(crate) fn paint(text: &str, tint: Option<Tint>) -> String {
    let code = match tint {
        None => return text.to_owned(),
        Some(Tint::Good) => "32",
        Some(Tint::Warn) => "33",
        Some(Tint::Bad) => "1;31",
        Some(Tint::Dim) => "2",
        Some(Tint::Bold) => "1",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// Returns a text of others on one line, without what a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    let line: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn with_newline(text: &str) -> String {
    if text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    }
}

fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns >= 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_cannot_steer_the_terminal() {
        assert_eq!(plain(" a\nb\t c \u{1b}[31mred\u{7f}"), "a b c [31mred");
    }
}
