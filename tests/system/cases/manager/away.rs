//! The manager away: killed, stopped, upgraded. Services go on, and what it missed is in the mirror when it is back.

use anyhow::{Context, Result, ensure};
use tcs_system_tests::{Case, Site, SiteConfig};
use tcs_wire::State;

use super::mirror::equals_systemctl;
use super::tape::{stored_events, words_once};
use super::{MANAGER, answers, becomes, installed, kill, main_pid, property, systemctl};

/// While this file is there, systemd does not start the manager, whoever wants it.
const KEPT_AWAY: &str = "/run/tcs-test-keeps-the-manager-away";
const DROP_IN: &str = "/run/systemd/system/tcs-manager.service.d/50-test.conf";

const SERVICES: &str = "services:
  - {type: misfit, variant: stopped}
  - {type: misfit, variant: started}
  - {type: misfit, variant: killed, restart_sec: 100ms}
  - {type: misfit, variant: changed}
  - {type: misfit, variant: dead, restart: 'no'}
  - {type: misfit, variant: untouched}
  - {type: misfit_job, variant: timed, every: 1h}
";

pub(super) fn tests() -> Vec<Case> {
    let site = || SiteConfig::with_services(SERVICES);
    vec![
        Case::own("what_it_missed_is_in_the_mirror", site, missed),
        Case::own("services_go_on_and_bring_it_back", site, brought_back),
    ]
}

fn missed(site: &Site) -> Result<()> {
    installed(site)?;
    site.machine
        .write_file(DROP_IN, format!("[Unit]\nConditionPathExists=!{KEPT_AWAY}\n"))?;
    systemctl(site, &["daemon-reload"])?;
    let running =
        ["stopped", "killed", "changed", "dead", "untouched"].map(|name| format!("tcs@misfit.{name}"));
    let running: Vec<&str> = running.iter().map(String::as_str).collect();
    systemctl(site, &[["start"].as_slice(), &running].concat())?;
    equals_systemctl(site, "before")?;

    site.machine.write_file(KEPT_AWAY, "")?;
    kill(site, MANAGER)?;
    becomes(site, MANAGER, "ActiveState", "inactive")?;
    systemctl(site, &["stop", "tcs@misfit.stopped"])?;
    systemctl(
        site,
        &["start", "tcs@misfit.started", "tcs@misfit_job.timed.timer"],
    )?;
    kill(site, "tcs@misfit.killed")?;
    becomes(site, "tcs@misfit.killed", "NRestarts", "1")?;
    becomes(site, "tcs@misfit.killed", "ActiveState", "active")?;
    kill(site, "tcs@misfit.dead")?;
    becomes(site, "tcs@misfit.dead", "ActiveState", "failed")?;
    let drop_in = "/etc/systemd/system/tcs@misfit.changed.service.d/50-test.conf";
    site.machine.write_file(drop_in, "[Service]\nNice=5\n")?;
    systemctl(site, &["daemon-reload"])?;
    systemctl(site, &["restart", "tcs@misfit.changed"])?;
    site.machine.write_file(drop_in, "[Service]\nNice=6\n")?;
    ensure!(
        property(site, MANAGER, "ActiveState")? == "inactive",
        "the manager was not away"
    );

    site.machine.run_ok(&["rm", KEPT_AWAY])?;
    systemctl(site, &["start", MANAGER])?;
    let mirror = equals_systemctl(site, "back again")?;
    let of = |name: &str| mirror.of(&format!("misfit.{name}"));
    ensure!(of("stopped")?.state() == State::Stopped && of("started")?.state() == State::Running);
    ensure!(of("killed")?.unit.restarts == 1 && of("dead")?.state() == State::Failed);
    ensure!(of("changed")?.unit.need_daemon_reload);
    ensure!(
        mirror
            .of("misfit_job.timed")?
            .timer
            .as_ref()
            .is_some_and(|timer| timer.last.is_some())
    );

    answers(site)?;
    let told = [
        (
            "stopped",
            ["declared", "start", "ready", "declared", "stop"].as_slice(),
        ),
        ("started", &["declared", "declared", "start", "ready"]),
        (
            "killed",
            &[
                "declared",
                "start",
                "ready",
                "declared",
                "crashed",
                "restarting",
                "start",
                "ready",
            ],
        ),
        (
            "dead",
            &["declared", "start", "ready", "declared", "crashed", "failed"],
        ),
        (
            "changed",
            &["declared", "start", "ready", "declared", "start", "ready"],
        ),
        ("untouched", &["declared", "start", "ready", "declared"]),
    ];
    for (name, expected) in told {
        let events = stored_events(site, &format!("misfit.{name}"))?;
        let words = words_once(&events)?;
        ensure!(words == expected, "{name}: {words:?}");
        let again = words
            .iter()
            .rposition(|word| *word == "declared")
            .context("not declared")?;
        let late = |event: &serde_json::Value| event["late"] == true;
        ensure!(
            events
                .iter()
                .enumerate()
                .all(|(index, (event, _))| late(event) == (index > again)),
            "{name}: {events:#?}"
        );
    }
    Ok(())
}

fn brought_back(site: &Site) -> Result<()> {
    installed(site)?;
    let unit = "tcs@misfit.untouched";
    systemctl(site, &["start", unit])?;
    let process = main_pid(site, unit)?;
    systemctl(site, &["stop", MANAGER])?;
    ensure!(
        main_pid(site, unit)? == process,
        "the service did not outlive the manager"
    );
    ensure!(
        property(site, unit, "Requires")?
            .split(' ')
            .all(|required| required != MANAGER)
    );
    let events = stored_events(site, "manager.obs1")?;
    ensure!(
        words_once(&events)? == ["declared", "start", "ready", "stop"],
        "{events:#?}"
    );
    ensure!(
        events
            .last()
            .is_some_and(|(event, _)| event["status"] == "shutdown"),
        "{events:#?}"
    );

    // Any start brings it, and one that cannot start keeps no service away.
    systemctl(site, &["start", "tcs@misfit.started"])?;
    becomes(site, MANAGER, "ActiveState", "active")?;
    equals_systemctl(site, "brought back by a service")?;
    systemctl(site, &["stop", MANAGER])?;
    systemctl(site, &["mask", "--runtime", MANAGER])?;
    systemctl(site, &["start", "tcs@misfit.stopped"])?;
    ensure!(main_pid(site, "tcs@misfit.stopped")? != 0);
    ensure!(main_pid(site, unit)? == process);
    Ok(())
}
