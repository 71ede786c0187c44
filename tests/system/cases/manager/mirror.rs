//! The mirror against `systemctl show`, whatever systemd goes through.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tcs_bus::{Bus, BusOptions};
use tcs_system_tests::{Case, Site, SiteConfig};
use tcs_testkit::{eventually_blocking, inside};
use tcs_wire::{Bucket, Snapshot, TimerSnapshot, UnitSnapshot, WireTime};

use super::tape::stored_events;
use super::{MANAGER, SOON, answers, becomes, installed, kill, main_pid, property, systemctl};

const SYSTEMD: [&str; 2] = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1"];

pub(super) const SERVICES: &str = "services:
  - {type: hello_world, interval: 1h}
  - {type: misfit, variant: idle}
  - {type: misfit, variant: busy, restart_sec: 100ms, restart_max: 0}
  - {type: misfit_job, variant: hourly, every: 1h}
  - {type: misfit_job, variant: nightly, schedule: '03:00'}
  - {type: misfit_job, variant: fails, mode: fail}
";

pub(super) fn tests() -> Vec<Case> {
    let site = || SiteConfig::with_services(SERVICES);
    vec![
        Case::own(
            "the_mirror_survives_what_systemd_goes_through",
            site,
            goes_through,
        ),
        Case::own("the_mirror_knows_what_is_in_the_files", site, files),
    ]
}

