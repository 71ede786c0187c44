//! Starts and ends of permanent services.

use anyhow::{Context, Result, ensure};
use tcs_system_tests::{Case, Lab, Site};
use tcs_wire::EventKind::{Crashed, Failed, Ready, Restarting, Start as Started, Stop};
use tcs_wire::{Bucket, Snapshot, Status};

use super::on_site;
use crate::observe::{Start, Told, Unit, on_bus, start, unit_of};

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::lab("a_failed_start_is_never_active", a_failed_start),
        Case::lab(
            "what_fails_before_it_waits_was_never_ready",
            fails_before_it_waits,
        ),
        Case::lab("a_panic_in_start_is_never_active", a_panic_in_start),
        Case::lab("a_slow_start_is_activating_until_it_is_ready", a_slow_start),
        Case::lab(
            "a_configuration_error_is_not_restarted",
            a_configuration_error_is_not_restarted,
        ),
        Case::lab("an_error_in_run_ends_with_its_causes", an_error_in_run),
        Case::lab("an_error_in_a_task_ends_the_service", an_error_in_a_task),
        Case::lab("a_panic_ends_with_70", a_panic),
        Case::lab("a_crash_is_restarted_until_the_limit", a_crash_is_restarted),
        Case::lab("a_failed_service_starts_again", a_failed_service_starts_again),
        Case::lab("a_service_that_finishes_is_completed", a_finished_service),
        Case::lab("log_lines_carry_their_service", log_lines_carry_their_service),
    ]
}

/// A start that must fail: with this exit code, these words, and without a moment of `active`.
fn never_active(site: &Site, variant: &str, exit_code: i32, words: &str) -> Result<()> {
    let id = format!("misfit.{variant}");
    let unit = unit_of(&id)?;
    let watched = Start::watched(site, &unit)?;
    ensure!(watched.job == "failed", "{watched:?}");
    ensure!(watched.saw("activating") && !watched.saw("active"), "{watched:?}");
    let told = Told::ended(site, &id, &[Started, Crashed, Failed])?;
    let crashed = told.event(Crashed)?;
    ensure!(
        crashed.exit_code == Some(exit_code) && crashed.will_restart == Some(false),
        "{crashed:?}"
    );
    ensure!(crashed.result.as_deref() == Some("exit-code"), "{crashed:?}");
    ensure!(
        told.statuses.iter().all(|report| report.status != Status::Ok),
        "{told:?}"
    );
    told.last_is(Status::Failed, words)?;
    Unit::read(site, &unit)?.has(&[
        ("ActiveState", "failed"),
        ("Result", "exit-code"),
        ("ExecMainStatus", &exit_code.to_string()),
        ("NRestarts", "0"),
        // systemd itself was never of the opinion that it is active.
        ("ActiveEnterTimestampMonotonic", "0"),
        ("StatusText", &format!("failed: {words}")),
    ])
}

fn a_failed_start(lab: &Lab) -> Result<()> {
    let words = "start: opening the device: the device does not answer";
    on_site(lab, |site| never_active(site, "fail_start", 1, words))
}

fn fails_before_it_waits(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        never_active(site, "run_error_at_once", 69, "nothing to run with")
    })
}

fn a_panic_in_start(lab: &Lab) -> Result<()> {
    let words = "start: panic: misfit panics in its start";
    on_site(lab, |site| never_active(site, "panic_start", 70, words))
}

fn a_configuration_error_is_not_restarted(lab: &Lab) -> Result<()> {
    // Its restart policy is on-failure: that NRestarts stays 0 is the doing of RestartPreventExitStatus=.
    let words = "start: no device is configured";
    on_site(lab, |site| never_active(site, "fail_configuration", 78, words))
}

