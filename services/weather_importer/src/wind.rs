//! The mean wind of ten minutes, for stations that give only the present one.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::quantity::round;

const MEAN: SignedDuration = SignedDuration::from_mins(10);
/// Twice the mean's length, so that a late sample still finds its neighbours.
const KEPT: SignedDuration = SignedDuration::from_mins(20);

/// The last wind speeds of one station; part of the cursor, so that a run continues the mean of the one before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<(Timestamp, f64)>", into = "Vec<(Timestamp, f64)>")]
pub struct WindWindow(BTreeMap<Timestamp, f64>);

impl WindWindow {
    /// Adds a speed in m/s.
    pub fn add(&mut self, time: Timestamp, speed: f64) {
        self.0.insert(time, speed);
        let newest = self.0.last_key_value().map_or(time, |(newest, _)| *newest);
        // An old file that is handed in late has a window of its own beside the present one.
        let near = |at: Timestamp, to: Timestamp| to.duration_since(at).abs() <= KEPT;
        self.0.retain(|at, _| near(*at, time) || near(*at, newest));
    }

    /// Returns the mean of the samples in (`time` - 10 min, `time`].
    pub fn mean(&self, time: Timestamp) -> Option<f64> {
        let start = time.saturating_sub(MEAN).unwrap_or(Timestamp::MIN);
        let speeds = || {
            self.0
                .range(start..=time)
                .filter(|(at, _)| **at > start)
                .map(|(_, speed)| speed)
        };
        let count = u32::try_from(speeds().count()).ok().filter(|count| *count > 0)?;
        Some(round(speeds().sum::<f64>() / f64::from(count), 6))
    }
}

impl From<Vec<(Timestamp, f64)>> for WindWindow {
    fn from(samples: Vec<(Timestamp, f64)>) -> Self {
        Self(samples.into_iter().collect())
    }
}

impl From<WindWindow> for Vec<(Timestamp, f64)> {
    fn from(window: WindWindow) -> Self {
        window.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_000_000_000 + minute * 60).unwrap()
    }

    #[test]
    fn the_mean_is_over_the_last_ten_minutes_and_no_more() {
        let mut window = WindWindow::default();
        assert_eq!(window.mean(at(0)), None);
        for minute in 0..=10 {
            window.add(at(minute), if minute == 0 { 100.0 } else { 2.0 });
        }
        assert_eq!(
            window.mean(at(10)),
            Some(2.0),
            "the sample of exactly ten minutes ago is out"
        );
        assert_eq!(
            window.mean(at(1)),
            Some(51.0),
            "a late sample sees its own past only"
        );
    }

    #[test]
    fn old_records_that_come_late_have_their_own_mean_and_leave_the_present_one() {
        let mut window = WindWindow::default();
        (1000..=1010).for_each(|minute| window.add(at(minute), 5.0));
        (0..=300).for_each(|minute| window.add(at(minute), 1.0));
        assert_eq!(window.mean(at(300)), Some(1.0));
        assert_eq!(window.mean(at(1010)), Some(5.0));
        assert!(window.0.len() <= 32, "{}", window.0.len());
    }

    #[test]
    fn the_window_stays_small() {
        let mut window = WindWindow::default();
        for minute in 0..1000 {
            window.add(at(minute), 1.0);
        }
        assert_eq!(window.0.len(), 21);
    }
}
