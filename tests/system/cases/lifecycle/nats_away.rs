//! A start without NATS: the service works, and catches up when NATS is there.

use anyhow::{Result, ensure};
use tcs_system_tests::{Case, Site, SiteConfig};
use tcs_wire::EventKind::{Ready, Start as Started, Stop};
use tcs_wire::Status;

use crate::observe::{Told, Unit, start, unit_of};

const SERVICES: &str = "host: obs1
nats: {url: nats://127.0.0.1:4222}
defaults: {enabled: manual, restart: no}
services:
  - {type: misfit, variant: well}
  - {type: misfit, variant: finish, mode: finish}
  - {type: misfit, variant: required, required: true}
";

pub(super) fn tests() -> Vec<Case> {
    vec![Case::own(
        "nats_may_be_away_at_the_start",
        || SiteConfig::with_services(SERVICES),
        away_at_the_start,
    )]
}

fn away_at_the_start(site: &Site) -> Result<()> {
    let server = site.nats()?;
    server.stop()?;
    site.install()?;
    let (well, finish, required) = (
        unit_of("misfit.well")?,
        unit_of("misfit.finish")?,
        unit_of("misfit.required")?,
    );
    ensure!(
        start(site, &well)? == 0 && start(site, &finish)? == 0,
        "they need NATS"
    );
    Unit::eventually(
        site,
        &well,
        &[
            ("ActiveState", "active"),
            ("StatusText", "ok: running (NATS away)"),
        ],
    )?;
    let ended = [
        ("ActiveState", "inactive"),
        ("Result", "success"),
        ("ExecMainStatus", "0"),
    ];
    Unit::eventually(site, &finish, &ended)?;

    site.machine
        .run_ok(&["systemctl", "start", "--no-block", &required])?;
    let waiting = [
        ("ActiveState", "activating"),
        (
            "StatusText",
            "startup: waiting for NATS at nats://127.0.0.1:4222 (NATS away)",
        ),
    ];
    let waits = Unit::eventually(site, &required, &waiting)?;
    waits.has(&[("ActiveEnterTimestampMonotonic", "0"), ("NRestarts", "0")])?;

    let pid = Unit::read(site, &well)?.get("MainPID")?.to_owned();
    server.start_again()?;
    Told::until(site, "misfit.well", |told| {
        told.happened(&[Started, Ready])?;
        told.last_is(Status::Ok, "running")
    })?;
    let present = [("MainPID", pid.as_str()), ("StatusText", "ok: running")];
    Unit::eventually(site, &well, &present)?;
    let told = Told::until(site, "misfit.finish", |told| {
        told.happened(&[Started, Ready, Stop])?;
        told.last_is(Status::Shutdown, "completed")
    })?;
    let times: Vec<_> = told
        .events
        .iter()
        .map(|event| event.timestamp.timestamp())
        .collect();
    ensure!(times.is_sorted(), "{times:?}");
    Told::until(site, "misfit.required", |told| {
        told.happened(&[Started, Ready])?;
        told.last_is(Status::Ok, "running")
    })?;
    Unit::eventually(site, &required, &[("ActiveState", "active"), ("NRestarts", "0")])?;
    Ok(())
}
