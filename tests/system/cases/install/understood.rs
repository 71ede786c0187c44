//! What systemd makes of the units.

use anyhow::{Context, Result, ensure};
use jiff::{Timestamp, tz::TimeZone};
use tcs_system_tests::{Case, Lab, Site};

use super::{UNITS, on_site};
use crate::observe::{Unit, start};

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::lab("verify_prints_nothing", verify_prints_nothing),
        Case::lab("a_permanent_service_is_as_declared", a_permanent_service),
        Case::lab("a_job_is_as_declared", a_job),
        Case::lab("timers_are_as_declared", timers),
        Case::lab("schedules_are_utc_unless_a_zone_is_named", schedules),
        Case::lab("what_is_enabled_is_what_was_declared", enabled),
    ]
}

/// Every instance that was written, and the plain units (design decision 16).
fn verify_prints_nothing(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let script = format!("cd {UNITS} && ls -d tcs@*.d tcs.target tcs.slice tcs-manager.service");
        let listed = site.machine.run_ok(&["sh", "-c", &script])?;
        let units: Vec<&str> = listed.lines().map(|name| name.trim_end_matches(".d")).collect();
        ensure!(units.len() == 11, "{units:?}");
        let verified = site
            .machine
            .run(&[&["systemd-analyze", "verify", "--man=no"], &units[..]].concat())?;
        ensure!(
            verified.code() == 0 && verified.both().is_empty(),
            "{}",
            verified.both()
        );
        Ok(())
    })
}

fn a_permanent_service(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        // systemd tells the watchdog of what runs only.
        let units = ["tcs@hello_world.service", "tcs@hello_world.tuned.service"];
        for unit in units {
            ensure!(start(site, unit)? == 0, "{unit} does not start");
        }
        let plain = Unit::read(site, units[0])?;
        plain.has(&[
            ("LoadState", "loaded"),
            ("NeedDaemonReload", "no"),
            ("Type", "notify"),
            ("Restart", "on-failure"),
            ("RestartUSec", "1s"),
            ("StartLimitIntervalUSec", "1min"),
            ("StartLimitBurst", "6"),
            ("WatchdogUSec", "30s"),
            ("TimeoutStopUSec", "15s"),
            ("RestartPreventExitStatus", "2 75 77 78"),
            ("User", "tcs"),
            ("Slice", "tcs.slice"),
            ("KillMode", "control-group"),
            ("StateDirectory", "tcs/hello_world"),
            ("NoNewPrivileges", "yes"),
            ("ProtectSystem", "strict"),
        ])?;
        command(&plain, "/usr/lib/tcs/services/hello_world --id hello_world.main")?;
        ensure!(
            plain.get("Wants")?.contains("tcs-manager.service"),
            "nobody brings the manager"
        );
        ensure!(
            !plain.get("Requires")?.contains("tcs-manager"),
            "losing the manager must stop nothing"
        );

        let tuned = Unit::read(site, units[1])?;
        tuned.has(&[
            ("Type", "notify"),
            ("Restart", "always"),
            ("RestartUSec", "2s"),
            ("StartLimitIntervalUSec", "5min"),
            ("StartLimitBurst", "4"),
            ("WatchdogUSec", "7s"),
            ("TimeoutStartUSec", "2min"),
            ("TimeoutStopUSec", "21s"),
            ("User", "tcs"),
            ("Slice", "tcs.slice"),
        ])?;
        command(&tuned, "/usr/lib/tcs/services/hello_world --id hello_world.tuned")?;
        let environment = tuned.get("Environment")?;
        for variable in [
            "TCS_MANAGER=manager.obs1",
            "TCS_RUNNER_ID=manager.obs1.hello_world.tuned",
            "\"SITE=la silla\"",
        ] {
            ensure!(environment.contains(variable), "no {variable} in {environment}");
        }
        Ok(())
    })
}

/// The block of design decision 14.
fn a_job(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let job = Unit::read(site, "tcs@weather_importer.service")?;
        job.has(&[
            ("Type", "oneshot"),
            ("Restart", "no"),
            ("StartLimitIntervalUSec", "0"),
            ("NotifyAccess", "main"),
            ("TimeoutStartUSec", "20min"),
            ("SuccessExitStatus", "10"),
            ("User", "tcs"),
            ("Slice", "tcs.slice"),
            ("UnitFileState", "static"),
        ])?;
        command(
            &job,
            "/usr/lib/tcs/services/weather_importer --id weather_importer.main",
        )?;
        let other = Unit::read(site, "tcs@weather_importer.again.service")?;
        other.has(&[("Type", "oneshot"), ("TimeoutStartUSec", "1h")])
    })
}

