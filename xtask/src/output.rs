//! The one place that writes on the terminal.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line's output"
)]

use std::io::{BufRead, IsTerminal, Write};

/// A line of output.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// A heading, with room above it.
pub(crate) fn heading(text: &str) {
    println!("\n== {text}");
}

/// What is being done meanwhile.
pub(crate) fn note(text: &str) {
    println!("-- {text}");
}

/// What went wrong.
pub(crate) fn error(text: &str) {
    drop(std::io::stdout().flush());
    eprintln!("error: {text}");
}

/// Asks for a yes; where nobody is at the terminal, the answer is no.
pub(crate) fn ask(question: &str) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    print!("{question}\nRun it now? [y/N] ");
    drop(std::io::stdout().flush());
    let mut answer = String::new();
    drop(std::io::stdin().lock().read_line(&mut answer));
    matches!(answer.trim(), "y" | "Y" | "yes")
}
