//! Instances that nobody declared, misspelt ones, and names that no service has.

use anyhow::{Result, ensure};
use tcs_system_tests::{Case, Lab, Site};

use super::on_site;
use crate::observe::{Unit, start};

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::lab("a_misspelt_instance_names_the_known_ones", a_misspelt_instance),
        Case::lab("another_spelling_of_a_name_is_refused", another_spelling),
        Case::lab(
            "an_undeclared_instance_of_an_installed_type_runs",
            an_undeclared_instance,
        ),
    ]
}

/// A start that ends with 78, once, and these words in `systemctl status`.
fn refused(site: &Site, unit: &str, words: &[&str]) -> Result<()> {
    start(site, unit)?;
    Unit::eventually(
        site,
        unit,
        &[
            ("ActiveState", "failed"),
            ("ExecMainStatus", "78"),
            ("NRestarts", "0"),
            ("ActiveEnterTimestampMonotonic", "0"),
        ],
    )?;
    site.machine.run_ok(&["journalctl", "--sync"])?;
    let status = site.machine.run(&["systemctl", "status", unit])?.stdout;
    for word in words {
        ensure!(status.contains(word), "no `{word}` in:\n{status}");
    }
    Ok(())
}

fn a_misspelt_instance(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        ensure!(
            start(site, "tcs@typo")? != 0,
            "`systemctl start tcs@typo` says nothing"
        );
        let words = [
            "no service type `typo` is installed",
            "installed types: hello_world, misfit",
            ", weather_importer (in /usr/local/lib/tcs/services, /usr/lib/tcs/services)",
            "declared services: hello_world, hello_world.tuned, weather_importer, weather_importer.warsaw, \
             weather_importer.again",
        ];
        refused(site, "tcs@typo.service", &words)
    })
}

fn another_spelling(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        refused(site, "tcs@hello_world.main.service", &["`tcs@hello_world`"])
    })
}

fn an_undeclared_instance(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        let unit = "tcs@hello_world.spare.service";
        ensure!(start(site, unit)? == 0, "it does not start");
        let running = Unit::read(site, unit)?;
        running.has(&[("ActiveState", "active"), ("DropInPaths", "")])?;
        let pid = running.get("MainPID")?;
        let command = site.machine.run_ok(&["cat", &format!("/proc/{pid}/cmdline")])?;
        let command = command.replace('\0', " ");
        ensure!(
            command.trim() == "/usr/lib/tcs/services/hello_world --id hello_world.spare",
            "{command}"
        );
        site.machine.run_ok(&["systemctl", "stop", unit])?;
        Ok(())
    })
}
