//! The library of the Python services reads us and asks us, as it comes from PyPI.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use tcs_system_tests::{Case, Lab, Site, SiteConfig};
use tcs_testkit::{eventually_blocking, workspace_root};

const SERVICES: &str = "services:\n  - type: hello_world\n    interval: 1s\n";
const SOON: Duration = Duration::from_secs(20);

pub(crate) fn tests() -> Vec<Case> {
    vec![Case::lab("serverish_reads_and_asks_us", reads_and_asks)]
}

/// What `tests/compat/read_bus.py` found.
#[derive(Debug, Deserialize)]
struct Found {
    registry: Vec<Value>,
    status: Vec<Value>,
    heartbeat: Vec<Value>,
    health: Value,
    manager_health: Value,
    refused: Value,
    nobody: Value,
}

fn reads_and_asks(lab: &Lab) -> Result<()> {
    let site = lab.site(SiteConfig::with_services(SERVICES))?;
    site.install()?;
    // The manager is there first: what happened before it came is another test's subject.
    site.machine
        .run_ok(&["systemctl", "start", "tcs-manager.service"])?;
    site.machine.run_ok(&["systemctl", "start", "tcs@hello_world"])?;
    eventually_blocking("the service is on the bus", SOON, || {
        let found = read(lab, &site).map_err(|error| format!("{error:#}"))?;
        if found.event("ready").is_some() {
            Ok(())
        } else {
            Err(format!("{:#?}", found.registry))
        }
    })?;
    site.machine
        .run_ok(&["systemctl", "kill", "--signal=KILL", "tcs@hello_world"])?;
    let found = eventually_blocking("the crash and the second start are on the bus", SOON, || {
        let found = read(lab, &site).map_err(|error| format!("{error:#}"))?;
        let restarted = found.event("restarting").is_some() && found.status_of("hello_world.main") == "ok";
        if restarted && found.event("crashed").is_some() {
            Ok(found)
        } else {
            Err(format!("{found:#?}"))
        }
    })?;

    let crashed = found.event("crashed").context("no crash")?;
    ensure!(
        crashed["exit_code"] == -9 && crashed["will_restart"] == true,
        "{crashed}"
    );
    ensure!(
        crashed["status"] == "error" && crashed["restart_policy"] == "on-failure",
        "{crashed}"
    );
    ensure!(crashed["parent"] == "manager.obs1" && crashed["runner_id"] == "manager.obs1.hello_world.main");
    let start = found.event("start").context("no start")?;
    ensure!(start["hostname"] == "obs1" && start["pid"].is_u64(), "{start}");
    ensure!(
        found
            .event("declared")
            .is_some_and(|event| event.get("status").is_none())
    );

    for id in ["hello_world.main", "manager.obs1"] {
        let report = found
            .report(id)
            .with_context(|| format!("no status of {id}: {:?}", found.status))?;
        ensure!(report["healthy"] == true, "{report}");
        let beat = found.heartbeat.iter().find(|beat| beat["service_id"] == id);
        ensure!(beat.is_some(), "no heartbeat of {id}: {:?}", found.heartbeat);
    }
    let report = found.report("hello_world.main").context("no status")?;
    ensure!(
        report["parent"] == "manager.obs1" && report["again"]["status"] == "ok",
        "{report}"
    );

    for (reply, id) in [
        (&found.health, "hello_world.main"),
        (&found.manager_health, "manager.obs1"),
    ] {
        let result = &reply["data"]["result"];
        ensure!(
            reply["data"]["status"] == "ok" && reply["meta"].get("status").is_none(),
            "{reply}"
        );
        ensure!(result["service_id"] == id && result["healthy"] == true, "{reply}");
        ensure!(
            reply["meta"]["sender"] == id && reply["meta"]["message_type"] == "rpc",
            "{reply}"
        );
    }
    let refused = &found.refused;
    ensure!(
        refused["meta"]["status"] == "error" && refused["data"]["error"] == "unknown_service",
        "{refused}"
    );
    ensure!(
        found.nobody["exception"] == "MessengerRequestNoResponders",
        "{}",
        found.nobody
    );
    Ok(())
}

fn read(lab: &Lab, site: &Site) -> Result<Found> {
    let mut command = lab.python()?.command(&site.machine);
    command.arg(workspace_root().join("tests/compat/read_bus.py"));
    command.args([
        "127.0.0.1",
        &site.nats()?.port().to_string(),
        "hello_world.main",
        "manager.obs1",
    ]);
    let output = command.output()?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "read_bus.py ended with {}:\n{complaints}",
        output.status
    );
    serde_json::from_slice(&output.stdout).with_context(|| format!("what read_bus.py wrote:\n{complaints}"))
}

impl Found {
    /// The last event of a kind of the one service.
    fn event(&self, event: &str) -> Option<&Value> {
        self.registry
            .iter()
            .find(|found| found["event"] == event && found["service_id"] == "hello_world.main")
    }

    fn report(&self, name: &str) -> Option<&Value> {
        self.status.iter().find(|report| report["name"] == name)
    }

    fn status_of(&self, name: &str) -> &str {
        self.report(name)
            .and_then(|report| report["status"].as_str())
            .unwrap_or("none")
    }
}
