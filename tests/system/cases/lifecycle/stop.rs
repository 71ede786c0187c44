//! The orderly end, and what does not come to it.

use anyhow::{Result, ensure};
use tcs_system_tests::{Case, Lab};
use tcs_wire::EventKind::{Failed, Ready, Start as Started, Stop, Stopping};
use tcs_wire::Status;

use super::on_site;
use crate::observe::{Told, Unit, start, unit_of};

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::lab("a_stop_is_an_orderly_end", an_orderly_end),
        Case::lab("sigterm_is_told_at_once_and_ends_in_order", sigterm),
        Case::lab("a_stop_has_a_deadline", a_stop_has_a_deadline),
    ]
}

fn an_orderly_end(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let id = "misfit.well";
        let unit = unit_of(id)?;
        ensure!(start(site, &unit)? == 0, "it does not start");
        Told::until(site, id, |told| told.last_is(Status::Ok, "running"))?;
        site.machine.run_ok(&["systemctl", "stop", &unit])?;
        let told = Told::until(site, id, |told| {
            // It may be over before systemd tells that it has begun.
            told.happened(&[Started, Ready, Stopping, Stop])
                .or_else(|_| told.happened(&[Started, Ready, Stop]))?;
            told.last_is(Status::Shutdown, "stopped")
        })?;
        let stop = told.event(Stop)?;
        ensure!(
            stop.exit_code == Some(0) && stop.reason.as_deref() == Some("terminated"),
            "{stop:?}"
        );
        Unit::read(site, &unit)?.has(&[
            ("ActiveState", "inactive"),
            ("Result", "success"),
            ("ExecMainStatus", "0"),
            ("StatusText", "shutdown: stopped"),
        ])
    })
}

/// The signal comes past systemd, so that only STOPPING=1 can have told it.
fn sigterm(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let id = "misfit.slow_stop";
        let unit = unit_of(id)?;
        ensure!(start(site, &unit)? == 0, "it does not start");
        let pid = Unit::read(site, &unit)?.get("MainPID")?.to_owned();
        site.machine.run_ok(&["kill", "-TERM", &pid])?;
        let meanwhile = [("ActiveState", "deactivating"), ("MainPID", pid.as_str())];
        Unit::eventually(site, &unit, &meanwhile)?;
        let told = Told::ended(site, id, &[Started, Ready, Stopping, Stop])?;
        told.last_is(Status::Shutdown, "stopped")?;
        // Who sent the signal nobody knows, so the reason may be either; the status tells.
        ensure!(told.event(Stop)?.exit_code == Some(0), "{told}");
        let after = Unit::read(site, &unit)?;
        after.has(&[
            ("ActiveState", "inactive"),
            ("Result", "success"),
            ("NRestarts", "0"),
        ])?;
        let took = after.number("InactiveEnterTimestampMonotonic")?
            - after.number("ActiveExitTimestampMonotonic")?;
        ensure!(took >= 1_900_000, "STOPPING=1 only {took} µs before the end");
        Ok(())
    })
}

fn a_stop_has_a_deadline(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let id = "misfit.ignore_stop";
        let unit = unit_of(id)?;
        ensure!(start(site, &unit)? == 0, "it does not start");
        site.machine.run_ok(&["systemctl", "stop", &unit])?;
        let told = Told::ended(site, id, &[Started, Ready, Stopping, Stop, Failed])?;
        ensure!(told.event(Stop)?.exit_code == Some(124), "{told:?}");
        told.last_is(Status::Failed, "run did not end within the 2 s of a stop")?;
        // The SDK ended it with a reason before systemd would have killed it without one.
        let after = Unit::read(site, &unit)?;
        after.has(&[
            ("ActiveState", "failed"),
            ("Result", "exit-code"),
            ("ExecMainCode", "1"),
            ("ExecMainStatus", "124"),
            ("TimeoutStopUSec", "3s"),
            ("NRestarts", "0"),
        ])?;
        Ok(())
    })
}
