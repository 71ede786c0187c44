//! Whether a reading is fit to be published.

use std::time::Duration;

use jiff::Timestamp;

use crate::quantity::Quantity;
use crate::reason::Reason;
use crate::sample::Measurements;

/// Which times are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How far a station's clock may be ahead of ours.
    pub clock_skew: Duration,
    /// Records older than this are left alone.
    pub max_age: Duration,
}

/// What a time is, seen from now.
#[derive(Debug, Clone, PartialEq)]
pub enum Age {
    /// Fit to be published.
    Fit,
    /// Older than the limit: nothing is wrong with it, but nobody wants it any more.
    TooOld,
    /// Beyond the allowed clock skew.
    Future(Reason),
}

impl Limits {
    /// Judges a time.
    pub fn age(&self, time: Timestamp, now: Timestamp) -> Age {
        if time > now.saturating_add(self.clock_skew).unwrap_or(Timestamp::MAX) {
            Age::Future(Reason::Future {
                time,
                allowed: self.clock_skew.into(),
            })
        } else if time < self.horizon(now) {
            Age::TooOld
        } else {
            Age::Fit
        }
    }

    /// Returns the oldest time that is taken.
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        now.saturating_sub(self.max_age).unwrap_or(Timestamp::MIN)
    }
}

/// Judges the values: all within their ranges, and all there that readers need.
///
/// # Errors
/// The first value out of its range, else all that are missing.
pub(crate) fn values(measurements: &Measurements) -> Result<(), Reason> {
    for (&quantity, &value) in measurements {
        believable(quantity, value)?;
    }
    let missing: Vec<Quantity> = Quantity::REQUIRED
        .into_iter()
        .filter(|quantity| !measurements.contains_key(quantity))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Reason::Missing(missing))
    }
}

/// Judges one value.
///
/// # Errors
/// The value is out of the quantity's range.
pub(crate) fn believable(quantity: Quantity, value: f64) -> Result<(), Reason> {
    match quantity.range() {
        Some((low, high)) if !(low..=high).contains(&value) => Err(Reason::OutOfRange {
            quantity,
            value,
            low,
            high,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Quantity::*;

    const LIMITS: Limits = Limits {
        clock_skew: Duration::from_secs(300),
        max_age: Duration::from_secs(3600),
    };

    #[test]
    fn the_limits_of_time_are_inclusive() {
        let now: Timestamp = "2026-11-22T22:00:00Z".parse().unwrap();
        let age = |text: &str| LIMITS.age(text.parse().unwrap(), now);
        assert_eq!(age("2026-11-22T22:05:00Z"), Age::Fit);
        assert!(matches!(age("2026-11-22T22:05:00.000001Z"), Age::Future(_)));
        assert_eq!(age("2026-11-22T21:00:00Z"), Age::Fit);
        assert_eq!(age("2026-11-22T20:59:59Z"), Age::TooOld);
    }

    #[test]
    fn values_are_checked_for_range_and_presence() {
        let good: Measurements = [
            (temperature_C, -40.0),
            (humidity, 105.0),
            (wind_10min_ms, 0.0),
            (wind_dir_deg, 360.0),
            (pressure_Pa, 72_540.0),
        ]
        .into();
        assert_eq!(values(&good), Ok(()));

        let mut high = good.clone();
        high.insert(wind_ms, 75.1);
        assert_eq!(
            values(&high).unwrap_err().to_string(),
            "wind speed out of range: 75.1 is not between 0 and 75"
        );

        let mut less = good;
        less.remove(&pressure_Pa);
        less.remove(&humidity);
        assert_eq!(
            values(&less).unwrap_err().to_string(),
            "humidity, pressure missing"
        );
    }
}
