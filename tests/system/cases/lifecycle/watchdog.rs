//! A service that hangs is found out, one that only waits is left alone.

use anyhow::{Result, ensure};
use tcs_system_tests::{Case, Lab, Site};
use tcs_testkit::eventually_blocking;
use tcs_wire::EventKind::{Crashed, Failed, Ready, Start as Started};
use tcs_wire::Status;

use super::on_site;
use crate::observe::{SOON, Told, Unit, start, unit_of};

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::lab("an_endless_loop_is_a_hang", |lab| hang(lab, "hang_loop")),
        Case::lab("a_sleeping_thread_is_a_hang", |lab| hang(lab, "hang_sleep")),
        Case::lab("a_lock_taken_twice_is_a_hang", |lab| hang(lab, "hang_mutex")),
        Case::lab("a_wait_for_nothing_is_a_hang", |lab| hang(lab, "hang_await")),
        Case::lab("a_lively_loop_hides_no_hanging_task", |lab| {
            hang(lab, "hang_task")
        }),
        Case::lab("a_long_sleep_is_no_hang", |lab| lively(lab, "long_sleep")),
        Case::lab("a_service_without_a_loop_is_fed", |lab| lively(lab, "no_loop")),
        Case::lab("a_health_check_complains_in_the_status", unhealthy),
    ]
}

fn hang(lab: &Lab, variant: &str) -> Result<()> {
    on_site(lab, |site| {
        let id = format!("misfit.{variant}");
        let unit = unit_of(&id)?;
        ensure!(start(site, &unit)? == 0, "it does not start");
        let told = Told::ended(site, &id, &[Started, Ready, Crashed, Failed])?;
        let crashed = told.event(Crashed)?;
        ensure!(
            crashed.result.as_deref() == Some("watchdog") && crashed.exit_code == Some(-6),
            "{crashed:?}"
        );
        ensure!(
            told.event(Failed)?.reason.as_deref() == Some("watchdog"),
            "{told:?}"
        );
        told.last_is(Status::Failed, "no sign of life within WatchdogSec")?;
        let after = Unit::read(site, &unit)?;
        after.has(&[
            ("ActiveState", "failed"),
            ("Result", "watchdog"),
            ("ExecMainStatus", "6"),
        ])?;
        let lived = after.number("InactiveEnterTimestampMonotonic")?
            - after.number("ActiveEnterTimestampMonotonic")?;
        ensure!(lived >= 2_000_000, "killed after {lived} µs already");
        Ok(())
    })
}

/// Four times its WatchdogSec= go by, and it is the same process still.
fn lively(lab: &Lab, variant: &str) -> Result<()> {
    on_site(lab, |site| {
        let id = format!("misfit.{variant}");
        let unit = unit_of(&id)?;
        ensure!(start(site, &unit)? == 0, "it does not start");
        let pid = Unit::read(site, &unit)?.get("MainPID")?.to_owned();
        pinged_for(site, &unit, 8_000_000)?;
        Unit::read(site, &unit)?.has(&[
            ("ActiveState", "active"),
            ("WatchdogUSec", "2s"),
            ("MainPID", &pid),
            ("NRestarts", "0"),
        ])?;
        Told::until(site, &id, |told| told.happened(&[Started, Ready]))?;
        site.machine.run_ok(&["systemctl", "stop", &unit])?;
        Ok(())
    })
}

/// Waits until systemd has had a ping so many microseconds after the start.
fn pinged_for(site: &Site, unit: &str, microseconds: u64) -> Result<()> {
    let probe = || {
        let unit = Unit::read(site, unit)?;
        let alive = unit
            .number("WatchdogTimestampMonotonic")?
            .saturating_sub(unit.number("ActiveEnterTimestampMonotonic")?);
        ensure!(
            alive >= microseconds,
            "{} for {alive} µs",
            unit.get("ActiveState")?
        );
        Ok(())
    };
    Ok(eventually_blocking("pings", SOON, probe)?)
}

fn unhealthy(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let id = "misfit.unhealthy";
        let unit = unit_of(id)?;
        ensure!(start(site, &unit)? == 0, "it does not start");
        let words = "health check: the device is too warm";
        Told::until(site, id, |told| told.last_is(Status::Error, words))?;
        Unit::read(site, &unit)?.has(&[
            ("ActiveState", "active"),
            ("StatusText", &format!("error: {words}")),
        ])?;
        site.machine.run_ok(&["systemctl", "stop", &unit])?;
        Told::until(site, id, |told| told.last_is(Status::Shutdown, "stopped"))?;
        Ok(())
    })
}
