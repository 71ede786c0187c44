//! `start`, `stop` and `restart` over NATS.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tcs_system_tests::{Case, Site};

use super::{GROUP, ends_with, holds, json, property};

pub(crate) fn tests() -> Vec<Case> {
    vec![
        Case::group("a_slow_start_is_waited_for", &GROUP, slow_start),
        Case::group(
            "no_block_returns_and_a_deadline_ends_with_124",
            &GROUP,
            no_block_and_deadline,
        ),
        Case::group("a_failed_start_ends_with_1_and_the_reason", &GROUP, failed_start),
        Case::group("a_held_service_is_told", &GROUP, held),
        Case::group("an_unknown_service_ends_with_4_and_near_names", &GROUP, unknown),
        Case::group("a_restart_is_another_process", &GROUP, restart),
        Case::group("several_services_at_once", &GROUP, several),
        Case::group("a_job_is_waited_for", &GROUP, job),
    ]
}

fn slow_start(site: &Site) -> Result<()> {
    let begun = Instant::now();
    let output = ends_with(site, 0, "tcsctl start misfit.slow")?;
    // It is ready after 2 s, and not before.
    ensure!(
        begun.elapsed() >= Duration::from_secs(2),
        "after {:?}",
        begun.elapsed()
    );
    ensure!(property(site, "tcs@misfit.slow.service", "SubState")? == "running");
    let pid = property(site, "tcs@misfit.slow.service", "MainPID")?;
    ensure!(
        output.stdout.trim() == format!("misfit.slow is running, process {pid}"),
        "{}",
        output.both()
    );
    let again = ends_with(site, 0, "tcsctl start misfit.slow")?;
    ensure!(again.stdout == output.stdout, "{}", again.both());
    let stopped = ends_with(site, 0, "tcsctl stop misfit.slow")?;
    ensure!(
        stopped.stdout.trim() == "misfit.slow is stopped",
        "{}",
        stopped.both()
    );
    ensure!(property(site, "tcs@misfit.slow.service", "ActiveState")? == "inactive");
    ends_with(site, 3, "tcsctl status misfit.slow")?;
    Ok(())
}

fn no_block_and_deadline(site: &Site) -> Result<()> {
    let state = || property(site, "tcs@misfit.long.service", "ActiveState");
    let queued = ends_with(site, 0, "tcsctl start --no-block misfit.long")?;
    holds(&queued.stdout, &["misfit.long", "is queued"])?;
    ensure!(state()? == "activating", "{}", state()?);
    let late = ends_with(site, 124, "tcsctl start --timeout 0.5 misfit.long")?;
    holds(&late.stderr, &["misfit.long", "0.5 s"])?;
    // The job goes on: only the wait is over.
    ensure!(state()? == "activating", "{}", state()?);
    ends_with(site, 0, "tcsctl status misfit.long")?;
    ends_with(site, 0, "tcsctl stop misfit.long")?;
    ensure!(state()? == "inactive", "{}", state()?);
    Ok(())
}

fn failed_start(site: &Site) -> Result<()> {
    let output = ends_with(site, 1, "tcsctl start misfit.broken")?;
    holds(
        &output.stderr,
        &[
            "misfit.broken did not start",
            "exit code 1",
            "journalctl -u tcs@misfit.broken.service",
        ],
    )?;
    ensure!(output.stdout.is_empty(), "{}", output.stdout);
    let page = ends_with(site, 3, "tcsctl status misfit.broken")?;
    holds(
        &page.stdout,
        &["× misfit.broken on obs1: failed", "Last end: exit code 1"],
    )?;
    let told = json(site, "tcsctl --json start misfit.broken")?;
    ensure!(
        told["ok"] == false && told["exit_code"] == 1 && told["verb"] == "start",
        "{told}"
    );
    Ok(())
}

fn held(site: &Site) -> Result<()> {
    let hold = "/var/lib/tcs-manager/holds/misfit.held";
    site.machine.write_file(hold, "")?;
    let output = ends_with(site, 1, "tcsctl start misfit.held")?;
    holds(&output.stderr, &["misfit.held was not started", hold])?;
    ensure!(property(site, "tcs@misfit.held.service", "ActiveState")? == "inactive");
    site.machine.run_ok(&["rm", hold])?;
    ends_with(site, 0, "tcsctl start misfit.held")?;
    Ok(())
}

fn unknown(site: &Site) -> Result<()> {
    for verb in ["start", "stop", "restart"] {
        let output = ends_with(site, 4, &format!("tcsctl {verb} misfit.hold"))?;
        holds(&output.stderr, &["`misfit.hold`", "did you mean `misfit.held`"])?;
    }
    ends_with(site, 4, "tcsctl start hello_world.first --host obs7")?;
    ends_with(site, 2, "tcsctl start")?;
    ends_with(site, 2, "tcsctl start --timeout soon hello_world.first")?;
    Ok(())
}

fn restart(site: &Site) -> Result<()> {
    let pid = || property(site, "tcs@hello_world.again.service", "MainPID");
    ends_with(site, 0, "tcsctl restart hello_world.again")?;
    let first = pid()?;
    let output = ends_with(site, 0, "tcsctl restart hello_world.again")?;
    ensure!(first != "0" && pid()? != first, "{first}");
    ensure!(output.stdout.trim() == format!("hello_world.again is running, process {}", pid()?));
    Ok(())
}

fn several(site: &Site) -> Result<()> {
    let names = "hello_world.first hello_world.second";
    let output = ends_with(site, 0, &format!("tcsctl start {names}"))?;
    ensure!(output.stdout.lines().count() == 2, "{}", output.both());
    // One that is unknown does not keep the others from being stopped.
    let mixed = ends_with(site, 4, &format!("tcsctl stop {names} hello_world.third"))?;
    holds(&mixed.stderr, &["`hello_world.third`"])?;
    for unit in ["tcs@hello_world.first.service", "tcs@hello_world.second.service"] {
        ensure!(property(site, unit, "ActiveState")? == "inactive", "{unit}");
    }
    Ok(())
}

fn job(site: &Site) -> Result<()> {
    let output = ends_with(site, 0, "tcsctl start report")?;
    ensure!(
        output.stdout.trim() == "report.main has run, it is finished",
        "{}",
        output.both()
    );
    ends_with(site, 3, "tcsctl status report")?;
    let broken = ends_with(site, 1, "tcsctl start report.broken")?;
    holds(&broken.stderr, &["report.broken failed: exit code 3"])
}
