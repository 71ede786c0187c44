//! The stations' files of the importer's own tests, and what an independent program says that is in them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use jiff::{ToSpan, Zoned, tz::TimeZone};
use serde_json::Value;
use tcs_system_tests::SiteConfig;
use tcs_testkit::workspace_root;

/// All files.
pub(super) const ALL: &str = "/var/lib/weather/all";
/// The station in the header of the SURFRAD file.
pub(super) const SURFRAD_STATION: &str = "alamosa";
/// Its records: one a minute.
pub(super) const SURFRAD_RECORDS: usize = 1440;
/// What is refused in the console's file: line, and the name under which the reason is expected.
pub(super) const REFUSED: [(u64, &str); 4] = [
    (8, "22:04"),
    (9, "22:05"),
    (10, "22:06"),
    (12, "2027-11-22T22:08"),
];
/// The console's records in the order of their publication: a late one is published all the same.
pub(super) const CONSOLE_MINUTES: [&str; 6] = ["22:00", "22:01", "22:03", "22:02", "22:07", "22:09"];

const SERVICES: &str = "host: obs1
nats: {url: nats://127.0.0.1:4222}
services:
  - {type: weather_importer, directory: /var/lib/weather/all, every: 2s, max_age: 36500d}
  - {type: weather_importer, variant: console, directory: /var/lib/weather/console, station: davis}
";

fn file(name: &str) -> Result<Vec<u8>> {
    let path: PathBuf = workspace_root()
        .join("services/weather_importer/tests/data")
        .join(name);
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The console's file as of yesterday: what is in the past or the future there must be so on the day of the test too.
fn console() -> Result<String> {
    let today = Zoned::now().with_time_zone(TimeZone::UTC).date();
    let text = String::from_utf8(file("station.csv")?)?;
    let yesterday = today.checked_sub(1.day())?.to_string();
    let next_year = today.checked_add(1.year())?.to_string();
    let text = text
        .replace("2026-11-22", &yesterday)
        .replace("2027-11-22", &next_year);
    ensure!(
        text.matches(&yesterday).count() == 11 && text.matches(&next_year).count() == 1,
        "{text}"
    );
    Ok(text)
}

/// A machine with these files and two importers.
pub(super) fn site() -> SiteConfig {
    let mut config = SiteConfig::with_services(SERVICES);
    let console = console().map(String::into_bytes);
    let files = [
        (
            format!("{ALL}/surfrad-slv16001.dat"),
            file("surfrad-slv16001.dat"),
        ),
        (
            format!("{ALL}/crn_with_problems.txt"),
            file("crn_with_problems.txt"),
        ),
        (format!("{ALL}/station.csv"), console),
    ];
    for (path, content) in files {
        let content = content.unwrap_or_else(|error| panic!("no test data: {error:#}"));
        if path.ends_with("station.csv") {
            let path = "/var/lib/weather/console/station.csv";
            config.machine = config.machine.with_file(path, content.clone(), 0o644);
        }
        config.machine = config.machine.with_file(path, content, 0o644);
    }
    config
}

/// What the independent program says.
pub(super) struct Expected(Value);

impl Expected {
    pub(super) fn read() -> Result<Self> {
        Ok(Self(serde_json::from_slice(&file("expected.json")?)?))
    }

    /// Checks the records of the SURFRAD file: their number, and three of them value by value.
    pub(super) fn check_surfrad(&self, records: &[Value]) -> Result<()> {
        let expected = &self.0["surfrad-slv16001.dat"];
        ensure!(
            expected["messages"] == records.len() && records.len() == SURFRAD_RECORDS,
            "{} records",
            records.len()
        );
        for (name, record) in [
            ("first", &records[0]),
            ("second", &records[1]),
            ("last", &records[SURFRAD_RECORDS - 1]),
        ] {
            ensure!(record["ts"] == expected[name]["ts"], "{name}: {record}");
            let values = expected[name]["measurements"]
                .as_object()
                .context("no measurements")?;
            for (quantity, value) in values {
                let (seen, value) = (record["measurements"][quantity].as_f64(), value.as_f64());
                let near = seen
                    .zip(value)
                    .is_some_and(|(seen, value)| (seen - value).abs() < 0.01);
                ensure!(near, "{name}: {quantity} is {seen:?}, not {value:?}");
            }
        }
        Ok(())
    }

    /// Checks the reason for a refused line of the console's file.
    pub(super) fn check_refused(&self, name: &str, said: &str) -> Result<()> {
        let expected = self.0["station.csv"]["malformed"][name].as_str();
        let expected = expected.with_context(|| format!("nothing is expected of {name}"))?;
        ensure!(said.contains(expected), "{name}: `{said}`, not `{expected}`");
        Ok(())
    }
}