fn a_slow_start(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let id = "misfit.slow_start";
        let unit = unit_of(id)?;
        let started = site.machine.run(&["systemctl", "start", "--no-block", &unit])?;
        ensure!(started.code() == 0, "{}", started.both());
        let meanwhile = Told::until(site, id, |told| {
            told.happened(&[Started])?;
            told.last_is(Status::Startup, "starting")
        })?;
        let mirrored = mirrored_state(site, id)?;
        Unit::read(site, &unit)?
            .has(&[("ActiveState", "activating"), ("SubState", "start")])
            .with_context(|| format!("{meanwhile:?}"))?;
        ensure!(mirrored == "activating", "the mirror says {mirrored}");

        let after = Unit::eventually(site, &unit, &[("ActiveState", "active")])?;
        let took = after.number("ActiveEnterTimestampMonotonic")?
            - after.number("ExecMainStartTimestampMonotonic")?;
        ensure!(took >= 3_000_000, "active after {took} µs");
        let told = Told::until(site, id, |told| {
            told.happened(&[Started, Ready])?;
            told.last_is(Status::Ok, "running")
        })?;
        let startup = told.event(Ready)?.startup_duration_seconds;
        ensure!(startup.is_some_and(|seconds| seconds >= 3.0), "{startup:?}");
        Ok(())
    })
}

fn mirrored_state(site: &Site, id: &str) -> Result<String> {
    on_bus(site, async |bus| {
        let mirror = bus.kv(Bucket::State).await?;
        let entry = mirror
            .get(&format!("manager.obs1.{id}"))
            .await?
            .context("no record in the mirror")?;
        let snapshot: Snapshot = serde_json::from_slice(&entry.value)?;
        Ok(snapshot.unit.active_state)
    })
}

/// A service that was active and ended by itself with this exit code, not to be restarted.
fn ran_and_failed(site: &Site, variant: &str, exit_code: i32, words: &str) -> Result<()> {
    let id = format!("misfit.{variant}");
    let unit = unit_of(&id)?;
    let watched = Start::watched(site, &unit)?;
    ensure!(watched.job == "done", "{watched:?}");
    let told = Told::ended(site, &id, &[Started, Ready, Crashed, Failed])?;
    let crashed = told.event(Crashed)?;
    ensure!(
        crashed.exit_code == Some(exit_code) && crashed.will_restart == Some(false),
        "{crashed:?}"
    );
    ensure!(
        crashed.status == Some(Status::Failed) && told.event(Failed)?.reason.as_deref() == Some("exit-code"),
        "{told:?}"
    );
    told.last_is(Status::Failed, words)?;
    let after = Unit::read(site, &unit)?;
    ensure!(
        after.number("ActiveEnterTimestampMonotonic")? > 0,
        "it was never active"
    );
    after.has(&[
        ("ActiveState", "failed"),
        ("Result", "exit-code"),
        ("ExecMainCode", "1"),
        ("ExecMainStatus", &exit_code.to_string()),
        ("NRestarts", "0"),
        ("StatusText", &format!("failed: {words}")),
    ])
}

fn an_error_in_run(lab: &Lab) -> Result<()> {
    let words = "reading the weather station: connection reset";
    on_site(lab, |site| ran_and_failed(site, "run_error", 1, words))
}

fn an_error_in_a_task(lab: &Lab) -> Result<()> {
    let words = "worker: reading the weather station: connection reset";
    on_site(lab, |site| ran_and_failed(site, "task_error", 1, words))
}

fn a_panic(lab: &Lab) -> Result<()> {
    let words = "panic: misfit panics as it was told to";
    on_site(lab, |site| ran_and_failed(site, "panic", 70, words))
}

fn a_crash_is_restarted(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let id = "misfit.exit_after";
        let unit = unit_of(id)?;
        ensure!(start(site, &unit)? == 0, "it does not start");
        let run = [Started, Ready, Crashed];
        let told = Told::ended(site, id, &[&run[..], &[Restarting], &run[..], &[Failed]].concat())?;
        let crashes: Vec<_> = told
            .events
            .iter()
            .filter(|event| event.kind() == Some(Crashed))
            .map(|event| (event.exit_code, event.max_restarts))
            .collect();
        ensure!(crashes == [(Some(3), Some(Some(1))); 2], "{crashes:?}");
        let runs: Vec<_> = told
            .events
            .iter()
            .filter(|event| event.kind() == Some(Started))
            .collect();
        ensure!(runs[0].invocation_id != runs[1].invocation_id, "{runs:?}");
        ensure!(told.event(Restarting)?.restart_attempt == Some(1), "{told:?}");
        ensure!(
            told.event(Failed)?.reason.as_deref() == Some("start-limit-hit"),
            "{told:?}"
        );
        told.last_is(Status::Failed, "started too often")?;
        Unit::read(site, &unit)?.has(&[("ActiveState", "failed"), ("ExecMainStatus", "3")])
    })
}

