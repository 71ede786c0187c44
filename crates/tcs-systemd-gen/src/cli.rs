//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tcs_wire::Exit;

use crate::compare::{diff, show};
use crate::failure::Failure;
use crate::install::{Manner, install, uninstall};
use crate::instance::exec;
use crate::output::Printer;
use crate::root::Root;

/// Turns services.yaml into systemd units.
#[derive(Debug, Parser)]
#[command(name = "tcs-systemd-gen", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Checks the configuration, shows what changes and puts the units in place.
    Install {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        manner: How,
        /// Starts what is enabled.
        #[arg(long)]
        now: bool,
    },
    /// Takes everything out again; configuration, users and data stay.
    Uninstall {
        /// Tree that stands for `/`.
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        #[command(flatten)]
        manner: How,
        /// Stops what runs first.
        #[arg(long)]
        now: bool,
    },
    /// Shows how the installed units differ from the configuration; exits with 1 if they do.
    Diff {
        #[command(flatten)]
        place: Place,
    },
    /// Shows the units of one service as they are rendered.
    Show {
        /// Service id, unit instance or unit name.
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Executes the installed binary of an instance's type; for the bare template.
    #[command(hide = true)]
    Exec {
        /// Unit instance, `%i`.
        instance: String,
    },
    /// Prints the tables of docs/configuration.md.
    #[command(hide = true)]
    Reference,
}

#[derive(Debug, Args)]
struct Place {
    /// Configuration file; else /etc/tcs/services.yaml, else ./config/services.yaml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tree that stands for `/`, for image builds.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

#[derive(Debug, Args)]
struct How {
    /// Only shows what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Replaces files that were changed by hand or not written here; a copy is kept as NAME.bak
    /// (NAME.bak.1 ... beside earlier ones).
    #[arg(long)]
    force: bool,
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self) -> Exit {
        let printer = Printer::default();
        self.verb.run(printer).unwrap_or_else(|failure| {
            printer.failure(&failure);
            failure.exit()
        })
    }
}

impl Verb {
    fn run(self, printer: Printer) -> Result<Exit, Failure> {
        match self {
            Self::Install { place, manner, now } => install(
                &Root::new(place.root),
                place.config.as_deref(),
                manner.with(now),
                printer,
            ),
            Self::Uninstall { root, manner, now } => uninstall(&Root::new(root), manner.with(now), printer),
            Self::Diff { place } => diff(&Root::new(place.root), place.config.as_deref(), printer),
            Self::Show { name, place } => {
                show(&Root::new(place.root), place.config.as_deref(), &name, printer)
            }
            Self::Exec { instance } => Err(exec(&instance)),
            Self::Reference => {
                printer.line(tcs_config::reference().trim_end());
                Ok(Exit::Done)
            }
        }
    }
}

impl How {
    fn with(&self, now: bool) -> Manner {
        Manner {
            dry_run: self.dry_run,
            force: self.force,
            now,
        }
    }
}
