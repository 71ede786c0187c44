//! `cargo xtask demo`: the whole suite at work, each claim checked against what is really printed.

mod by_hand;
mod listener;
mod scene;
mod steps;
mod weather;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use tcs_testkit::{
    Consent, Contents, Machine, MachineConfig, NatsOptions, NatsServer, Prerequisites, Profile, Stage,
    TestkitError, check_can_boot, target_dir, workspace_root,
};

use crate::output;
use scene::Scene;

/// Boots a throw-away machine with a real systemd over this host's own root, starts a NATS server with JetStream in it,
/// installs the suite from config/services.yaml and shows it at work. Nothing stays behind on the host. Where no machine
/// can be booted, it says why and runs a service by hand instead.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Install what is missing on this host without asking
    #[arg(long)]
    yes: bool,
    /// Stay in the machine with a shell after the last step
    #[arg(long)]
    shell: bool,
    /// Fail where no machine can be booted, rather than run a service by hand
    #[arg(long)]
    machine_only: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let begun = Instant::now();
    if !target_dir().join("stage").exists() {
        output::note("the first build takes about four minutes on two cores, with nothing compiled yet");
    }
    let consent = if arguments.yes {
        Consent::Given
    } else {
        Consent::Ask(output::ask)
    };
    let prerequisites = Prerequisites::new(consent, output::note);
    let obstacle = prerequisites
        .for_machines()
        .err()
        // That is told below, thing by thing.
        .filter(|error| !matches!(error, TestkitError::CannotBoot(_)))
        .map(|error| format!("{:#}", anyhow::Error::new(error)));
    let missing = check_can_boot().err().unwrap_or_default();
    if !missing.is_empty() {
        output::line("no machine can be booted here:");
        for missing in &missing {
            output::line(&format!("  - {missing}"));
        }
        if let Some(obstacle) = obstacle {
            output::line(&format!("  - {obstacle}"));
        }
        if arguments.machine_only {
            bail!(TestkitError::CannotBoot(missing));
        }
        by_hand::run(&prerequisites)?;
        output::line(
            "\nthe demo by hand is complete; what systemd does for the services needs a machine (see above)",
        );
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(obstacle) = obstacle {
        bail!("{obstacle}");
    }

    let server_binary = prerequisites.nats_server()?;
    output::note("building the suite: cargo build");
    let stage = Stage::build(Profile::Dev, Contents::Suite)?;
    let machine = Machine::boot(&machine_config(&stage)?)?;
    let pid = machine.leader_pid();
    let boot = machine.boot_time().as_millis();
    output::note(&format!(
        "machine `{}` is up in {boot} ms: systemd is its PID 1, process {pid} here",
        machine.hostname()
    ));
    let server = NatsServer::start(&server_binary, machine.network(), &NatsOptions::of_machine())?;
    output::note(&format!(
        "NATS server `{}` with JetStream at {} inside",
        server.name(),
        server.url()
    ));

    let scene = Scene {
        machine,
        server,
        stage,
    };
    await_quiet()?;
    let shown = steps::run(&scene);
    if arguments.shell {
        shell(&scene, shown.as_ref().err())?;
    }
    let Scene { machine, server, .. } = scene;
    if let Err(error) = shown {
        output::line(&format!(
            "\n-- the end of the machine's journal:\n{}",
            machine.journal(40)
        ));
        return Err(error);
    }
    drop(server);
    machine.power_off()?;
    output::note("the machine is powered off, and with it went its mounts, processes and network");
    output::line(&format!(
        "\nthe demo is complete: every claim held, in {:.1} s",
        begun.elapsed().as_secs_f64()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Waits while the importer's timer (every ten minutes) is just about due: the demo wants to start the job itself.
fn await_quiet() -> Result<()> {
    const PERIOD: i64 = 600;
    const DEMO_TAKES: i64 = 45;
    let left = || PERIOD - jiff::Timestamp::now().as_second().rem_euclid(PERIOD);
    if left() > DEMO_TAKES {
        return Ok(());
    }
    output::note(&format!(
        "the importer's timer is due in {} s: waiting until it is past",
        left()
    ));
    let patience = std::time::Duration::from_secs(60);
    tcs_testkit::eventually_blocking("the timer's time is past", patience, || {
        if left() > DEMO_TAKES {
            Ok(())
        } else {
            Err(format!("{} s left", left()))
        }
    })?;
    Ok(())
}

fn machine_config(stage: &Stage) -> Result<MachineConfig> {
    let path = workspace_root().join("config/services.yaml");
    let services = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(MachineConfig::new("obs1")
        .with_stage(stage)
        .with_file("/etc/tcs/services.yaml", services, 0o644)
        .with_file(weather::FILE, weather::records(jiff::Timestamp::now()), 0o644))
}

fn shell(scene: &Scene, failed: Option<&anyhow::Error>) -> Result<()> {
    if let Some(error) = failed {
        output::error(&format!("{error:#}"));
    }
    output::line("\na root shell in the machine; `exit` ends it and the machine with it");
    let mut command = scene.machine.command(&["bash", "-i"]);
    command.stdin(std::process::Stdio::inherit());
    command.env("TERM", std::env::var_os("TERM").unwrap_or_else(|| "dumb".into()));
    command.env("PS1", "[tcs demo] \\u@\\h:\\w\\$ ");
    // The shell's own exit code is the user's business.
    command
        .status()
        .context("cannot start a shell in the machine")
        .map(drop)
}