fn command(unit: &Unit, line: &str) -> Result<()> {
    let seen = unit.get("ExecStart")?;
    ensure!(
        seen.contains(&format!("argv[]={line} ;")) && seen.matches("argv[]=").count() == 1,
        "ExecStart is {seen}"
    );
    Ok(())
}

fn timers(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let timer = Unit::read(site, "tcs@weather_importer.timer")?;
        timer.has(&[
            ("AccuracyUSec", "1s"),
            ("Persistent", "yes"),
            ("Unit", "tcs@weather_importer.service"),
        ])?;
        ensure!(
            timer.get("PartOf")?.contains("tcs.target"),
            "its target does not stop it"
        );
        calendar(&timer, "OnCalendar=*-*-* 03:00:00 UTC ;")?;
        let warsaw = Unit::read(site, "tcs@weather_importer.warsaw.timer")?;
        warsaw.has(&[("Persistent", "no")])?;
        calendar(&warsaw, "OnCalendar=*-*-* 06:30:00 Europe/Warsaw ;")?;
        let again = site.machine.run_ok(&[
            "systemctl",
            "show",
            "--property=TimersMonotonic",
            "tcs@weather_importer.again.timer",
        ])?;
        ensure!(
            again.contains("OnActiveUSec=0 ;") && again.contains("OnUnitInactiveUSec=5min ;"),
            "{again}"
        );
        Ok(())
    })
}

fn calendar(timer: &Unit, expected: &str) -> Result<()> {
    let seen = timer.get("TimersCalendar")?;
    ensure!(seen.contains(expected), "{seen}");
    Ok(())
}

/// The machine's own zone is Tokyo's; systemd's next elapse must not follow it.
fn schedules(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let date = site.machine.run_ok(&["date", "+%Z"])?;
        ensure!(date.trim() == "JST", "the machine is in {date}");
        for (instance, zone, hour, minute) in [
            ("weather_importer", "UTC", 3, 0),
            ("weather_importer.warsaw", "Europe/Warsaw", 6, 30),
        ] {
            let unit = format!("tcs@{instance}.timer");
            ensure!(start(site, &unit)? == 0, "{unit} does not start");
            let next = next_elapse(site, &unit)?.to_zoned(TimeZone::get(zone)?);
            ensure!(
                (next.hour(), next.minute(), next.second()) == (hour, minute, 0),
                "{unit}: {next}"
            );
            site.machine.run_ok(&["systemctl", "stop", &unit])?;
        }
        Ok(())
    })
}

fn next_elapse(site: &Site, unit: &str) -> Result<Timestamp> {
    let systemd = "org.freedesktop.systemd1";
    let loaded = site.machine.run_ok(&[
        "busctl",
        "call",
        systemd,
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "LoadUnit",
        "s",
        unit,
    ])?;
    let path = loaded.split('"').nth(1).with_context(|| loaded.clone())?;
    let next = site.machine.run_ok(&[
        "busctl",
        "get-property",
        systemd,
        path,
        "org.freedesktop.systemd1.Timer",
        "NextElapseUSecRealtime",
    ])?;
    let next = next.trim().strip_prefix("t ").with_context(|| next.clone())?;
    Ok(Timestamp::from_microsecond(next.parse()?)?)
}

fn enabled(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        for (unit, state) in [
            ("tcs.target", "enabled"),
            ("tcs-manager.service", "enabled"),
            ("tcs@hello_world.service", "enabled"),
            ("tcs@hello_world.tuned.service", "disabled"),
            ("tcs@weather_importer.timer", "enabled"),
            ("tcs@weather_importer.warsaw.timer", "disabled"),
        ] {
            let seen = site.machine.run(&["systemctl", "is-enabled", unit])?.stdout;
            ensure!(seen.trim() == state, "{unit} is {seen}");
        }
        let wanted = Unit::read(site, "tcs.target")?;
        let wanted = wanted.get("Wants")?;
        ensure!(
            !wanted.contains("tcs@weather_importer.service"),
            "a job starts with the machine: {wanted}"
        );
        Ok(())
    })
}
