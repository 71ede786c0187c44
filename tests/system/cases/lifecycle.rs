//! How services end, hang and stop, as systemd and NATS see it: exit codes and statuses never lie.

mod jobs;
mod nats_away;
mod permanent;
mod stop;
mod watchdog;

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use tcs_system_tests::{Case, Lab, Site, SiteConfig};

use crate::observe::with_journal;

const SERVICES: &str = include_str!("lifecycle/services.yaml");
const SERVICE_FOLDER: &str = "/usr/local/lib/tcs/services";

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
    lab.stage()?;
    let (binary, manifest) = misfit_job()?;
    let path = format!("{SERVICE_FOLDER}/misfit_job");
    config.machine = config
        .machine
        .with_file(&path, binary, 0o755)
        .with_file(format!("{path}.json"), manifest, 0o644);
    let site = lab.site(config)?;
    site.install()?;
    Ok(site)
}

/// Builds the job that misbehaves, which the stage does not hold: its binary and its manifest.
fn misfit_job() -> Result<(Vec<u8>, Vec<u8>)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--locked",
            "--workspace",
            "--bin",
            "misfit_job",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(tcs_testkit::workspace_root())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "misfit_job does not build");
    let binary = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "misfit_job")
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .context("cargo built no misfit_job")?;
    let manifest = Command::new(&binary).arg("describe").output()?;
    ensure!(manifest.status.success(), "misfit_job does not describe itself");
    Ok((std::fs::read(&binary)?, manifest.stdout))
}
