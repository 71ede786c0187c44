//! The one place that writes to the terminal.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};

use tcs_config::Diagnostic;

/// Writes results to standard output and messages to standard error; a closed pipe ends nothing.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    styled: bool,
}

impl Default for Printer {
    fn default() -> Self {
        Self {
            styled: io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }
}

impl Printer {
    /// Writes a line of the result.
    pub fn line(self, text: impl AsRef<str>) {
        let _ = writeln!(io::stdout(), "{}", text.as_ref());
    }

    /// Writes a message.
    pub fn note(self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr(), "{}", text.as_ref());
    }

    /// Writes reports of the configuration, one after the other.
    pub fn diagnostics<'a>(self, diagnostics: impl IntoIterator<Item = &'a Diagnostic>) {
        for diagnostic in diagnostics {
            self.note(format!("{}\n", diagnostic.render(self.styled)));
        }
    }

    /// Writes why a verb failed.
    pub(crate) fn failure(self, failure: &crate::Failure) {
        if let crate::Failure::Configuration(diagnostics) = failure {
            self.diagnostics(diagnostics);
            let count = diagnostics.len();
            let problems = if count == 1 { "problem" } else { "problems" };
            return self.note(format!(
                "{count} {problems} in the configuration; nothing was changed"
            ));
        }
        let mut text = format!("error: {failure}");
        let mut cause = failure.source();
        while let Some(next) = cause {
            text.push_str(&format!(": {next}"));
            cause = next.source();
        }
        self.note(text);
    }
}
