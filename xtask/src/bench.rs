//! `cargo xtask bench`: the figures that the project promises, measured on the release build.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use tcs_testkit::{
    Consent, Contents, Machine, MachineConfig, NatsOptions, NatsServer, Prerequisites, Profile, Stage, cargo,
    eventually_blocking, target_dir,
};

use crate::output;

const UNIT: &str = "tcs@hello_world.service";
const RUNS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures in a throw-away machine.
#[derive(Args)]
pub(crate) struct Arguments {
    /// What is measured
    what: What,
    /// Measure the dev build instead of the release build: quicker to have, and not the promised figures
    #[arg(long)]
    dev: bool,
    /// Install what is missing on this host without asking
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// From systemd's D-Bus signal of a crash to the event and the mirror entry at a NATS subscriber
    Crash,
    /// `hello_world` with the full SDK: memory, and from exec to READY
    Service,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let consent = if arguments.yes {
        Consent::Given
    } else {
        Consent::Ask(output::ask)
    };
    let prerequisites = Prerequisites::new(consent, output::note);
    prerequisites.for_machines()?;
    match arguments.what {
        What::Crash => crash(arguments.dev),
        What::Service => service(&prerequisites, arguments.dev),
    }
}

/// The program that measures crashes speaks D-Bus: it lives with the system tests, so that `xtask` itself builds fast.
fn crash(dev: bool) -> Result<ExitCode> {
    let mut build = cargo();
    // With all of the workspace's features, as the stage is built: else dependencies are compiled twice.
    build.args(["build", "--locked", "--workspace", "--bin", "bench_crash"]);
    if !dev {
        build.arg("--release");
    }
    if !build.status().context("cannot run cargo")?.success() {
        bail!("bench_crash does not build; cargo's messages are above");
    }
    let profile = if dev { "debug" } else { "release" };
    let mut measure = Command::new(target_dir().join(profile).join("bench_crash"));
    if dev {
        measure.arg("--dev");
    }
    let status = measure.status().context("cannot run bench_crash")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn service(prerequisites: &Prerequisites, dev: bool) -> Result<ExitCode> {
    let (profile, build) = if dev {
        (Profile::Dev, "dev")
    } else {
        (Profile::Release, "release")
    };
    let stage = Stage::build(profile, Contents::Suite)?;
    let services = "services:\n  - type: hello_world\n    interval: 1s\n";
    let config =
        MachineConfig::default()
            .with_stage(&stage)
            .with_file("/etc/tcs/services.yaml", services, 0o644);
    let machine = Machine::boot(&config)?;
    let binary = prerequisites.nats_server()?;
    let _server = NatsServer::start(&binary, machine.network(), &NatsOptions::of_machine())?;
    machine.run_ok(&["tcs-systemd-gen", "install"])?;

    let mut to_ready = Vec::with_capacity(RUNS);
    let (mut rss, mut pss) = (Vec::with_capacity(RUNS), Vec::with_capacity(RUNS));
    for _ in 0..RUNS {
        // Started by hand that often, it would run into its start limit.
        machine.run(&["systemctl", "reset-failed", UNIT])?;
        machine.run_ok(&["systemctl", "restart", UNIT])?;
        let started = property(&machine, "ExecMainStartTimestampMonotonic")?;
        to_ready.push(property(&machine, "ActiveEnterTimestampMonotonic")?.saturating_sub(started));
        let pid = property(&machine, "MainPID")?;
        connected(&machine)?;
        let memory = machine.read_file(&format!("/proc/{pid}/smaps_rollup"))?;
        rss.push(kibibytes(&memory, "Rss:")?);
        pss.push(kibibytes(&memory, "Pss:")?);
    }
    let size = std::fs::metadata(
        stage
            .binary("hello_world")
            .context("the stage holds no hello_world")?,
    )?
    .len();
    output::line(&format!(
        "hello_world, {build} build, {RUNS} starts under systemd with NATS there; medians:"
    ));
    output::line(&format!(
        "  exec to READY   {:>8.1} ms",
        thousandths(median(&mut to_ready))
    ));
    output::line(&format!("  RSS             {:>8} KiB", median(&mut rss)));
    output::line(&format!("  PSS             {:>8} KiB", median(&mut pss)));
    output::line(&format!("  binary          {:>8} KiB", size / 1024));
    Ok(ExitCode::SUCCESS)
}

/// Waits until the service has its connection to NATS: only then its memory is that of one at work.
fn connected(machine: &Machine) -> Result<()> {
    eventually_blocking("the service is healthy in the list", PATIENCE, || {
        let list = machine
            .run_ok(&["tcsctl", "list"])
            .map_err(|error| error.to_string())?;
        let healthy = list
            .lines()
            .any(|line| line.starts_with("hello_world") && line.contains(" ok "));
        if healthy { Ok(()) } else { Err(list) }
    })?;
    Ok(())
}

fn property(machine: &Machine, name: &str) -> Result<u64> {
    let text = machine.run_ok(&["systemctl", "show", "--value", "--property", name, UNIT])?;
    text.trim()
        .parse()
        .with_context(|| format!("{UNIT} has {name} {text:?}"))
}

fn kibibytes(memory: &str, key: &str) -> Result<u64> {
    let Some(line) = memory.lines().find(|line| line.starts_with(key)) else {
        bail!("smaps_rollup has no {key}")
    };
    let number = line.split_whitespace().nth(1).unwrap_or_default();
    number
        .parse()
        .with_context(|| format!("smaps_rollup says {line:?}"))
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Microseconds as milliseconds.
fn thousandths(microseconds: u64) -> f64 {
    Duration::from_micros(microseconds).as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_smaps_rollup() {
        let memory = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:    9876 kB\nPss:    4321 kB\n";
        assert_eq!(kibibytes(memory, "Pss:").expect("it is there"), 4321);
        assert!(kibibytes(memory, "Swap:").is_err());
        assert_eq!(median(&mut [3, 1, 2]), 2);
    }
}
