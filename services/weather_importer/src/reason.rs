//! Why a line was refused.

use jiff::Timestamp;
use tcs_service::TimeSpan;

use crate::quantity::Quantity;

/// Why a line gives no record. The text goes to the journal and to the quarantine.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Reason {
    /// A value is no finite number.
    #[error("{0} not a number: {1:?}")]
    NotANumber(Quantity, String),
    /// The flag behind a value is not one that the format knows.
    #[error("{0} with an unknown flag: {1:?}")]
    UnknownFlag(Quantity, String),
    /// A value cannot be true.
    #[error("{quantity} out of range: {value} is not between {low} and {high}")]
    OutOfRange {
        /// What was measured.
        quantity: Quantity,
        /// The value of the line, converted.
        value: f64,
        /// The least believable value.
        low: f64,
        /// The greatest believable value.
        high: f64,
    },
    /// Values are absent that every record needs.
    #[error("{} missing", list(.0))]
    Missing(Vec<Quantity>),
    /// The line ends too early.
    #[error("{} missing: {found} of {expected}", fields(expected - found))]
    FieldsMissing {
        /// Fields in the line.
        found: usize,
        /// Fields in a whole line.
        expected: usize,
    },
    /// The line goes on, as two lines that were joined do.
    #[error("{} too many: {found} where {expected} belong", fields(found - expected))]
    FieldsTooMany {
        /// Fields in the line.
        found: usize,
        /// Fields in a whole line.
        expected: usize,
    },
    /// The line's time cannot be read.
    #[error("not a time: {0:?}")]
    NotATime(String),
    /// The parts of the time contradict one another.
    #[error("day {day_of_year} of the year is not {date}")]
    WrongDay {
        /// The day of the year in the line.
        day_of_year: i16,
        /// The date in the same line.
        date: jiff::civil::Date,
    },
    /// The time has not come yet.
    #[error("in the future beyond the allowed clock skew: {time}, {allowed} allowed")]
    Future {
        /// The line's time.
        time: Timestamp,
        /// How far ahead a station's clock may be.
        allowed: TimeSpan,
    },
    /// The line is not UTF-8.
    #[error("not a text")]
    NotText,
    /// The line is longer than any record.
    #[error("longer than {0} bytes")]
    TooLong(usize),
}

fn list(quantities: &[Quantity]) -> String {
    let names: Vec<String> = quantities.iter().map(Quantity::to_string).collect();
    names.join(", ")
}

fn fields(count: usize) -> String {
    const WORDS: [&str; 9] = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    ];
    match count {
        1 => "one field".to_owned(),
        2..=9 => format!("{} fields", WORDS[count - 1]),
        _ => format!("{count} fields"),
    }
}

/// Shortens a field for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 40;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
