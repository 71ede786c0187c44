//! `cargo xtask test`: every test, part by part, with what each took.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde::Deserialize;

use crate::output;
use crate::parts::{Part, Workshop};

/// All tests together may take so long; building is not counted.
const TEST_TIME: Duration = Duration::from_secs(8 * 60);

/// Runs all parts, whatever fails, and ends with a table. The host is left as it was: what is missing comes into
/// `target/`, except for systemd-container, which is asked for first on a host that runs systemd itself.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Install what is missing on this host without asking
    #[arg(long)]
    yes: bool,
    /// Run only this part; may be given more than once
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
}

struct Row {
    part: Part,
    result: Result<()>,
    took: Duration,
}

/// What the binary of the system tests tells.
#[derive(Default, Deserialize)]
struct Machines {
    machines: u32,
    booting_s: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let scratch = tempfile::tempdir()?;
    let report = scratch.path().join("machines.json");
    let workshop = Workshop::new(arguments.yes, report.clone());
    let mut rows = Vec::new();
    for part in Part::ALL {
        if !arguments.only.is_empty() && !arguments.only.contains(&part) {
            continue;
        }
        output::heading(part.title());
        let begun = Instant::now();
        let result = workshop.run(part);
        let took = begun.elapsed();
        if let Err(error) = &result {
            output::error(&format!("{error:#}"));
        }
        output::note(&format!("{}: {:.1} s", part.title(), took.as_secs_f64()));
        rows.push(Row { part, result, took });
    }
    Ok(summary(&rows, report))
}

fn summary(rows: &[Row], report: PathBuf) -> ExitCode {
    let total = |builds: bool| -> Duration {
        rows.iter()
            .filter(|row| row.part.is_build() == builds)
            .map(|row| row.took)
            .sum()
    };
    let (building, testing) = (total(true), total(false));
    output::heading("Summary");
    for row in rows {
        let result = if row.result.is_ok() { "ok" } else { "FAILED" };
        output::line(&format!(
            "{:<40} {result:<7} {:>7.1} s",
            row.part.title(),
            row.took.as_secs_f64()
        ));
    }
    let machines: Option<Machines> = std::fs::read_to_string(report)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok());
    if let Some(machines) = machines {
        output::line(&format!(
            "machines booted: {} ({:.1} s of booting)",
            machines.machines, machines.booting_s
        ));
    }
    let (building, tests) = (building.as_secs_f64(), testing.as_secs_f64());
    output::line(&format!("building: {building:.1} s, testing: {tests:.1} s"));
    let late = testing > TEST_TIME;
    if late {
        output::error(&format!(
            "the tests took {tests:.0} s; {} s are allowed",
            TEST_TIME.as_secs()
        ));
    }
    if late || rows.iter().any(|row| row.result.is_err()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
