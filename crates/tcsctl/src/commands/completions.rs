//! `tcsctl completions SHELL`

use clap::CommandFactory as _;
use clap_complete::Shell;
use tcs_wire::Exit;

use crate::cli::Cli;
use crate::printer::Printer;

pub(super) fn run(shell: Shell, printer: &Printer) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tcsctl", &mut script);
    printer.out(String::from_utf8_lossy(&script));
    Exit::Done
}