/// systemd tells the new process while the unit still counts as failed.
fn a_failed_service_starts_again(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let id = "misfit.again";
        let unit = unit_of(id)?;
        ensure!(start(site, &unit)? == 0, "it does not start");
        site.machine
            .run_ok(&["systemctl", "kill", "--signal=KILL", &unit])?;
        let first = [Started, Ready, Crashed, Failed];
        let told = Told::ended(site, id, &first)?;
        let crashed = told.event(Crashed)?;
        ensure!(
            crashed.exit_code == Some(-9) && crashed.result.as_deref() == Some("signal"),
            "{crashed:?}"
        );
        told.last_is(Status::Failed, "killed by SIGKILL")?;

        ensure!(start(site, &unit)? == 0, "it does not start again");
        Told::until(site, id, |told| {
            told.happened(&[&first[..], &[Started, Ready]].concat())?;
            told.last_is(Status::Ok, "running")
        })?;
        site.machine.run_ok(&["systemctl", "stop", &unit])?;
        Told::ended(site, id, &[&first[..], &[Started, Ready, Stop]].concat())?;
        Unit::read(site, &unit)?.has(&[("ActiveState", "inactive"), ("Result", "success")])
    })
}

fn a_finished_service(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let id = "misfit.finish";
        let unit = unit_of(id)?;
        ensure!(start(site, &unit)? == 0, "it does not start");
        let told = Told::until(site, id, |told| told.last_is(Status::Shutdown, "completed"))?;
        let told = Told::until(site, id, |now| {
            now.happened(&[Started, Ready, Stop])
                .with_context(|| format!("before: {told:?}"))
        })?;
        let stop = told.event(Stop)?;
        ensure!(
            stop.exit_code == Some(0) && stop.reason.as_deref() == Some("completed"),
            "{stop:?}"
        );
        Unit::read(site, &unit)?.has(&[
            ("ActiveState", "inactive"),
            ("Result", "success"),
            ("ExecMainStatus", "0"),
            ("NRestarts", "0"),
        ])
    })
}

fn log_lines_carry_their_service(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let unit = unit_of("misfit.fail_stop")?;
        ensure!(start(site, &unit)? == 0, "it does not start");
        site.machine.run_ok(&["systemctl", "stop", &unit])?;
        site.machine.run_ok(&["journalctl", "--sync"])?;
        let filter = ["journalctl", "--output=json", "TCS_SERVICE=misfit.fail_stop"];
        let lines = site.machine.run_ok(&filter)?;
        let lines: Vec<serde_json::Value> = lines
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        let line = |words: &str| {
            let found = lines
                .iter()
                .find(|line| line["MESSAGE"].as_str().is_some_and(|text| text.contains(words)));
            found.with_context(|| format!("no line with `{words}` in {lines:#?}"))
        };
        let error = line("the device cannot be parked")?;
        ensure!(error["PRIORITY"] == "3", "{error}");
        let version = line("version ")?;
        ensure!(version["PRIORITY"] == "6", "{version}");
        for each in [error, version] {
            ensure!(
                each["TCS_VARIANT"] == "fail_stop"
                    && each["SYSLOG_IDENTIFIER"] == "misfit.fail_stop"
                    && each["_SYSTEMD_UNIT"] == unit.as_str()
                    && each["CODE_FILE"].is_string(),
                "{each}"
            );
        }
        Ok(())
    })
}
