//! What the same commands do on the host itself while NATS is away.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tcs_system_tests::{Case, Site, SiteConfig};
use tcs_testkit::eventually_blocking;

use super::{ends_with, holds, json, property, row, run};

const SERVICES: &str = "nats:
  url: nats://127.0.0.1:4222
services:
  - type: hello_world
  - {type: misfit, variant: slow, mode: slow_start, delay: 2s}
  - {type: misfit, variant: long, mode: slow_start, delay: 60s}
  - {type: misfit, variant: broken, mode: fail_start, restart: \"no\"}
  - {type: misfit, variant: held}
";
const HELLO: &str = "tcs@hello_world.service";
const SOON: Duration = Duration::from_secs(20);

pub(crate) fn tests() -> Vec<Case> {
    let config = || SiteConfig::with_services(SERVICES);
    vec![Case::own(
        "the_local_view_shows_and_controls_without_nats",
        config,
        without_nats,
    )]
}

fn without_nats(site: &Site) -> Result<()> {
    site.install()?;
    site.machine.run_ok(&["systemctl", "start", HELLO])?;
    eventually_blocking("the manager mirrors", SOON, || {
        ends_with(site, 0, "tcsctl status hello_world").map(drop)
    })?;
    let before = Timestamp::now();
    site.nats()?.stop()?;
    since_when(site, before)?;
    shows(site)?;
    controls(site)?;
    refuses(site)?;
    without_manager(site)?;

    // Nothing of it needs to be undone when NATS is back.
    site.nats()?.start_again()?;
    site.machine
        .run_ok(&["systemctl", "start", "tcs-manager.service", HELLO])?;
    eventually_blocking("the view of the site is back", SOON, || {
        let listed = ends_with(site, 0, "tcsctl list")?;
        ensure!(listed.stderr.is_empty(), "{}", listed.stderr);
        holds(
            &ends_with(site, 0, "tcsctl status hello_world")?.stdout,
            &["Health: ok"],
        )
    })?;
    Ok(())
}

/// The time is that of the loss, as the manager has it, and not that of the question.
fn since_when(site: &Site, before: Timestamp) -> Result<()> {
    let away = || -> Result<Timestamp> {
        let told: serde_json::Value =
            serde_json::from_str(&site.machine.read_file("/run/tcs-manager/nats.json")?)?;
        ensure!(told["connected"] == false, "{told}");
        Ok(Timestamp::now())
    };
    let after = eventually_blocking("the manager has seen the loss", SOON, away)?;
    let note = ends_with(site, 0, "tcsctl list")?.stderr;
    let (_, rest) = note
        .split_once("local view, NATS away since ")
        .with_context(|| note.clone())?;
    let (time, _) = rest.split_once(" UTC; ").with_context(|| note.clone())?;
    let since = time.parse::<DateTime>()?.to_zoned(TimeZone::UTC)?.timestamp();
    ensure!(
        since.as_second() >= before.as_second() && since <= after,
        "NATS went between {before} and {after}, and it says: {note}"
    );
    let why = [
        "no NATS server answers at nats://127.0.0.1:4222",
        "connection refused",
        "`nats:` in /etc/tcs/services.yaml:1",
    ];
    holds(&note, &why)
}

fn shows(site: &Site) -> Result<()> {
    let pid = property(site, HELLO, "MainPID")?;
    let listed = json(site, "tcsctl --json list")?;
    ensure!(listed["source"] == "systemd", "{listed}");
    let hello = row(&listed, "hello_world.main")?;
    ensure!(
        hello["state"] == "running" && hello["pid"] == pid.parse::<u64>()? && hello["certain"] == true,
        "{hello}"
    );
    ensure!(
        row(&listed, "misfit.slow")?["state"] == "never-started",
        "{listed}"
    );
    let page = ends_with(site, 0, "tcsctl status hello_world")?;
    holds(
        &page.stdout,
        &["hello_world.main on obs1: running", &format!("Main PID: {pid}")],
    )?;
    holds(&page.stderr, &["local view, NATS away since "])?;
    ends_with(site, 3, "tcsctl status misfit.slow")?;
    let unknown = ends_with(site, 4, "tcsctl status hello_wrld")?;
    holds(&unknown.stderr, &["did you mean `hello_world.main`?"])
}

fn controls(site: &Site) -> Result<()> {
    let stopped = ends_with(site, 0, "tcsctl stop hello_world")?;
    ensure!(
        stopped.stdout.trim() == "hello_world.main is stopped",
        "{}",
        stopped.both()
    );
    ensure!(property(site, HELLO, "ActiveState")? == "inactive");
    let started = ends_with(site, 0, "tcsctl start hello_world")?;
    let pid = property(site, HELLO, "MainPID")?;
    ensure!(
        started.stdout.trim() == format!("hello_world.main is running, process {pid}"),
        "{}",
        started.both()
    );
    ends_with(site, 0, "tcsctl restart hello_world")?;
    ensure!(property(site, HELLO, "MainPID")? != pid);

    let begun = Instant::now();
    ends_with(site, 0, "tcsctl start misfit.slow")?;
    ensure!(
        begun.elapsed() >= Duration::from_secs(2),
        "after {:?}",
        begun.elapsed()
    );
    holds(
        &ends_with(site, 0, "tcsctl start --no-block misfit.long")?.stdout,
        &["is queued"],
    )?;
    ensure!(property(site, "tcs@misfit.long.service", "ActiveState")? == "activating");
    ends_with(site, 124, "tcsctl start --timeout 0.5 misfit.long")?;
    ends_with(site, 0, "tcsctl stop misfit.long")?;
    Ok(())
}

fn refuses(site: &Site) -> Result<()> {
    let broken = ends_with(site, 1, "tcsctl start misfit.broken")?;
    holds(
        &broken.stderr,
        &[
            "misfit.broken did not start",
            "exit code 1",
            "journalctl -u tcs@misfit.broken.service",
        ],
    )?;
    let hold = "/var/lib/tcs-manager/holds/misfit.held";
    site.machine.write_file(hold, "")?;
    holds(
        &ends_with(site, 1, "tcsctl start misfit.held")?.stderr,
        &["misfit.held was not started", hold],
    )?;
    let unknown = ends_with(site, 4, "tcsctl stop misfit.hold")?;
    holds(&unknown.stderr, &["did you mean `misfit.held`"])?;
    ends_with(site, 69, "tcsctl start hello_world --host obs7")?;

    let nobody = site
        .machine
        .run_as("nobody", &["tcsctl", "stop", "hello_world"])?;
    ensure!(nobody.code() == 77, "{}", nobody.both());
    holds(&nobody.stderr, &["sudo"])?;
    ensure!(property(site, HELLO, "ActiveState")? == "active");
    let listed = site.machine.run_as("nobody", &["tcsctl", "list"])?;
    ensure!(listed.code() == 0, "{}", listed.both());
    holds(&listed.stdout, &["hello_world.main", "running"])
}

fn without_manager(site: &Site) -> Result<()> {
    site.machine
        .run_ok(&["systemctl", "stop", "tcs-manager.service"])?;
    let listed = ends_with(site, 0, "tcsctl list")?;
    holds(
        &listed.stderr,
        &["local view, NATS away", "systemctl start tcs-manager"],
    )?;
    ensure!(
        !listed.stderr.contains("since"),
        "nobody knows since when: {}",
        listed.stderr
    );
    holds(&listed.stdout, &["hello_world.main", "running"])?;
    ends_with(site, 0, "tcsctl status hello_world")?;
    ends_with(site, 0, "tcsctl stop hello_world")?;
    ensure!(property(site, HELLO, "ActiveState")? == "inactive");
    // What only NATS knows is told to be away, with the line to change and what to do.
    let events = run(site, "tcsctl events")?;
    ensure!(events.code() == 69, "{}", events.both());
    let told = [
        "connection refused",
        "`nats:` in /etc/tcs/services.yaml:1",
        "systemctl start nats-server",
        "journalctl",
    ];
    holds(&events.stderr, &told)?;
    ends_with(site, 0, "tcsctl start hello_world")?;
    Ok(())
}
