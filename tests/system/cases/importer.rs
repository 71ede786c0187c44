//! The weather importer under its timer: every record once, what is malformed set aside, the counts in its status.

mod data;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tcs_system_tests::{Case, Site};
use tcs_testkit::{eventually_blocking, inside};
use tcs_wire::EventKind::{Crashed, Failed, Stop};
use tcs_wire::Status;

use self::data::{CONSOLE_MINUTES, Expected, REFUSED};
use crate::observe::{SOON, Told, Unit, all, on_bus, start, unit_of};

const STATE: &str = "/var/lib/tcs/weather_importer";

pub(crate) fn tests() -> Vec<Case> {
    vec![Case::own(
        "every_record_comes_once_and_what_is_malformed_is_told",
        data::site,
        every_record_comes_once,
    )]
}

fn every_record_comes_once(site: &Site) -> Result<()> {
    site.install()?;
    without_its_stream(site)?;
    let definition = definition_in_the_journal(site)?;
    // The message id must not be what keeps a second run from adding anything (design decision 39).
    make_stream(site, definition)?;

    site.machine
        .run_ok(&["systemctl", "start", "tcs@weather_importer.timer"])?;
    let first = runs(site, 1)?;
    complete(site)?;
    quarantined(site)?;
    let counts = &first.details.as_ref().context("no counts")?.metrics;
    let read = data::SURFRAD_RECORDS + 11;
    for (name, count) in [
        ("read", read),
        ("published", data::SURFRAD_RECORDS + 6),
        ("duplicates", 1),
        ("refused", 4),
        ("files_unknown", 1),
    ] {
        ensure!(counts[name] == count, "{name} is not {count}: {counts:?}");
    }

    // The runs after it are the timer's, each more than the duplicate window later.
    let third = runs(site, 3)?;
    let counts = &third.details.as_ref().context("no counts")?.metrics;
    ensure!(counts["published"] == 0, "{counts:?}");
    complete(site)?;
    quarantined(site)?;
    let timer = Unit::read(site, "tcs@weather_importer.timer")?;
    timer.has(&[("ActiveState", "active"), ("Result", "success")])?;
    site.machine
        .run_ok(&["systemctl", "stop", "tcs@weather_importer.timer"])?;

    degraded(site)
}

/// A run without the stream ends with 69.
fn without_its_stream(site: &Site) -> Result<()> {
    let id = "weather_importer.console";
    let unit = unit_of(id)?;
    ensure!(start(site, &unit)? == 1, "it takes a stream that is not there");
    Unit::read(site, &unit)?.has(&[
        ("ActiveState", "failed"),
        ("Result", "exit-code"),
        ("ExecMainStatus", "69"),
    ])?;
    let told = Told::until(site, id, |told| told.last_is(Status::Failed, "no stream takes"))?;
    told.last_is(Status::Failed, "telemetry.weather.davis")?;
    let told = Told::until(site, id, |told| told.event(Failed).map(drop))?;
    ensure!(told.event(Crashed)?.exit_code == Some(69), "{told:?}");
    Ok(())
}

