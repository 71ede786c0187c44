//! The manager as a unit of systemd, and as a service on the bus.

use anyhow::{Result, ensure};
use serde_json::Value;
use tcs_system_tests::{Case, Site, SiteConfig};
use tcs_testkit::eventually_blocking;

use super::mirror::equals_systemctl;
use super::tape::{Tape, stored_events, words_once};
use super::{MANAGER, SOON, answers, ask, becomes, installed, logs, main_pid, property, systemctl};

const SERVICES: &str = "services:\n  - {type: hello_world, interval: 1h}\n";
const HELLO_UNIT: &str = "tcs@hello_world.service";

pub(super) fn tests() -> Vec<Case> {
    let site = || SiteConfig::with_services(SERVICES);
    vec![
        Case::own("ready_comes_after_the_first_listing", site, ready),
        Case::own("a_hang_ends_it_and_no_service", site, watchdog),
        Case::own("it_is_a_service_itself", site, itself),
        Case::own("a_new_configuration_is_taken_over", site, new_configuration),
    ]
}

fn ready(site: &Site) -> Result<()> {
    site.install()?;
    let bus = main_pid(site, "dbus.service")?.to_string();
    site.machine.run_ok(&["kill", "-STOP", &bus])?;
    // What asks systemd from here goes past D-Bus, since root does.
    systemctl(site, &["start", "--no-block", MANAGER])?;
    becomes(site, MANAGER, "StatusText", "connecting to systemd over D-Bus")?;
    ensure!(property(site, MANAGER, "ActiveState")? == "activating");
    site.machine.run_ok(&["kill", "-CONT", &bus])?;
    becomes(site, MANAGER, "ActiveState", "active")?;
    logs(site, MANAGER, "Started tcs-manager.service")?;
    let log = site
        .machine
        .run_ok(&["journalctl", "--quiet", "--output=cat", "--unit", MANAGER])?;
    let (listed, started) = (
        log.find("mirror is complete"),
        log.find("Started tcs-manager.service"),
    );
    ensure!(listed.is_some() && listed < started, "{log}");
    becomes(
        site,
        MANAGER,
        "StatusText",
        "1 units, 0 running, 0 failed; NATS connected",
    )?;
    systemctl(site, &["start", HELLO_UNIT])?;
    becomes(
        site,
        MANAGER,
        "StatusText",
        "1 units, 1 running, 0 failed; NATS connected",
    )?;
    ensure!(property(site, MANAGER, "User")? == "tcs-manager");
    let status = site
        .machine
        .read_file(&format!("/proc/{}/status", main_pid(site, MANAGER)?))?;
    ensure!(
        status
            .lines()
            .any(|line| line.starts_with("CapEff:") && line.ends_with("0000000000000000"))
    );
    Ok(())
}

fn new_configuration(site: &Site) -> Result<()> {
    const CONFIG: &str = "/etc/tcs/services.yaml";
    const NEW: &str = "svc.rpc.hello_world.second.v1.status";
    installed(site)?;
    let manager = main_pid(site, MANAGER)?;
    let two = format!("{SERVICES}  - {{type: hello_world, variant: second}}\n");
    site.machine.write_file(CONFIG, &two)?;
    site.install()?;
    eventually_blocking("the new service is known", SOON, || {
        let reply = ask(site, NEW, "").map_err(|error| format!("{error:#}"))?;
        let declared = reply["result"]["declared"] == Value::Bool(true);
        if declared { Ok(()) } else { Err(reply.to_string()) }
    })?;
    let started = ask(site, "svc.rpc.hello_world.second.v1.start", "")?;
    ensure!(started["status"] == "ok", "{started}");
    becomes(site, "tcs@hello_world.second.service", "ActiveState", "active")?;

    // What cannot be read changes nothing, and is told.
    site.machine.write_file(CONFIG, "services: [")?;
    systemctl(site, &["reload", MANAGER])?;
    logs(site, MANAGER, "the configuration stays as it was")?;
    ensure!(ask(site, NEW, "")?["result"]["declared"] == Value::Bool(true));

    // A service that is named no more and still runs is shown as what it is.
    site.machine.write_file(CONFIG, SERVICES)?;
    systemctl(site, &["reload", MANAGER])?;
    eventually_blocking("the service is undeclared", SOON, || {
        let reply = ask(site, NEW, "").map_err(|error| format!("{error:#}"))?;
        let declared = reply["result"]["declared"] == Value::Bool(false);
        if declared { Ok(()) } else { Err(reply.to_string()) }
    })?;
    ensure!(property(site, "tcs@hello_world.second.service", "ActiveState")? == "active");
    ensure!(main_pid(site, MANAGER)? == manager, "the manager was restarted");
    Ok(())
}

