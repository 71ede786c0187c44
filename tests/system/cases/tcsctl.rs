//! `tcsctl` as an operator has it: what it prints, and the code it ends with.

mod absences;
mod control;
mod documents;
mod list;
mod local;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tcs_system_tests::{Case, Group, Site};
use tcs_testkit::{Output, RawNats, eventually_blocking};

/// The machine of the cases that leave NATS and the manager alone; each has service ids of its own.
pub(crate) static GROUP: Group = Group {
    name: "tcsctl",
    services: include_str!("tcsctl/services.yaml"),
    prepare: start_manager,
};

pub(crate) fn tests() -> Vec<Case> {
    [
        list::tests(),
        control::tests(),
        local::tests(),
        absences::tests(),
        documents::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Starts the manager and waits until it mirrors and answers.
fn start_manager(site: &Site) -> Result<()> {
    site.machine
        .run_ok(&["systemctl", "start", "tcs-manager.service"])?;
    let soon = Duration::from_secs(20);
    eventually_blocking("the manager mirrors", soon, || {
        let listed = json(site, "tcsctl list --json")?;
        ensure!(
            row(&listed, "hello_world.main")?["state"] == "never-started",
            "{listed}"
        );
        anyhow::Ok(())
    })?;
    let mut client = RawNats::connect(site.nats()?)?;
    eventually_blocking("the manager answers", soon, || {
        client
            .request("svc.rpc.manager.obs1.v1.health", b"", soon)
            .map(drop)
    })?;
    Ok(())
}

/// Runs a command line inside, words separated by spaces, whatever its exit code.
fn run(site: &Site, line: &str) -> Result<Output> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok(site.machine.run(&words)?)
}

/// Runs a command line and takes any other exit code than this as an error.
fn ends_with(site: &Site, code: i32, line: &str) -> Result<Output> {
    let output = run(site, line)?;
    ensure!(
        output.code() == code,
        "`{line}` ended with {} rather than {code}:\n{}",
        output.code(),
        output.both()
    );
    Ok(output)
}

/// Runs a command line and reads the JSON that it prints.
fn json(site: &Site, line: &str) -> Result<Value> {
    let output = run(site, line)?;
    serde_json::from_str(&output.stdout).with_context(|| format!("`{line}` printed {}", output.both()))
}

/// Checks that a text holds all of these.
fn holds(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "no `{part}` in:\n{text}");
    }
    Ok(())
}

/// What systemd itself says of a property.
fn property(site: &Site, unit: &str, name: &str) -> Result<String> {
    let argv = ["systemctl", "show", "--property", name, "--value", unit];
    Ok(site.machine.run_ok(&argv)?.trim().to_owned())
}

/// The row of a service in `tcsctl list --json`.
fn row<'a>(listed: &'a Value, id: &str) -> Result<&'a Value> {
    let services = listed["services"].as_array().context("no services")?;
    services
        .iter()
        .find(|service| service["service_id"] == id)
        .with_context(|| format!("no {id} in {listed}"))
}
