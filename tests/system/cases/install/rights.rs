//! Who may do what to which unit (design decision 8).

use anyhow::{Result, ensure};
use tcs_system_tests::{Case, Lab, Site};

use super::on_site;
use crate::observe::{Unit, start};

const UNIT: &str = "tcs@hello_world.rights.service";
const OTHER: &str = "tcs-test-probe.service";

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::lab("the_manager_drives_services_and_nothing_else", the_manager),
        Case::lab("a_service_has_none_of_the_managers_rights", a_service),
    ]
}

/// Runs `systemctl` as a user and gives whether polkit let it; any other failure is one of the test.
fn may(site: &Site, user: &str, words: &[&str]) -> Result<bool> {
    let output = site
        .machine
        .run_as(user, &[&["systemctl", "--no-ask-password"], words].concat())?;
    let refused = [
        "Access denied",
        "authentication required",
        "Interactive authentication",
    ];
    let denied = refused.iter().any(|words| output.stderr.contains(words));
    ensure!(
        output.status.success() != denied,
        "{user}: {words:?}: {}",
        output.both()
    );
    Ok(!denied)
}

fn the_manager(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let user = "tcs-manager";
        for verb in [
            "start",
            "reset-failed",
            "restart",
            "try-restart",
            "reload-or-restart",
            "kill",
            "stop",
        ] {
            ensure!(may(site, user, &[verb, UNIT])?, "it may not {verb} a service");
        }
        Unit::read(site, UNIT)?.has(&[("ActiveState", "inactive")])?;
        for verb in ["start", "stop"] {
            let timer = "tcs@weather_importer.warsaw.timer";
            ensure!(may(site, user, &[verb, timer])?, "it may not {verb} a timer");
        }
        probe(site)?;
        for refused in [
            &["stop", OTHER][..],
            &["restart", OTHER],
            &["kill", OTHER],
            &["stop", "dbus.socket"],
            &["stop", "tcs-manager.service"],
            &["start", "tcs.target"],
            &["set-property", "--runtime", UNIT, "DeviceAllow=/dev/null"],
            &["enable", UNIT],
            &["daemon-reload"],
            &["poweroff"],
        ] {
            ensure!(!may(site, user, refused)?, "it may {refused:?}");
        }
        let transient = site.machine.run_as(
            user,
            &[
                "systemd-run",
                "--no-ask-password",
                "--unit=tcs@hello_world.forged",
                "true",
            ],
        )?;
        ensure!(!transient.status.success(), "it may run what it likes as root");
        Unit::read(site, OTHER)?.has(&[("ActiveState", "active")])
    })
}

fn a_service(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let unit = "tcs@hello_world.victim.service";
        ensure!(start(site, unit)? == 0, "it does not start");
        let before = Unit::read(site, unit)?.get("InvocationID")?.to_owned();
        for user in ["tcs", "nobody"] {
            for verb in ["start", "stop", "restart", "kill"] {
                // To start what runs is nothing, so another one.
                let unit = if verb == "start" {
                    "tcs@hello_world.other.service"
                } else {
                    unit
                };
                ensure!(!may(site, user, &[verb, unit])?, "{user} may {verb} a service");
            }
        }
        Unit::read(site, unit)?.has(&[("ActiveState", "active"), ("InvocationID", &before)])?;
        Unit::read(site, "tcs@hello_world.other.service")?.has(&[("ActiveState", "inactive")])?;
        site.machine.run_ok(&["systemctl", "stop", unit])?;
        Ok(())
    })
}

/// A unit that is none of the suite's business.
fn probe(site: &Site) -> Result<()> {
    site.machine
        .run_ok(&["systemd-run", "--unit", OTHER, "sleep", "600"])?;
    Unit::eventually(site, OTHER, &[("ActiveState", "active")]).map(drop)
}
