//! How services end, hang and stop, as systemd and NATS see it: exit codes and statuses never lie.

mod jobs;
mod nats_away;
mod permanent;
mod stop;
mod watchdog;

use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use tcs_system_tests::{Case, Lab, Site, SiteConfig};

use crate::observe::with_journal;

const SERVICES: &str = include_str!("lifecycle/services.yaml");
const KEEPER: &str = "/etc/systemd/system/keeper.target";

pub(crate) fn tests() -> Vec<Case> {
    [
        permanent::tests(),
        watchdog::tests(),
        stop::tests(),
        jobs::tests(),
        nats_away::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The machine of this module, booted once: each case has a service of its own on it. It ends with the process.
fn on_site(lab: &Lab, test: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    static SITE: OnceLock<Result<Site, String>> = OnceLock::new();
    let site = SITE.get_or_init(|| boot(lab).map_err(|error| format!("{error:#}")));
    let site = site
        .as_ref()
        .map_err(|error| anyhow!("the machine of the misfits: {error}"))?;
    with_journal(site, test(site))
}

fn boot(lab: &Lab) -> Result<Site> {
    let mut config = SiteConfig::with_services(SERVICES);
    config.machine = config.machine.with_file(KEEPER, keeper(), 0o644);
    let site = lab.site(config)?;
    site.install()?;
    site.machine
        .run_ok(&["systemctl", "start", "tcs-manager.service", "keeper.target"])?;
    Ok(site)
}

/// A unit that refers to all of the services: systemd forgets a stopped one that nothing refers to, and how it ended.
fn keeper() -> String {
    let entries = SERVICES
        .lines()
        .filter_map(|line| line.split_once("{type: ")?.1.split_once(", variant: "));
    let units = entries.map(|(service_type, rest)| {
        let variant = rest.split([',', '}']).next().unwrap_or_default();
        format!("tcs@{service_type}.{variant}.service")
    });
    format!("[Unit]\nAfter={}\n", units.collect::<Vec<_>>().join(" "))
}
