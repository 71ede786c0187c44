//! From services.yaml to units that systemd understands as they were meant, and back to nothing.

mod administrator;
mod life;
mod names;
mod refused;
mod rights;
mod understood;

use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use tcs_system_tests::{Case, Lab, Site, SiteConfig};

use crate::observe::with_journal;

const SERVICES: &str = include_str!("install/services.yaml");
const UNITS: &str = "/etc/systemd/system";
const DROP_IN: &str = "/etc/systemd/system/tcs@hello_world.service.d/10-tcs.conf";

pub(crate) fn tests() -> Vec<Case> {
    [
        life::tests(),
        understood::tests(),
        names::tests(),
        refused::tests(),
        administrator::tests(),
        rights::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A machine with `install/services.yaml`.
fn fresh() -> SiteConfig {
    let mut config = SiteConfig::with_services(SERVICES);
    let readme = "/var/lib/weather/README";
    config.machine = config.machine.with_file(readme, "No station yet.\n", 0o644);
    config
}

/// The machine that the cases share which change nothing that is installed. Its clock shows another zone than UTC.
fn on_site(lab: &Lab, test: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    static SITE: OnceLock<Result<Site, String>> = OnceLock::new();
    let boot = || {
        let site = lab.site(fresh())?;
        let zone = "/usr/share/zoneinfo/Asia/Tokyo";
        site.machine
            .run_ok(&["ln", "--symbolic", "--force", zone, "/etc/localtime"])?;
        site.install()?;
        Ok(site)
    };
    let site = SITE.get_or_init(|| boot().map_err(|error: anyhow::Error| format!("{error:#}")));
    let site = site
        .as_ref()
        .map_err(|error| anyhow!("the installed machine: {error}"))?;
    with_journal(site, test(site))
}

/// Every file below some folders: kind, mode, owner, size, time of change, content, target.
fn listing(site: &Site, folders: &str) -> Result<Vec<String>> {
    let script = format!(
        "find {folders} -printf '%p %y %m %u:%g %T@ %l\\n' 2>/dev/null; \
         find {folders} -type f -exec sha256sum {{}} + 2>/dev/null"
    );
    let text = site.machine.run(&["sh", "-c", &script])?.stdout;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

/// What is in one listing and not in the other.
fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let lost = before
        .iter()
        .filter(|line| !after.contains(line))
        .map(|line| format!("- {line}"));
    let come = after
        .iter()
        .filter(|line| !before.contains(line))
        .map(|line| format!("+ {line}"));
    lost.chain(come).collect()
}
