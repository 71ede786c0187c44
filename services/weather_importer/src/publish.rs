//! Records on their way to the stream.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tcs_service::bus::{Bus, PublishError, StreamsError};
use tcs_service::wire::{Message, MessageId, WireTime};
use tcs_service::{Error, Result};

use crate::sample::{Measurements, Sample, Station};

/// How long the server may be away before the run is given up; the next one goes on.
const PATIENCE: Duration = Duration::from_secs(30);
const ACKNOWLEDGEMENT: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 3;

/// The stream as the observatory has it; it is never made or changed here (design decision 24).
const DEFINITION: &str = concat!(
    r#"{"name":"telemetry","subjects":["telemetry.weather.>","telemetry.conditions.>","telemetry.power.>","#,
    r#""telemetry.water.level","telemetry.water2.level","telemetry.diesel.level","telemetry.lights.>","#,
    r#""telemetry.blinds.>","telemetry.switch.>","telemetry.sensor.>"],"retention":"limits","storage":"file","#,
    r#""discard":"old","max_age":2592000000000000,"max_bytes":500000000,"max_msgs":-1,"max_msg_size":-1,"#,
    r#""max_consumers":-1,"num_replicas":1}"#
);

/// What stands in a message.
#[derive(Debug, Serialize)]
struct Telemetry<'a> {
    ts: WireTime,
    measurements: &'a Measurements,
}

/// Publishes records one after the other.
#[derive(Debug)]
pub(crate) struct Publisher<'a> {
    bus: &'a Bus,
}

impl<'a> Publisher<'a> {
    /// Waits for the server.
    pub(crate) async fn new(bus: &'a Bus) -> Result<Self> {
        if bus.wait_connected(PATIENCE).await {
            Ok(Self { bus })
        } else {
            Err(away())
        }
    }

    /// Returns the time of the station's last record in the stream.
    pub(crate) async fn last(&self, station: &Station) -> Result<Option<Timestamp>> {
        let subject = station.subject();
        let found = self
            .bus
            .last_per_subject(&subject)
            .await
            .map_err(|error| match error {
                StreamsError::NoStream(_) => missing(&subject),
                StreamsError::NotConnected => away(),
                other => Error::unavailable(other),
            })?;
        Ok(found
            .first()
            .and_then(|received| time_of(&received.decode().ok()?)))
    }

    /// Publishes a record; when this returns, the stream has it.
    pub(crate) async fn publish(&self, sample: &Sample) -> Result<()> {
        let subject = sample.station.subject();
        let message = message(self.bus, sample);
        let id = MessageId::of_fact(sample.message_id());
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self
                .bus
                .publish_acked(&subject, &message, &id, ACKNOWLEDGEMENT)
                .await
            {
                Ok(_) => return Ok(()),
                Err(PublishError::NoStream(subject)) => return Err(missing(&subject)),
                Err(PublishError::Timeout { .. } | PublishError::NotConnected) if attempts < ATTEMPTS => {
                    // It may have arrived with only the answer lost, and the server's memory for ids may be short.
                    if !self.bus.wait_connected(PATIENCE).await {
                        return Err(away());
                    }
                    if self.last(&sample.station).await? == Some(sample.time) {
                        return Ok(());
                    }
                }
                Err(PublishError::NotConnected) => return Err(away()),
                Err(error @ PublishError::Timeout { .. }) => return Err(Error::unavailable(error)),
                Err(error @ PublishError::Refused { .. }) => return Err(error.into()),
            }
        }
    }
}

fn message(bus: &Bus, sample: &Sample) -> Message {
    let data = Telemetry {
        ts: sample.time.into(),
        measurements: &sample.measurements,
    };
    let mut message = bus.message(&data);
    "telemetry".clone_into(&mut message.meta.message_type);
    message
}

fn time_of(message: &Message) -> Option<Timestamp> {
    let time = message.data.as_ref()?.get("ts")?;
    serde_json::from_value::<WireTime>(time.clone())
        .ok()
        .map(WireTime::timestamp)
}

fn away() -> Error {
    Error::unavailable("NATS is away; the records stay in their files and the next run takes them")
}

fn missing(subject: &str) -> Error {
    Error::unavailable(format!(
        "no stream takes `{subject}`; it is the site's to make, for instance with `nats stream add --config FILE` \
         and in that file: {DEFINITION}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_whole_and_takes_weather() {
        let definition: serde_json::Value = serde_json::from_str(DEFINITION).unwrap();
        assert_eq!(definition["subjects"].as_array().unwrap().len(), 10);
        assert_eq!(definition["subjects"][0], "telemetry.weather.>");
        let thirty_days = Duration::from_secs(30 * 86_400).as_nanos();
        assert_eq!(definition["max_age"].as_u64().map(u128::from), Some(thirty_days));
    }

    #[test]
    fn the_stream_s_last_record_is_read_leniently() {
        let time = |body: &[u8]| time_of(&Message::decode(body).unwrap());
        assert_eq!(
            time(br#"{"data":{"ts":[2026,11,22,22,0,0,0]},"meta":{}}"#),
            Some("2026-11-22T22:00:00Z".parse().unwrap())
        );
        assert_eq!(time(br#"{"data":{"ts":"now"}}"#), None);
    }
}