fn watchdog(site: &Site) -> Result<()> {
    site.install()?;
    let drop_in = "/run/systemd/system/tcs-manager.service.d/50-test.conf";
    site.machine
        .write_file(drop_in, "[Service]\nWatchdogSec=2\nRestartSec=100ms\n")?;
    systemctl(site, &["daemon-reload"])?;
    systemctl(site, &["start", MANAGER, HELLO_UNIT])?;
    answers(site)?;
    let (manager, service) = (main_pid(site, MANAGER)?, main_pid(site, HELLO_UNIT)?);
    site.machine.run_ok(&["kill", "-STOP", &manager.to_string()])?;
    logs(site, MANAGER, "Watchdog timeout")?;
    becomes(site, MANAGER, "NRestarts", "1")?;
    becomes(site, MANAGER, "ActiveState", "active")?;
    answers(site)?;
    ensure!(main_pid(site, MANAGER)? != manager);
    ensure!(
        main_pid(site, HELLO_UNIT)? == service,
        "the service did not outlive the manager"
    );
    equals_systemctl(site, "after the hang")?;
    // It stays: its own loop feeds the watchdog, which was to bite 2 s after the start.
    let moment = |name: &str| -> Result<u64> { Ok(property(site, MANAGER, name)?.parse()?) };
    let started = moment("ExecMainStartTimestampMonotonic")?;
    eventually_blocking("the watchdog is fed", SOON, || {
        let fed = moment("WatchdogTimestampMonotonic").map_err(|error| format!("{error:#}"))?;
        let after = fed.saturating_sub(started);
        if after > 2_500_000 {
            Ok(())
        } else {
            Err(format!("last after {after} us"))
        }
    })?;
    ensure!(
        moment("ExecMainStartTimestampMonotonic")? == started,
        "it was started again"
    );
    ensure!(property(site, MANAGER, "NRestarts")? == "1");
    let events = stored_events(site, "hello_world.main")?;
    ensure!(
        words_once(&events)? == ["declared", "start", "ready", "declared"],
        "{events:#?}"
    );
    Ok(())
}

fn itself(site: &Site) -> Result<()> {
    let mut tape = Tape::start(site)?;
    installed(site)?;
    let id = "manager.obs1";
    tape.until_event(id, "ready", 1)?;
    ensure!(
        tape.event_words(id) == ["declared", "start", "ready"],
        "{:?}",
        tape.event_words(id)
    );
    let pid = main_pid(site, MANAGER)?;
    let start = tape.event(id, "start")?;
    ensure!(
        start["pid"] == pid && start["hostname"] == "obs1" && start.get("parent").is_none(),
        "{start}"
    );
    let well = |tape: &Tape| {
        tape.statuses(id, id)
            .into_iter()
            .find(|(status, _)| status == "ok")
    };
    tape.until("its own status", well)?;
    let health = ask(site, "svc.rpc.manager.obs1.v1.health", "")?;
    let result = &health["result"];
    ensure!(
        result["healthy"] == true && result["service_status"] == "ok" && result["pid"] == pid,
        "{health}"
    );
    let beat = eventually_blocking("its heartbeat", SOON, || {
        let found = stored(site, "svc.heartbeat.manager.obs1").map_err(|error| format!("{error:#}"))?;
        found.into_iter().next().ok_or_else(|| "none".to_owned())
    })?;
    ensure!(
        beat["service_id"] == id && (beat["status"] == "ok" || beat["status"] == "startup"),
        "{beat}"
    );

    // With NATS away it takes its time to end, and systemd knows that it is about to.
    tape.rewind();
    site.nats()?.freeze();
    site.machine.run_ok(&["kill", "-TERM", &pid.to_string()])?;
    becomes(site, MANAGER, "ActiveState", "deactivating")?;
    site.nats()?.thaw();
    becomes(site, MANAGER, "NRestarts", "1")?;
    tape.until_event(id, "ready", 1)?;
    let words = tape.event_words(id);
    ensure!(words == ["stop", "declared", "start", "ready"], "{words:?}");
    ensure!(tape.event(id, "stop")?["reason"] == "terminated");
    let statuses: Vec<String> = tape
        .statuses(id, id)
        .into_iter()
        .map(|(status, _)| status)
        .collect();
    ensure!(
        statuses.first().is_some_and(|status| status == "shutdown"),
        "{statuses:?}"
    );

    // What it cannot live with: the code, and that nobody starts it again.
    answers(site)?;
    tape.rewind();
    site.machine
        .write_file("/etc/tcs/services.yaml", "nats: {url: 7}\n")?;
    systemctl(site, &["restart", "--no-block", MANAGER])?;
    becomes(site, MANAGER, "ExecMainStatus", "78")?;
    becomes(site, MANAGER, "ActiveState", "failed")?;
    Ok(())
}

/// The data of what a stream holds on a subject.
fn stored(site: &Site, subject: &str) -> Result<Vec<Value>> {
    let url = site.nats()?.url();
    tcs_testkit::inside(&site.machine, || async {
        let bus = tcs_bus::Bus::connect(tcs_bus::BusOptions::new(url, "reader")).await?;
        ensure!(bus.wait_connected(SOON).await, "not connected");
        let all = bus.all(subject).await?;
        bus.close(SOON).await;
        let data = |body: &[u8]| anyhow::Ok(serde_json::from_slice::<Value>(body)?["data"].take());
        all.iter().map(|received| data(&received.body)).collect()
    })?
}
