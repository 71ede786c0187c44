//! What the administrator decides stands.

use anyhow::{Result, ensure};
use tcs_system_tests::{Case, Site};

use super::{DROP_IN, SERVICES, fresh};
use crate::observe::{Unit, start};

const HOLDS: &str = "/var/lib/tcs-manager/holds";

pub(super) fn tests() -> Vec<Case> {
    vec![Case::own(
        "the_administrator_has_the_last_word",
        fresh,
        the_last_word,
    )]
}

fn the_last_word(site: &Site) -> Result<()> {
    site.install()?;
    the_target_stops_all(site)?;
    a_hold_keeps_starts_away(site)?;
    a_disabled_unit_stays_so(site)?;
    a_changed_file_is_kept(site)
}

fn is(site: &Site, unit: &str, state: &str) -> Result<()> {
    Unit::eventually(site, unit, &[("ActiveState", state)]).map(drop)
}

fn the_target_stops_all(site: &Site) -> Result<()> {
    let all = [
        "tcs@hello_world.service",
        "tcs@weather_importer.timer",
        "tcs@hello_world.tuned.service",
    ];
    ensure!(start(site, "tcs.target")? == 0, "tcs.target does not start");
    // Not enabled, and part of it all the same.
    ensure!(start(site, "tcs@hello_world.tuned")? == 0, "it does not start");
    for unit in all {
        is(site, unit, "active")?;
    }
    site.machine.run_ok(&["systemctl", "stop", "tcs.target"])?;
    for unit in all {
        is(site, unit, "inactive")?;
    }
    Ok(())
}

fn a_hold_keeps_starts_away(site: &Site) -> Result<()> {
    for (instance, unit) in [
        ("hello_world", "tcs@hello_world.service"),
        ("weather_importer", "tcs@weather_importer.service"),
        ("weather_importer", "tcs@weather_importer.timer"),
    ] {
        let hold = format!("{HOLDS}/{instance}");
        site.machine.write_file(&hold, "")?;
        // systemctl says nothing of it and exits with 0 (design decision 10).
        ensure!(start(site, unit)? == 0, "{unit} fails");
        Unit::read(site, unit)?.has(&[("ActiveState", "inactive"), ("ConditionResult", "no")])?;
        site.machine.run_ok(&["rm", &hold])?;
        ensure!(start(site, unit)? == 0, "{unit} fails without the hold");
        if unit != "tcs@weather_importer.service" {
            is(site, unit, "active")?;
        }
        site.machine.run_ok(&["systemctl", "stop", unit])?;
    }
    // Nor does a restart get past it.
    ensure!(start(site, "tcs@hello_world")? == 0, "it does not start");
    site.machine.write_file(&format!("{HOLDS}/hello_world"), "")?;
    let unit = "tcs@hello_world.service";
    site.machine
        .run_ok(&["systemctl", "kill", "--signal=KILL", unit])?;
    Unit::eventually(
        site,
        unit,
        &[
            ("ActiveState", "inactive"),
            ("ConditionResult", "no"),
            ("MainPID", "0"),
        ],
    )?;
    site.machine.run_ok(&["rm", &format!("{HOLDS}/hello_world")])?;
    Ok(())
}

fn a_disabled_unit_stays_so(site: &Site) -> Result<()> {
    let enabled = |site: &Site| {
        anyhow::Ok(
            site.machine
                .run(&["systemctl", "is-enabled", "tcs@hello_world"])?
                .stdout,
        )
    };
    ensure!(enabled(site)?.trim() == "enabled", "it is not enabled at first");
    site.machine
        .run_ok(&["systemctl", "disable", "tcs@hello_world"])?;
    let changed = SERVICES.replacen("    message: Good evening", "    restart_sec: 4s", 1);
    site.machine.write_file("/etc/tcs/services.yaml", &changed)?;
    let said = site.install()?;
    ensure!(said.contains(&format!("change   {DROP_IN}")), "{said}");
    Unit::read(site, "tcs@hello_world.service")?.has(&[("RestartUSec", "4s"), ("NeedDaemonReload", "no")])?;
    ensure!(enabled(site)?.trim() == "disabled", "install enabled it again");
    Ok(())
}

fn a_changed_file_is_kept(site: &Site) -> Result<()> {
    let own = format!("{}# mine\n", site.machine.read_file(DROP_IN)?);
    site.machine.write_file(DROP_IN, &own)?;
    site.machine.write_file("/etc/tcs/services.yaml", SERVICES)?;
    let install = site.machine.run(&["tcs-systemd-gen", "install"])?;
    ensure!(install.code() == 1, "exit {}", install.code());
    let line = format!("left     {DROP_IN}: it was changed by hand");
    ensure!(install.stdout.contains(&line), "{}", install.both());
    ensure!(site.machine.read_file(DROP_IN)? == own, "it was changed");

    let forced = site.machine.run_ok(&["tcs-systemd-gen", "install", "--force"])?;
    ensure!(forced.contains(&format!("copy     {DROP_IN}.bak")), "{forced}");
    ensure!(
        site.machine.read_file(&format!("{DROP_IN}.bak"))? == own,
        "the copy is another file"
    );
    ensure!(
        !site.machine.read_file(DROP_IN)?.contains("# mine"),
        "it was not replaced"
    );
    Ok(())
}
