//! `tcsctl`: the operator's command for a site of tcs services.

mod cli;
mod clock;
mod commands;
mod describe;
mod failure;
mod json;
mod local;
mod printer;
mod settings;
mod site_streams;
mod table;

use std::process::ExitCode;

use clap::Parser as _;
use tcs_wire::Exit;

use crate::cli::Cli;
use crate::printer::Printer;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let printer = Printer::new(cli.global.color, cli.global.json, cli.global.local);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(commands::run(cli, &printer));
            // The connection's own tasks have nothing left to say.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(failure::Failure::new(
            Exit::Failed,
            format!("cannot start: {error}"),
        )),
    };
    outcome
        .unwrap_or_else(|failure| {
            printer.failure(&failure);
            failure.exit
        })
        .into()
}
