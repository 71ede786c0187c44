//! The commands, one file each, and the way to what they show.

mod completions;
mod control;
mod events;
mod list;
mod manual;
mod status;
mod streams;

use std::time::Duration;

use tcs_client::{ClientError, Site, Verb};
use tcs_wire::Exit;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::local::Local;
use crate::printer::Printer;
use crate::settings::Settings;

/// How long the server may take to answer the first time.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// Carries the command out.
pub(crate) async fn run(cli: Cli, printer: &Printer) -> Result<Exit, Failure> {
    let command = cli
        .command
        .unwrap_or_else(|| Command::List(crate::cli::ListArgs::default()));
    match &command {
        Command::Completions { shell } => return Ok(completions::run(*shell, printer)),
        Command::Man { directory } => return manual::run(directory),
        _ => {}
    }
    let (settings, overruled) = Settings::find(&cli.global)?;
    if let Some(failure) = overruled {
        printer.note(format!("the configuration is passed over: {}", failure.message));
    }
    match command {
        Command::List(arguments) => list::run(&arguments, &settings, printer).await,
        Command::Status(arguments) => status::run(&arguments, &settings, printer).await,
        Command::Start(arguments) => control::run(Verb::Start, &arguments, &settings, printer).await,
        Command::Stop(arguments) => control::run(Verb::Stop, &arguments, &settings, printer).await,
        Command::Restart(arguments) => control::run(Verb::Restart, &arguments, &settings, printer).await,
        Command::Events(arguments) => events::run(&arguments, &settings, printer).await,
        Command::Streams(command) => streams::run(&command, &settings, printer).await,
        Command::Completions { .. } | Command::Man { .. } => Ok(Exit::Done),
    }
}

/// Where the answer comes from.
enum Reach {
    /// All hosts, over NATS.
    Site(Site),
    /// This host, over D-Bus, because NATS is away.
    Local(Local),
}

/// Connects to the site; with NATS away, on a machine with systemd, to this host alone.
async fn reach(settings: &Settings, printer: &Printer) -> Result<Reach, Failure> {
    let error = match Site::connect(settings.bus_options(), CONNECT_DEADLINE).await {
        Ok(site) => return Ok(Reach::Site(site)),
        Err(error) => error,
    };
    let failure = Failure::of_client(&error, settings, &printer.clock);
    if !matches!(error, ClientError::NoNats { .. }) {
        return Err(failure);
    }
    if !Local::is_possible() {
        return Err(failure.hint("there is no local view either: this machine does not run systemd"));
    }
    let local = Local::open(settings).await.map_err(|mut second| {
        // Both ways are closed: what is wrong with NATS comes first.
        second.hints.splice(0..0, failure.hints.clone());
        Failure {
            message: format!("{}\nno local view either: {}", failure.message, second.message),
            ..second
        }
    })?;
    let heading = local.heading(&failure.message, &printer.clock);
    // The first hint says where the address comes from.
    let lines: Vec<&str> = std::iter::once(heading.as_str())
        .chain(failure.hints.first().map(String::as_str))
        .collect();
    printer.note(lines.join("\n  "));
    Ok(Reach::Local(local))
}

/// Connects to the site, for commands that mean nothing without NATS.
async fn reach_site(settings: &Settings, printer: &Printer) -> Result<Site, Failure> {
    let site = Site::connect(settings.bus_options(), CONNECT_DEADLINE).await;
    site.map_err(|error| Failure::of_client(&error, settings, &printer.clock))
}
