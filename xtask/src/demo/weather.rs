//! A station's file for the importer, and its records as they are in JetStream afterwards.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tcs_testkit::RawNats;

use crate::output;

/// Where config/services.yaml has the importer look.
pub(crate) const FILE: &str = "/var/lib/weather/davis.csv";

/// How many good lines the file has.
const RECORDS: i64 = 30;

const PATIENCE: Duration = Duration::from_secs(10);

/// A record a minute until now, in the form of a station console's export, with one line that is none among them.
pub(crate) fn records(now: Timestamp) -> String {
    let mut text =
        String::from("# davis console export, UTC\ntime,temp_c,hum_pct,wind_ms,wind_dir,press_hpa\n");
    for number in 0..RECORDS {
        let time = (now - SignedDuration::from_mins(RECORDS - number)).strftime("%Y-%m-%dT%H:%M:00Z");
        if number == RECORDS / 2 {
            text += &format!("{time},---,40,3.0,200,720.0\n");
        }
        text += &format!(
            "{time},{}.{},{},3.2,210,720.4\n",
            8 + number / 10,
            number % 10,
            40 + number % 10
        );
    }
    text
}

/// Makes the stream for telemetry: it is the site's own, never made by the suite (design decision 24).
pub(crate) fn make_stream(client: &mut RawNats) -> Result<()> {
    let stream = json!({
        "name": "telemetry", "subjects": ["telemetry.weather.>"], "storage": "file", "retention": "limits",
        "discard": "old", "max_age": 30_u64 * 86_400 * 1_000_000_000, "num_replicas": 1,
    });
    let answer = client.request(
        "$JS.API.STREAM.CREATE.telemetry",
        stream.to_string().as_bytes(),
        PATIENCE,
    )?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).context("JetStream's answer")?;
    if answer.get("error").is_some() {
        bail!("JetStream made no stream `telemetry`: {}", answer["error"]);
    }
    Ok(())
}

/// Reads all records with a consumer of its own and shows some.
pub(crate) fn read_back(client: &mut RawNats) -> Result<()> {
    client.subscribe("demo.weather")?;
    let consumer = json!({
        "stream_name": "telemetry",
        "config": {"deliver_subject": "demo.weather", "deliver_policy": "all", "ack_policy": "none"},
    });
    output::line("\n(outside) a bare NATS client reads the stream `telemetry` from its start");
    client.publish(
        "$JS.API.CONSUMER.CREATE.telemetry",
        Some("demo.made"),
        consumer.to_string().as_bytes(),
    )?;
    let mut count = 0;
    while count < RECORDS {
        let Some(record) = client.next(PATIENCE)? else {
            bail!("{count} weather records are in the stream, expected were {RECORDS}");
        };
        count += 1;
        if count <= 2 || count == RECORDS {
            output::line(&format!("   {count:>3}  {}  {}", record.subject, record.text()));
        }
    }
    // More than that would be duplicates, or the line that is no record.
    if let Some(more) = client.next(Duration::from_millis(200))? {
        bail!(
            "more than {RECORDS} weather records are in the stream: {}",
            more.text()
        );
    }
    output::line(&format!("   {count} records, as many as the file has good lines"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_its_records_and_one_bad_line() {
        let text = records(Timestamp::now());
        assert_eq!(text.lines().count(), 33);
        assert_eq!(text.lines().filter(|line| line.contains("---")).count(), 1);
    }
}
