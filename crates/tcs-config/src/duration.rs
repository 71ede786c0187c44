//! Spans of time as people write them: `5s`, `1min 30s`, `2h`.

use std::fmt::Write as _;
use std::time::Duration;

const SECOND: u64 = 1_000_000;

/// Units as systemd spells them (`systemd.time(7)`), with microseconds each. Months and years are left out: they are
/// averages, and nobody waits one.
const UNITS: [(&[&str], u64); 7] = [
    (&["us", "usec", "µs"], 1),
    (&["ms", "msec"], 1_000),
    (&["s", "sec", "second", "seconds"], SECOND),
    (&["min", "m", "minute", "minutes"], 60 * SECOND),
    (&["h", "hr", "hour", "hours"], 3_600 * SECOND),
    (&["d", "day", "days"], 86_400 * SECOND),
    (&["w", "week", "weeks"], 604_800 * SECOND),
];

/// Reads a span of time, such as `5s`, `1min 30s`, `2.5h`, or a number of seconds.
///
/// # Errors
/// What is wrong with the text, in one phrase.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("no time is given".to_owned());
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number
            .parse()
            .map_err(|_| format!("`{rest}` does not begin with a number"))?;
        let tail = tail.trim_start();
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        total += number * microseconds(unit, text)?;
        rest = tail.trim_start();
    }
    from_microseconds(total)
}

/// Reads a number of seconds.
///
/// # Errors
/// A negative number, or one beyond a century.
pub(crate) fn from_seconds(seconds: f64) -> Result<Duration, String> {
    if seconds < 0.0 {
        return Err("a time cannot be negative".to_owned());
    }
    #[expect(clippy::cast_precision_loss, reason = "a small constant")]
    from_microseconds(seconds * SECOND as f64)
}

fn microseconds(unit: &str, text: &str) -> Result<f64, String> {
    let unit = if unit.is_empty() { "s" } else { unit };
    let found = UNITS.iter().find(|(names, _)| names.contains(&unit));
    #[expect(clippy::cast_precision_loss, reason = "all units are far below 2^53")]
    found
        .map(|(_, microseconds)| *microseconds as f64)
        .ok_or_else(|| format!("`{unit}` in `{text}` is not a unit of time"))
}

fn from_microseconds(total: f64) -> Result<Duration, String> {
    const CENTURY: f64 = 3.2e15;
    if total > CENTURY {
        return Err("that is longer than a century".to_owned());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be within 0 and a century"
    )]
    Ok(Duration::from_micros(total.round() as u64))
}

/// Writes a span of time as [`parse_duration`] and systemd read it: `1min 30s`.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0".to_owned();
    }
    let mut text = String::new();
    for (names, size) in UNITS.iter().rev() {
        let count = rest / size;
        if count > 0 {
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}{count}{}", names[0]);
            rest %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_read_as_systemd_reads_them() {
        for (text, seconds) in [
            ("5s", 5.0),
            ("1min 30s", 90.0),
            ("1min30s", 90.0),
            ("2h", 7200.0),
            ("10", 10.0),
            ("2.5min", 150.0),
            ("1 h", 3600.0),
            ("250ms", 0.25),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs_f64(seconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_span_says_why() {
        assert_eq!(
            parse_duration("5 parsecs").unwrap_err(),
            "`parsecs` in `5 parsecs` is not a unit of time"
        );
        assert_eq!(
            parse_duration("soon").unwrap_err(),
            "`soon` does not begin with a number"
        );
        assert!(parse_duration("").is_err());
        assert!(parse_duration("-5s").is_err());
        assert!(parse_duration("99999w").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(microseconds in 0..10_u64.pow(15)) {
            let duration = Duration::from_micros(microseconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse_duration(&text);
        }
    }
}
