//! The one form of time on the bus: seven integers, UTC (contract section 2.4).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant that travels as `[year, month, day, hour, minute, second, microsecond]`, UTC.
///
/// Reading also takes six integers, since the peers' readers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, schemars::JsonSchema)]
#[schemars(with = "[i64; 7]")]
pub struct WireTime(Timestamp);

impl WireTime {
    /// Returns the present, from the system's clock.
    pub fn now() -> Self {
        Self::from(Timestamp::now())
    }

    /// Returns the instant `micros` microseconds after 1970, as systemd counts; none for 0 and "never".
    pub fn from_unix_micros(micros: u64) -> Option<Self> {
        let micros = i64::try_from(micros).ok().filter(|m| *m != 0)?;
        Timestamp::from_microsecond(micros).ok().map(Self)
    }

    /// Returns the instant.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }

    fn parts(self) -> [i64; 7] {
        let t = Offset::UTC.to_datetime(self.0);
        [
            t.year().into(),
            t.month().into(),
            t.day().into(),
            t.hour().into(),
            t.minute().into(),
            t.second().into(),
            i64::from(t.subsec_nanosecond()) / 1000,
        ]
    }

    fn from_parts(parts: &[i64]) -> Option<Self> {
        let (&[year, month, day, hour, minute, second], micros) = match *parts {
            [.., micros] if parts.len() == 7 => (parts.first_chunk::<6>()?, micros),
            _ if parts.len() == 6 => (parts.first_chunk::<6>()?, 0),
            _ => return None,
        };
        let nanos = micros.checked_mul(1000)?;
        let small = |value: i64| i8::try_from(value).ok();
        let civil = DateTime::new(
            i16::try_from(year).ok()?,
            small(month)?,
            small(day)?,
            small(hour)?,
            small(minute)?,
            small(second)?,
            i32::try_from(nanos).ok()?,
        )
        .ok()?;
        Offset::UTC.to_timestamp(civil).ok().map(Self)
    }
}

impl From<Timestamp> for WireTime {
    /// Keeps whole microseconds: the wire holds no more, and a value must survive its own round trip.
    fn from(timestamp: Timestamp) -> Self {
        Self(Timestamp::from_microsecond(timestamp.as_microsecond()).unwrap_or(timestamp))
    }
}

impl From<WireTime> for Timestamp {
    fn from(time: WireTime) -> Self {
        time.0
    }
}

impl Serialize for WireTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.parts().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for WireTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = Vec::<i64>::deserialize(deserializer)?;
        Self::from_parts(&parts).ok_or_else(|| {
            de::Error::custom(format!(
                "{parts:?} is not [year, month, day, hour, minute, second, µs]"
            ))
        })
    }
}

/// Reads an optional time of a foreign message: what is not a time counts as absent, so that one wrong field does
/// not hide the rest of the message.
pub(crate) fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WireTime>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn seven_integers_and_six() {
        let time: WireTime = serde_json::from_str("[2026,11,22,17,17,48,63494]").unwrap();
        assert_eq!(time.timestamp().to_string(), "2026-11-22T17:17:48.063494Z");
        assert_eq!(
            serde_json::to_string(&time).unwrap(),
            "[2026,11,22,17,17,48,63494]"
        );
        let short: WireTime = serde_json::from_str("[2026,11,22,17,17,48]").unwrap();
        assert_eq!(short.timestamp().to_string(), "2026-11-22T17:17:48Z");
        for wrong in [
            "[2026,11,22]",
            "[2026,13,1,0,0,0,0]",
            "[1,2,3,4,5,6,7,8,9]",
            "\"2026\"",
            "[2026,1,1,0,0,0,-1]",
        ] {
            assert!(serde_json::from_str::<WireTime>(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_microsecond_survives(micros in 1_u64..4_102_444_800_000_000) {
            let time = WireTime::from_unix_micros(micros).unwrap();
            let text = serde_json::to_string(&time).unwrap();
            prop_assert_eq!(serde_json::from_str::<WireTime>(&text).unwrap(), time);
        }
    }
}
