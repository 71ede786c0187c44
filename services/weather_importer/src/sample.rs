//! One record of one station.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;

/// The values of one record, in the units of the wire.
pub type Measurements = BTreeMap<Quantity, f64>;

/// A station's name as it stands in the subject: one token of `[a-z0-9_-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Station(String);

impl Station {
    /// Makes a token of any name: lower case, and everything that a subject cannot carry becomes one `_`.
    ///
    /// Returns nothing when no letter or digit is left.
    pub fn new(name: &str) -> Option<Self> {
        let mut token = String::new();
        for character in name.trim().chars().map(|c| c.to_ascii_lowercase()) {
            match character {
                'a'..='z' | '0'..='9' | '-' => token.push(character),
                _ if !token.ends_with('_') => token.push('_'),
                _ => {}
            }
            if token.len() == 64 {
                break;
            }
        }
        let token = token.trim_matches(['_', '-']);
        (!token.is_empty()).then(|| Self(token.to_owned()))
    }

    /// Returns the token.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the subject of the station's records.
    pub fn subject(&self) -> String {
        format!("telemetry.weather.{self}")
    }
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What one line of a file says, before it is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// When it was measured.
    pub time: Timestamp,
    /// What was measured; a missing value is absent.
    pub measurements: Measurements,
}

/// A record that is fit to be published. Station and time are its identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Who measured.
    pub station: Station,
    /// When it was measured, in whole microseconds.
    pub time: Timestamp,
    /// What was measured.
    pub measurements: Measurements,
}

impl Sample {
    /// Returns the `Nats-Msg-Id`: the same for the same record, however often it is read.
    pub fn message_id(&self) -> String {
        format!("wx:{}:{}", self.station, self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_is_one_subject_token() {
        for (name, token) in [
            (" Alamosa", Some("alamosa")),
            ("Desert Rock, NV.*>", Some("desert_rock_nv")),
            ("slv-16", Some("slv-16")),
            ("Zażółć", Some("za")),
            (".. ", None),
        ] {
            assert_eq!(
                Station::new(name).as_ref().map(Station::as_str),
                token,
                "{name:?}"
            );
        }
    }

    #[test]
    fn the_message_id_names_station_and_time() {
        let sample = Sample {
            station: Station::new("davis").unwrap(),
            time: "2026-11-22T22:00:00Z".parse().unwrap(),
            measurements: Measurements::new(),
        };
        assert_eq!(sample.message_id(), "wx:davis:2026-11-22T22:00:00Z");
        assert_eq!(sample.station.subject(), "telemetry.weather.davis");
    }
}
