//! The importer's fields in `services.yaml`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tcs_service::TimeSpan;

use crate::csv::CsvConfig;
use crate::decode::Format;
use crate::import::Settings;
use crate::judge::Limits;
use crate::sample::Station;

/// Configuration of the importer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeatherConfig {
    /// Directory of the stations' files, or one file.
    pub directory: PathBuf,
    /// Station, the last part of the subject `telemetry.weather.STATION`; empty: the files' headers or names tell.
    #[serde(default)]
    pub station: String,
    /// Format of the files; `auto` looks at each one.
    #[serde(default)]
    pub format: FormatChoice,
    /// How CSV is read; without it columns are found by their usual names.
    #[serde(default)]
    pub csv: CsvConfig,
    /// Records older than this are left alone; what the stream itself keeps is the measure.
    #[serde(default = "thirty_days")]
    pub max_age: TimeSpan,
    /// How far a station's clock may be ahead.
    #[serde(default = "five_minutes")]
    pub clock_skew: TimeSpan,
    /// A run of which a greater share of lines is refused ends as degraded, 0 to 1.
    #[serde(default = "one_in_ten")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub degraded_share: f64,
}

/// Format of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FormatChoice {
    /// Each file is looked at; one that is not known is passed over.
    #[default]
    Auto,
    /// Every file is CSV.
    Csv,
    /// Every file is a NOAA SURFRAD daily file.
    Surfrad,
}

const fn thirty_days() -> TimeSpan {
    TimeSpan::from_secs(30 * 86_400)
}

const fn five_minutes() -> TimeSpan {
    TimeSpan::from_secs(5 * 60)
}

const fn one_in_ten() -> f64 {
    0.1
}

impl WeatherConfig {
    /// Returns what a run needs.
    ///
    /// # Errors
    /// The key, and what is wrong with its value.
    pub fn settings(&self) -> Result<Settings, String> {
        self.csv.check()?;
        if !(0.0..=1.0).contains(&self.degraded_share) {
            return Err(format!(
                "degraded_share: {} is not between 0 and 1",
                self.degraded_share
            ));
        }
        let station = match self.station.as_str() {
            "" => None,
            name => Some(Station::new(name).ok_or_else(|| {
                format!("station: {name:?} has no letter or digit that a subject can carry")
            })?),
        };
        Ok(Settings {
            path: self.directory.clone(),
            station,
            format: match self.format {
                FormatChoice::Auto => None,
                FormatChoice::Csv => Some(Format::Csv),
                FormatChoice::Surfrad => Some(Format::Surfrad),
            },
            csv: self.csv.clone(),
            limits: Limits {
                clock_skew: *self.clock_skew,
                max_age: *self.max_age,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_enough() {
        let config: WeatherConfig = serde_json::from_str(r#"{"directory": "/data"}"#).unwrap();
        let settings = config.settings().unwrap();
        assert_eq!((settings.station, settings.format), (None, None));
        assert_eq!(settings.limits.max_age.as_secs(), 2_592_000);
        assert!(serde_json::from_str::<WeatherConfig>("{}").is_err());
    }

    #[test]
    fn wrong_values_are_told_by_their_key() {
        for (json, message) in [
            (
                r#"{"directory": "/d", "degraded_share": 10}"#,
                "degraded_share: 10 is not between 0 and 1",
            ),
            (
                r#"{"directory": "/d", "station": "!"}"#,
                "station: \"!\" has no letter or digit that a subject can carry",
            ),
        ] {
            let config: WeatherConfig = serde_json::from_str(json).unwrap();
            assert_eq!(config.settings().unwrap_err(), message);
        }
    }
}
