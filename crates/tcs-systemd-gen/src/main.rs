//! The command `tcs-systemd-gen`.

use std::process::ExitCode;

use clap::Parser as _;
use tcs_systemd_gen::Cli;

fn main() -> ExitCode {
    Cli::parse().run().into()
}