fn goes_through(site: &Site) -> Result<()> {
    installed(site)?;
    equals_systemctl(site, "after the start")?;
    let timers = ["tcs@misfit_job.hourly.timer", "tcs@misfit_job.nightly.timer"];
    systemctl(site, &[["start"].as_slice(), &timers].concat())?;
    systemctl(site, &["start", "tcs@hello_world", "tcs@misfit.busy"])?;
    ensure!(
        !site
            .machine
            .run(&["systemctl", "start", "tcs@misfit_job.fails"])?
            .status
            .success()
    );
    equals_systemctl(site, "with services, timers and a failure")?;
    kill(site, "tcs@misfit.busy")?;
    becomes(site, "tcs@misfit.busy", "NRestarts", "1")?;
    equals_systemctl(site, "after a crash")?;

    for _ in 0..5 {
        systemctl(site, &["daemon-reload"])?;
    }
    equals_systemctl(site, "after five daemon-reloads")?;
    systemctl(site, &["daemon-reexec"])?;
    equals_systemctl(site, "after a daemon-reexec")?;
    systemctl(site, &["stop", "tcs@hello_world"])?;
    equals_systemctl(site, "after a stop that followed it")?;

    let before = main_pid(site, MANAGER)?;
    systemctl(site, &["restart", "dbus.service"])?;
    // It may take more than one restart until PID 1 is on the new bus.
    eventually_blocking("another manager runs", SOON, || {
        let (state, pid) = (property(site, MANAGER, "ActiveState"), main_pid(site, MANAGER));
        match (state.as_deref(), pid) {
            (Ok("active"), Ok(pid)) if pid != before => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })?;
    let log = site
        .machine
        .run_ok(&["journalctl", "-u", MANAGER, "--output=cat"])?;
    ensure!(
        log.contains("status=69"),
        "the manager did not say that D-Bus is away:\n{log}"
    );
    answers(site)?;
    let events = stored_events(site, "manager.obs1")?;
    let crashed = events.iter().find(|(event, _)| event["event"] == "crashed");
    let crashed = &crashed
        .with_context(|| format!("its end was not told: {events:#?}"))?
        .0;
    ensure!(
        crashed["exit_code"] == 69 && crashed["will_restart"] == true,
        "{crashed}"
    );
    ensure!(
        crashed["status"] == "error" && crashed["restart_policy"] == "always",
        "{crashed}"
    );
    systemctl(site, &["start", "tcs@misfit.idle"])?;
    equals_systemctl(site, "after a restart of D-Bus")?;
    Ok(())
}

fn files(site: &Site) -> Result<()> {
    installed(site)?;
    systemctl(site, &["start", "tcs@hello_world", "tcs@misfit.busy"])?;
    equals_systemctl(site, "before")?;

    let drop_in = "/etc/systemd/system/tcs@misfit.busy.service.d/50-test.conf";
    site.machine.write_file(drop_in, "[Service]\nNice=5\n")?;
    let mirror = equals_systemctl(site, "with a drop-in that is not loaded")?;
    ensure!(mirror.of("misfit.busy")?.unit.need_daemon_reload);
    systemctl(site, &["daemon-reload"])?;
    let mirror = equals_systemctl(site, "with a drop-in that is loaded")?;
    ensure!(!mirror.of("misfit.busy")?.unit.need_daemon_reload);

    systemctl(site, &["disable", "tcs@misfit.busy", "tcs@misfit.idle"])?;
    let mirror = equals_systemctl(site, "with services disabled")?;
    ensure!(mirror.of("misfit.idle")?.unit.unit_file_state == "disabled");
    systemctl(site, &["enable", "tcs@misfit.busy", "tcs@misfit.idle"])?;
    let mirror = equals_systemctl(site, "with services enabled")?;
    ensure!(mirror.of("misfit.idle")?.unit.unit_file_state == "enabled");
    systemctl(site, &["mask", "--runtime", "tcs@misfit.busy", "tcs@misfit.idle"])?;
    let mirror = equals_systemctl(site, "with services masked")?;
    ensure!(mirror.of("misfit.idle")?.unit.load_state == "masked");
    systemctl(
        site,
        &["unmask", "--runtime", "tcs@misfit.busy", "tcs@misfit.idle"],
    )?;
    let mirror = equals_systemctl(site, "with services unmasked")?;
    ensure!(mirror.of("misfit.idle")?.unit.load_state == "loaded");
    ensure!(mirror.of("misfit.busy")?.unit.active_state == "active");

    // An instance that nobody declared shows up too.
    systemctl(site, &["start", "tcs@misfit.other"])?;
    let mirror = equals_systemctl(site, "with an undeclared one")?;
    ensure!(!mirror.of("misfit.other")?.declared);
    Ok(())
}

/// The records, at a moment when they were as they should be.
pub(super) struct Mirror {
    when: String,
    records: Vec<Snapshot>,
}

impl Mirror {
    /// The record of one service.
    pub(super) fn of(&self, id: &str) -> Result<&Snapshot> {
        let mut records = self.records.iter();
        let found = records.find(|record| record.service_id.as_str() == id);
        found.with_context(|| format!("{}, {id} is not in the mirror", self.when))
    }
}

/// Waits until the mirror says the same as `systemctl show` of every unit that is declared, loaded or in the mirror.
pub(super) fn equals_systemctl(site: &Site, when: &str) -> Result<Mirror> {
    let what = format!("{when}, the mirror equals `systemctl show`");
    let records = eventually_blocking(&what, SOON, || {
        let compared = compare(site).map_err(|error| format!("{error:#}"))?;
        match compared {
            (records, differences) if differences.is_empty() => Ok(records),
            (_, differences) => Err(differences.join("\n")),
        }
    })?;
    let when = when.to_owned();
    Ok(Mirror { when, records })
}

fn compare(site: &Site) -> Result<(Vec<Snapshot>, Vec<String>)> {
    let records = records(site)?;
    let services: BTreeMap<&str, &UnitSnapshot> = records
        .iter()
        .map(|record| (record.unit.name.as_str(), &record.unit))
        .collect();
    let timers: BTreeMap<&str, &TimerSnapshot> = records
        .iter()
        .filter_map(|record| record.timer.as_ref().map(|timer| (timer.name.as_str(), timer)))
        .collect();
    let mirrored = services
        .keys()
        .chain(timers.keys())
        .map(|name| (*name).to_owned());
    let names: BTreeSet<String> = units(site)?.into_iter().chain(mirrored).collect();

    let mut differences = Vec::new();
    let mut differ = |name: &str, field: &str, mirror: String, shown: &str| {
        if mirror != shown {
            differences.push(format!(
                "{name} {field}: the mirror has {mirror:?}, systemctl {shown:?}"
            ));
        }
    };
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    for (name, shown) in show(site, &names)? {
        let of = |field: &str| shown.get(field).map_or("", String::as_str);
        if let Some(unit) = services.get(name.as_str()) {
            let fields = [
                ("LoadState", unit.load_state.clone()),
                ("ActiveState", unit.active_state.clone()),
                ("SubState", unit.sub_state.clone()),
                ("Result", unit.result.clone()),
                ("MainPID", unit.main_pid.to_string()),
                ("ExecMainCode", unit.exec_main_code.to_string()),
                ("ExecMainStatus", unit.exec_main_status.to_string()),
                ("InvocationID", unit.invocation_id.clone()),
                ("NRestarts", unit.restarts.to_string()),
                ("UnitFileState", unit.unit_file_state.clone()),
                ("NeedDaemonReload", yes(unit.need_daemon_reload)),
                ("StatusText", unit.status_text.clone()),
            ];
            for (field, mirror) in fields {
                differ(&name, field, mirror, of(field));
            }
        } else if let Some(timer) = timers.get(name.as_str()) {
            let fields = [
                ("ActiveState", timer.active_state.clone()),
                ("SubState", timer.sub_state.clone()),
                ("UnitFileState", timer.unit_file_state.clone()),
            ];
            for (field, mirror) in fields {
                differ(&name, field, mirror, of(field));
            }
            let (next, last) = times(site, &name)?;
            differ(
                &name,
                "last",
                microseconds(timer.last).to_string(),
                &last.to_string(),
            );
            let mirror = microseconds(timer.next);
            // A time on the monotonic clock is put onto the wall clock by two readings of both.
            if mirror.abs_diff(next) > 50_000 {
                differ(&name, "next", mirror.to_string(), &next.to_string());
            }
        } else {
            differ(&name, "record", "none".to_owned(), "a unit");
        }
    }
    Ok((records, differences))
}

/// The units that are declared, by their drop-ins, or loaded.
fn units(site: &Site) -> Result<Vec<String>> {
    let script = "cd /etc/systemd/system && ls -d tcs@?*.service.d tcs@?*.timer.d | sed 's/\\.d$//'; \
                  systemctl list-units --all --plain --no-legend 'tcs@*' | cut -d' ' -f1";
    let listed = site.machine.run_ok(&["sh", "-c", script])?;
    let declared: Vec<String> = listed.lines().map(str::to_owned).collect();
    ensure!(!declared.is_empty(), "no unit is declared");
    Ok(declared)
}

fn show(site: &Site, names: &BTreeSet<String>) -> Result<Vec<(String, BTreeMap<String, String>)>> {
    let properties = "--property=Id,LoadState,ActiveState,SubState,Result,MainPID,ExecMainCode,ExecMainStatus,\
                      InvocationID,NRestarts,UnitFileState,NeedDaemonReload,StatusText";
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let shown = systemctl(site, &[["show", properties].as_slice(), &names].concat())?;
    let block = |block: &str| -> BTreeMap<String, String> {
        let pairs = block.lines().filter_map(|line| line.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let blocks: Vec<_> = shown.split("\n\n").map(block).collect();
    ensure!(blocks.len() == names.len(), "asked for {names:?}, got {shown}");
    Ok(names.iter().map(|name| (*name).to_owned()).zip(blocks).collect())
}

/// When a timer elapses next and when it did last, in microseconds since 1970; 0 for never.
fn times(site: &Site, name: &str) -> Result<(i64, i64)> {
    let call = |path: &str, words: &[&str]| -> Result<Value> {
        let all = [
            ["busctl", "--json=short", "call", SYSTEMD[0], path].as_slice(),
            words,
        ]
        .concat();
        Ok(serde_json::from_str(&site.machine.run_ok(&all)?)?)
    };
    let loaded = call(
        SYSTEMD[1],
        &["org.freedesktop.systemd1.Manager", "LoadUnit", "s", name],
    )?;
    let path = loaded["data"][0].as_str().context("LoadUnit gave no path")?;
    let interface = [
        "org.freedesktop.DBus.Properties",
        "GetAll",
        "s",
        "org.freedesktop.systemd1.Timer",
    ];
    let all = call(path, &interface)?;
    let number = |field: &str| {
        let value = all["data"][0][field]["data"].as_u64();
        value
            .filter(|value| *value != u64::MAX)
            .and_then(|value| i64::try_from(value).ok())
            .unwrap_or(0)
    };
    let monotonic = match number("NextElapseUSecMonotonic") {
        0 => None,
        elapse => Some(elapse + boot_time()),
    };
    let realtime = Some(number("NextElapseUSecRealtime")).filter(|next| *next != 0);
    let next = realtime.into_iter().chain(monotonic).min().unwrap_or(0);
    Ok((next, number("LastTriggerUSec")))
}

/// The zero of the monotonic clock on the wall clock; the machine's clocks are the host's.
fn boot_time() -> i64 {
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let since_boot = monotonic.tv_sec * 1_000_000 + monotonic.tv_nsec / 1000;
    jiff::Timestamp::now().as_microsecond() - since_boot
}

fn microseconds(time: Option<WireTime>) -> i64 {
    time.map_or(0, |time| time.timestamp().as_microsecond())
}

fn records(site: &Site) -> Result<Vec<Snapshot>> {
    let url = site.nats()?.url();
    inside(&site.machine, || async {
        let bus = Bus::connect(BusOptions::new(url.as_str(), "reader")).await?;
        ensure!(bus.wait_connected(SOON).await, "not connected");
        let entries = bus.kv_entries(Bucket::State).await?;
        bus.close(SOON).await;
        entries
            .iter()
            .map(|entry| Ok(serde_json::from_slice(&entry.value)?))
            .collect()
    })?
}
