//! The manager as it is installed: what it tells, what it keeps, what it does when it is asked.

mod away;
mod control;
mod events;
mod mirror;
mod nats;
mod tape;
mod unit;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tcs_system_tests::{Case, Site};
use tcs_testkit::{RawNats, eventually_blocking};

/// How long anything may take.
const SOON: Duration = Duration::from_secs(20);
const MANAGER: &str = "tcs-manager.service";

pub(crate) fn tests() -> Vec<Case> {
    [
        events::tests(),
        mirror::tests(),
        away::tests(),
        nats::tests(),
        control::tests(),
        unit::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Installs the units and starts the manager, and waits until it answers.
fn installed(site: &Site) -> Result<()> {
    site.install()?;
    site.machine.run_ok(&["systemctl", "start", MANAGER])?;
    answers(site)
}

/// Waits until the manager answers requests: it has its claim, streams and subscriptions then.
fn answers(site: &Site) -> Result<()> {
    eventually_blocking("the manager answers", SOON, || {
        ask(site, "svc.rpc.manager.obs1.v1.health", "").map_err(|error| format!("{error:#}"))
    })?;
    Ok(())
}

/// Asks with bare bytes, and gives the bare reply.
fn ask(site: &Site, subject: &str, body: &str) -> Result<Value> {
    let mut client = RawNats::connect(site.nats()?)?;
    let reply = client.request(subject, body.as_bytes(), SOON)?;
    serde_json::from_slice(&reply.payload).with_context(|| format!("{subject}: {}", reply.text()))
}

fn systemctl(site: &Site, words: &[&str]) -> Result<String> {
    let all: Vec<&str> = std::iter::once("systemctl")
        .chain(words.iter().copied())
        .collect();
    Ok(site.machine.run_ok(&all)?)
}

/// One property of a unit that is loaded.
fn property(site: &Site, unit: &str, name: &str) -> Result<String> {
    let shown = systemctl(site, &["show", "--value", "--property", name, unit])?;
    Ok(shown.trim().to_owned())
}

/// Waits until a property of a unit is as expected.
fn becomes(site: &Site, unit: &str, name: &str, expected: &str) -> Result<()> {
    eventually_blocking(&format!("{name} of {unit} is {expected}"), SOON, || {
        let found = property(site, unit, name).map_err(|error| format!("{error:#}"))?;
        if found == expected { Ok(()) } else { Err(found) }
    })?;
    Ok(())
}

/// The process of a unit.
fn main_pid(site: &Site, unit: &str) -> Result<u32> {
    match property(site, unit, "MainPID")?.parse() {
        Ok(pid) if pid != 0 => Ok(pid),
        _ => bail!("{unit} has no process"),
    }
}

/// Kills a unit's main process, as the kernel would for want of memory.
fn kill(site: &Site, unit: &str) -> Result<()> {
    systemctl(site, &["kill", "--kill-who=main", "--signal=KILL", unit])?;
    Ok(())
}

/// Waits for a line of a unit's log.
fn logs(site: &Site, unit: &str, text: &str) -> Result<()> {
    eventually_blocking(&format!("`{text}` in the log of {unit}"), SOON, || {
        let log = site
            .machine
            .run_ok(&["journalctl", "--quiet", "--output=cat", "--unit", unit])
            .map_err(|error| error.to_string())?;
        if log.contains(text) { Ok(()) } else { Err(log) }
    })?;
    Ok(())
}
