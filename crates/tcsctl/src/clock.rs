//! Times as they are shown: UTC, or the local zone when asked (design decision 35).

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The present and the zone that times are shown in.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    now: Timestamp,
    zone: TimeZone,
}

impl Clock {
    pub(crate) fn new(now: Timestamp, local: bool) -> Self {
        Self {
            now,
            zone: if local { TimeZone::system() } else { TimeZone::UTC },
        }
    }

    /// Returns the present as it was when the command began.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns the zone's name, for a column's head.
    pub(crate) fn zone_name(&self) -> String {
        self.now.to_zoned(self.zone.clone()).strftime("%Z").to_string()
    }

    /// Returns the time of day on the present day, else the date and the minute.
    pub(crate) fn short(&self, time: Timestamp) -> String {
        let (time, now) = (
            time.to_zoned(self.zone.clone()),
            self.now.to_zoned(self.zone.clone()),
        );
        let format = if time.date() == now.date() {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M"
        };
        time.strftime(format).to_string()
    }

    /// Returns date, time and zone.
    pub(crate) fn long(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S %Z")
            .to_string()
    }

    /// Returns date, time to the millisecond and zone.
    pub(crate) fn exact(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S%.3f %Z")
            .to_string()
    }

    /// Returns how long ago, or in how long, in its two largest units.
    pub(crate) fn distance(&self, time: Timestamp) -> String {
        let distance = self.now.duration_since(time);
        let words = span(distance);
        if distance.is_negative() {
            format!("in {words}")
        } else {
            format!("{words} ago")
        }
    }

    /// Returns date, time, zone and the distance.
    pub(crate) fn full(&self, time: Timestamp) -> String {
        format!("{}; {}", self.long(time), self.distance(time))
    }
}

/// Returns a span in its two largest units, seconds at least.
pub(crate) fn span(span: SignedDuration) -> String {
    let seconds = span.unsigned_abs().as_secs();
    let units = [("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let first = units
        .iter()
        .position(|(_, size)| seconds >= *size)
        .unwrap_or(units.len() - 1);
    let part = |(name, size): (&str, u64), count: u64| match (name, count) {
        ("day", 2..) => format!("{count} days"),
        _ if size == 1 || count > 0 => format!("{count} {name}"),
        _ => String::new(),
    };
    let large = part(units[first], seconds / units[first].1);
    let rest = seconds % units[first].1;
    match units.get(first + 1) {
        Some(unit) if rest / unit.1 > 0 => format!("{large} {}", part(*unit, rest / unit.1)),
        _ => large,
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    #[test]
    fn times_are_utc_and_short_within_the_day() {
        let now = "2026-11-22T18:00:00Z".parse().unwrap();
        let clock = Clock::new(now, false);
        assert_eq!(clock.short("2026-11-22T01:02:03.9Z".parse().unwrap()), "01:02:03");
        assert_eq!(
            clock.short("2026-11-21T01:02:03Z".parse().unwrap()),
            "2026-11-21 01:02"
        );
        assert_eq!(
            clock.full(now - 182.seconds()),
            "2026-11-22 17:56:58 UTC; 3 min 2 s ago"
        );
        assert_eq!(clock.distance(now + 5.minutes()), "in 5 min");
        assert_eq!(clock.zone_name(), "UTC");
    }

    #[test]
    fn spans_have_at_most_two_units() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_725, "1 h 2 min"),
            (86_400, "1 day"),
            (200_000, "2 days 7 h"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(seconds)), words);
        }
    }
}
