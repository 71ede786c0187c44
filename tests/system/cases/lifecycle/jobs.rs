//! Jobs: done, done with losses, failed, silent, too long.

use anyhow::{Context, Result, ensure};
use tcs_system_tests::{Case, Lab, Site};
use tcs_wire::EventKind::{Crashed, Failed, Start as Started, Stop};
use tcs_wire::{Status, StatusDetails};

use super::on_site;
use crate::observe::{Told, Unit, start, unit_of};

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::lab("a_job_is_done", a_job_is_done),
        Case::lab("a_degraded_job_is_a_success_with_10", a_degraded_job),
        Case::lab("a_failed_job_is_failed", a_failed_job),
        Case::lab("bad_input_of_a_job_is_65", bad_input),
        Case::lab("a_silent_job_ends_itself", a_silent_job),
        Case::lab("a_job_in_an_endless_loop_is_cut_off", a_looping_job),
        Case::lab("a_job_has_a_longest_runtime", a_job_that_takes_too_long),
    ]
}

/// A run that systemd counts as a success, and what its last status carries.
fn succeeded(site: &Site, variant: &str, exit_code: i32, words: &str) -> Result<StatusDetails> {
    let id = format!("misfit_job.{variant}");
    let unit = unit_of(&id)?;
    ensure!(start(site, &unit)? == 0, "systemctl takes it for a failure");
    let told = Told::until(site, &id, |told| {
        told.last_is(Status::Shutdown, words)?;
        let stop = told.event(Stop)?;
        ensure!(
            stop.exit_code == Some(exit_code)
                && stop.reason.as_deref() == Some("completed")
                && stop.trigger.as_deref() == Some("manual")
                && stop
                    .duration_s
                    .is_some_and(|duration| duration > 0.0 && duration < 20.0),
            "{stop:?}"
        );
        let others = [Crashed, Failed].iter().find(|kind| told.event(**kind).is_ok());
        ensure!(others.is_none(), "{others:?}");
        Ok(())
    })?;
    Unit::read(site, &unit)?.has(&[
        ("Type", "oneshot"),
        ("ActiveState", "inactive"),
        ("Result", "success"),
        ("ExecMainStatus", &exit_code.to_string()),
    ])?;
    told.last()?
        .details
        .clone()
        .context("no details in the last status")
}

fn a_job_is_done(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let details = succeeded(site, "ok", 0, "read 3")?;
        ensure!(
            details.metrics["read"] == 3 && details.extra["result"] == "ok",
            "{details:?}"
        );
        Ok(())
    })
}

fn a_degraded_job(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let details = succeeded(site, "degraded", 10, "1 of 3 records set aside")?;
        ensure!(
            details.metrics["set aside"] == 1 && details.extra["result"] == "degraded",
            "{details:?}"
        );
        Ok(())
    })
}

fn failed(site: &Site, variant: &str, exit_code: i32, words: &str) -> Result<()> {
    let id = format!("misfit_job.{variant}");
    let unit = unit_of(&id)?;
    ensure!(start(site, &unit)? == 1, "systemctl takes it for a success");
    let told = Told::ended(site, &id, &[Started, Crashed, Failed])?;
    let crashed = told.event(Crashed)?;
    ensure!(
        crashed.exit_code == Some(exit_code)
            && crashed.will_restart == Some(false)
            && crashed.duration_s.is_some(),
        "{crashed:?}"
    );
    told.last_is(Status::Failed, words)?;
    Unit::read(site, &unit)?.has(&[
        ("ActiveState", "failed"),
        ("Result", "exit-code"),
        ("ExecMainStatus", &exit_code.to_string()),
        ("NRestarts", "0"),
    ])
}

fn a_failed_job(lab: &Lab) -> Result<()> {
    on_site(lab, |site| failed(site, "fail", 1, "writing record 2: disk full"))
}

fn bad_input(lab: &Lab) -> Result<()> {
    on_site(lab, |site| failed(site, "bad_input", 65, "line 7 is no record"))
}

fn a_silent_job(lab: &Lab) -> Result<()> {
    let words = "the job hangs: its loop shows no sign of life";
    on_site(lab, |site| failed(site, "hang_await", 70, words))
}

/// Its first thread can say nothing any more, so the manager has the last word.
fn a_looping_job(lab: &Lab) -> Result<()> {
    on_site(lab, |site| failed(site, "hang_loop", 70, "exit code 70"))
}

fn a_job_that_takes_too_long(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let id = "misfit_job.too_long";
        let unit = unit_of(id)?;
        ensure!(start(site, &unit)? == 1, "systemctl takes it for a success");
        let told = Told::until(site, id, |told| {
            let crashed = told.event(Crashed)?;
            ensure!(crashed.result.as_deref() == Some("timeout"), "{crashed:?}");
            told.event(Failed)?;
            // The job took it for an orderly stop; systemd knows better, and the manager says so.
            told.last_is(Status::Failed, "")?;
            Ok(())
        })?;
        ensure!(told.event(Stop).is_err(), "{told:?}");
        let after = Unit::read(site, &unit)?;
        after.has(&[
            ("ActiveState", "failed"),
            ("Result", "timeout"),
            ("TimeoutStartUSec", "2s"),
        ])
    })
}
