//! The parts of `cargo xtask test`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use tcs_testkit::{Consent, Contents, Prerequisites, Profile, Stage, cargo, check_can_boot, workspace_root};

use crate::{licenses, output};

/// What is run and timed by itself.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Fmt,
    Clippy,
    Licenses,
    Build,
    Unit,
    Docs,
    Prerequisites,
    System,
    Demo,
}

impl Part {
    pub(crate) const ALL: [Self; 9] = [
        Self::Fmt,
        Self::Licenses,
        Self::Clippy,
        Self::Build,
        Self::Unit,
        Self::Docs,
        Self::Prerequisites,
        Self::System,
        Self::Demo,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Fmt => "formatting",
            Self::Clippy => "clippy",
            Self::Licenses => "licences and bans",
            Self::Build => "building everything",
            Self::Unit => "unit, property and golden tests",
            Self::Docs => "documentation",
            Self::Prerequisites => "what the machines need",
            Self::System => "system tests",
            Self::Demo => "demo",
        }
    }

    /// Whether its time is that of a compiler or a download rather than that of tests.
    pub(crate) fn is_build(self) -> bool {
        matches!(
            self,
            Self::Clippy | Self::Build | Self::Docs | Self::Prerequisites
        )
    }
}

/// Where and how the parts are run.
pub(crate) struct Workshop {
    root: PathBuf,
    consent: Consent,
    report: PathBuf,
}

impl Workshop {
    pub(crate) fn new(yes: bool, report: PathBuf) -> Self {
        let consent = if yes {
            Consent::Given
        } else {
            Consent::Ask(output::ask)
        };
        Self {
            root: workspace_root(),
            consent,
            report,
        }
    }

    pub(crate) fn run(&self, part: Part) -> Result<()> {
        match part {
            Part::Fmt => self.cargo(&["fmt", "--all", "--check", "--message-format", "short"]),
            Part::Clippy => self.cargo(&[
                "clippy",
                "--locked",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ]),
            Part::Licenses => licenses::check(&self.root).map(|summary| output::line(&summary)),
            Part::Build => {
                self.cargo(&["test", "--locked", "--workspace", "--no-run"])?;
                Ok(Stage::build(Profile::Dev, Contents::SuiteAndFixtures).map(drop)?)
            }
            Part::Unit => self.cargo(&["test", "--locked", "--workspace", "--exclude", "tcs-system-tests"]),
            Part::Docs => {
                let arguments = [
                    "doc",
                    "--locked",
                    "--workspace",
                    "--no-deps",
                    "--document-private-items",
                ];
                run(self
                    .cargo_command(&arguments)
                    .env("RUSTDOCFLAGS", "--deny warnings"))
            }
            Part::Prerequisites => self.prerequisites(),
            Part::System => run(self
                .cargo_command(&["test", "--locked", "--workspace", "--test", "system"])
                .env("TCS_TEST_REPORT", &self.report)),
            Part::Demo => {
                let ourselves = std::env::current_exe().context("cannot find our own binary")?;
                // Without a machine the demo would fall back and be green: here that counts as failed.
                run(Command::new(ourselves)
                    .args(["demo", "--machine-only"])
                    .current_dir(&self.root))
            }
        }
    }

    fn prerequisites(&self) -> Result<()> {
        let prerequisites = Prerequisites::new(self.consent, output::note);
        prerequisites.for_machines()?;
        prerequisites.nats_server()?;
        prerequisites.python()?;
        check_can_boot().map_err(tcs_testkit::TestkitError::CannotBoot)?;
        output::line("a machine can be booted here");
        Ok(())
    }

    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        run(&mut self.cargo_command(arguments))
    }

    fn cargo_command(&self, arguments: &[&str]) -> Command {
        let mut command = cargo();
        command.args(arguments);
        command
    }
}

/// Runs a command with its output on ours, and its command line in front of it.
fn run(command: &mut Command) -> Result<()> {
    let name = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let arguments = command
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let shown = format!("{name} {arguments}");
    output::line(&format!("$ {shown}"));
    let status = command
        .status()
        .with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}
