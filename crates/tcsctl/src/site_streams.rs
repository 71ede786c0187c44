//! The streams that belong to the site: services publish to them and never make them (design decision 24).

use clap::builder::PossibleValuesParser;
use tcs_wire::StreamDefinition;

const MB: i64 = 1_000_000;
const DAY_S: u64 = 86_400;

/// Name, subjects, messages kept per subject (-1: any number), bytes (-1: any number), seconds kept (0: for ever).
type Row = (&'static str, &'static [&'static str], i64, i64, u64);

/// The observatory's streams, as its own list of them has them.
const STREAMS: [Row; 7] = [
    (
        "telemetry",
        &[
            "telemetry.weather.>",
            "telemetry.conditions.>",
            "telemetry.power.>",
            "telemetry.water.level",
            "telemetry.water2.level",
            "telemetry.diesel.level",
            "telemetry.lights.>",
            "telemetry.blinds.>",
            "telemetry.switch.>",
            "telemetry.sensor.>",
        ],
        -1,
        500 * MB,
        30 * DAY_S,
    ),
    ("tic_telemetry", &["tic.telemetry.>"], -1, 500 * MB, 30 * DAY_S),
    ("tic_config", &["tic.config.>"], 10, -1, 0),
    ("tic_status", &["tic.status.>"], -1, 500 * MB, 30 * DAY_S),
    ("tic_planner", &["tic.planner.>"], -1, 500 * MB, 30 * DAY_S),
    ("tic_journal", &["tic.journal.>"], -1, 500 * MB, 30 * DAY_S),
    ("tic_progress", &["tic.progress.>"], 10, -1, DAY_S),
];

/// Returns the names that can be created.
pub(crate) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(STREAMS.map(|(name, ..)| name))
}

/// Returns a stream's definition and its subjects.
pub(crate) fn find(name: &str) -> Option<(StreamDefinition, Vec<String>)> {
    let (name, subjects, per_subject, max_bytes, max_age_s) =
        STREAMS.into_iter().find(|(known, ..)| *known == name)?;
    let definition = StreamDefinition {
        name: name.to_owned(),
        subjects: subjects.first().copied().unwrap_or_default().to_owned(),
        max_messages_per_subject: per_subject,
        max_bytes,
        max_age_s,
    };
    Some((
        definition,
        subjects.iter().map(|subject| (*subject).to_owned()).collect(),
    ))
}
