//! A span of time as configuration files write it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A [`Duration`] that a configuration gives as `5s`, `1min 30s` or a number of seconds (`systemd.time(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(Duration);

impl TimeSpan {
    /// Returns a span of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns a span of milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// Returns it as the standard library's type.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl Deref for TimeSpan {
    type Target = Duration;
    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<Duration> for TimeSpan {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<TimeSpan> for Duration {
    fn from(span: TimeSpan) -> Self {
        span.0
    }
}

impl FromStr for TimeSpan {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        tcs_config::parse_duration(text).map(Self)
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&tcs_config::format_duration(self.0))
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = TimeSpan;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as `5s` or `1min 30s`, or a number of seconds")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<TimeSpan, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<TimeSpan, E> {
                Duration::try_from_secs_f64(seconds)
                    .map(TimeSpan)
                    .map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<TimeSpan, E> {
                Ok(TimeSpan::from_secs(seconds))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<TimeSpan, E> {
                Err(E::custom("a time cannot be negative"))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> Cow<'static, str> {
        "TimeSpan".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "minimum": 0,
            "pattern": r"^\s*([0-9]+(\.[0-9]+)?\s*(us|usec|µs|ms|msec|s|sec|seconds?|m|min|minutes?|h|hr|hours?|d|days?|w|weeks?)?\s*)+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_numbers_are_spans() {
        let read = |json: &str| serde_json::from_str::<TimeSpan>(json).map_err(|error| error.to_string());
        assert_eq!(read("\"1min 30s\"").unwrap(), TimeSpan::from_secs(90));
        assert_eq!(read("2").unwrap(), TimeSpan::from_secs(2));
        assert_eq!(read("0.25").unwrap(), TimeSpan::from_millis(250));
        assert!(read("-1").unwrap_err().contains("negative"));
        assert!(read("\"5 parsecs\"").unwrap_err().contains("parsecs"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let span = TimeSpan::from_millis(61_500);
        assert_eq!(serde_json::to_string(&span).unwrap(), "\"1min 1s 500ms\"");
        assert_eq!(span.to_string().parse(), Ok(span));
    }
}
