//! The manager of one host's services.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tcs_manager::{Options, run_until_signal, start_logging};
use tcs_wire::Exit;

/// Mirrors systemd's units onto NATS and takes commands from there.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file, in place of /etc/tcs/services.yaml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the D-Bus bus, in place of the system bus
    #[arg(long, value_name = "ADDRESS")]
    bus_address: Option<String>,
    /// What to log, for example `info` or `tcs_manager=debug,info`
    #[arg(
        long,
        value_name = "FILTER",
        env = "TCS_LOG",
        default_value = "info,async_nats=warn"
    )]
    log: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = start_logging(&arguments.log) {
        report(&format!("--log {}: {error}", arguments.log));
        return Exit::Usage.into();
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&format!("cannot start: {error}"));
            return Exit::Failed.into();
        }
    };
    let options = Options {
        config: arguments.config,
        bus_address: arguments.bus_address,
    };
    match runtime.block_on(run_until_signal(options)) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            let exit = error.exit();
            tracing::error!("{:#}", anyhow::Error::from(error));
            exit.into()
        }
    }
}

#[expect(clippy::print_stderr, reason = "there is no log yet")]
fn report(message: &str) {
    eprintln!("tcs-manager: {message}");
}