/// The definition as an operator reads it.
fn definition_in_the_journal(site: &Site) -> Result<Value> {
    site.machine.run_ok(&["journalctl", "--sync"])?;
    let lines = site.machine.run_ok(&[
        "journalctl",
        "--output=cat",
        "--unit=tcs@weather_importer.console.service",
    ])?;
    let from = lines
        .find(r#"{"name":"telemetry""#)
        .with_context(|| format!("no definition in: {lines}"))?;
    let mut values = serde_json::Deserializer::from_str(&lines[from..]).into_iter();
    Ok(values.next().context("no definition")??)
}

fn make_stream(site: &Site, mut definition: Value) -> Result<()> {
    definition["duplicate_window"] = 1_000_000_000.into();
    let config: async_nats::jetstream::stream::Config = serde_json::from_value(definition)?;
    let url = site.nats()?.url();
    inside(&site.machine, || async move {
        let jetstream = async_nats::jetstream::new(async_nats::connect(&url).await?);
        let stream = jetstream.create_stream(config).await?;
        let config = &stream.cached_info().config;
        ensure!(
            config.name == "telemetry" && config.duplicate_window.as_secs() == 1,
            "{config:?}"
        );
        Ok(())
    })?
}

/// Waits for so many runs of the timer and gives the last status of the latest.
fn runs(site: &Site, count: usize) -> Result<tcs_wire::StatusReport> {
    let told = Told::until(site, "weather_importer.main", |told| {
        let stops: Vec<_> = told
            .events
            .iter()
            .filter(|event| event.kind() == Some(Stop))
            .collect();
        ensure!(stops.len() >= count, "{} runs", stops.len());
        let orderly = |event: &&tcs_wire::RegistryEvent| {
            event.exit_code == Some(0)
                && event.reason.as_deref() == Some("completed")
                && event.trigger.as_deref() == Some("timer")
        };
        ensure!(stops.iter().all(orderly), "{stops:?}");
        let ends = told
            .statuses
            .iter()
            .filter(|report| report.status == Status::Shutdown);
        ensure!(ends.count() >= count, "not every run has its last status");
        Ok(())
    })?;
    let mut ends = told
        .statuses
        .into_iter()
        .filter(|report| report.status == Status::Shutdown);
    ends.nth(count - 1).context("no last status")
}

/// Checks that the stream holds what the files hold, each record once.
fn complete(site: &Site) -> Result<()> {
    let expected = Expected::read()?;
    let records = on_bus(site, async |bus| {
        let mut records: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for station in [data::SURFRAD_STATION, "station"] {
            records.insert(station, all(&bus, &format!("telemetry.weather.{station}")).await?);
        }
        let total = bus.all("telemetry.weather.>").await?.len();
        ensure!(
            total == records.values().map(Vec::len).sum::<usize>(),
            "{total} records, some of other stations"
        );
        Ok(records)
    })?;
    expected.check_surfrad(&records[data::SURFRAD_STATION])?;
    let minutes: Vec<String> = records["station"]
        .iter()
        .map(|record| {
            format!(
                "{:02}:{:02}",
                record["ts"][3].as_u64().unwrap_or(99),
                record["ts"][4].as_u64().unwrap_or(99)
            )
        })
        .collect();
    ensure!(minutes == CONSOLE_MINUTES, "{minutes:?}");
    Ok(())
}

/// Checks that each malformed line is named by file, line and reason, once.
fn quarantined(site: &Site) -> Result<()> {
    let text = site.machine.read_file(&format!("{STATE}/quarantine.jsonl"))?;
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(lines.len() == REFUSED.len(), "{text}");
    let expected = Expected::read()?;
    for (line, (number, name)) in lines.iter().zip(REFUSED) {
        ensure!(
            line["file"] == format!("{}/station.csv", data::ALL) && line["line"] == number,
            "{line}"
        );
        expected.check_refused(name, line["reason"].as_str().unwrap_or_default())?;
    }
    // The cursor is beside it, written whole and readable by nobody else.
    let cursor: Value = serde_json::from_str(&site.machine.read_file(&format!("{STATE}/cursor.json"))?)?;
    ensure!(
        cursor["files"].as_array().is_some_and(|files| files.len() == 2),
        "{cursor}"
    );
    let listing = site.machine.run_ok(&["stat", "--format=%U %a", STATE])?;
    ensure!(listing.trim() == "tcs 750", "{listing}");
    Ok(())
}

/// A third of the lines refused is too much: done with losses, which systemd counts as a success.
fn degraded(site: &Site) -> Result<()> {
    let id = "weather_importer.console";
    let unit = unit_of(id)?;
    ensure!(start(site, &unit)? == 0, "systemctl takes it for a failure");
    Unit::read(site, &unit)?.has(&[("ActiveState", "inactive"), ("Result", "success")])?;
    let told = Told::until(site, id, |told| {
        ensure!(told.last()?.status == Status::Shutdown, "{:?}", told.last()?);
        ensure!(told.event(Stop)?.exit_code == Some(10), "{:?}", told.event(Stop)?);
        Ok(())
    })?;
    let details = told.last()?.details.as_ref().context("no details")?;
    ensure!(
        details.extra["result"] == "degraded" && details.metrics["published"] == 6,
        "{details:?}"
    );
    let probe = || {
        let count = on_bus(site, async |bus| {
            Ok(bus.all("telemetry.weather.davis").await?.len())
        })?;
        ensure!(count == 6, "{count} records");
        Ok(())
    };
    Ok(eventually_blocking("the console's records", SOON, probe)?)
}
