//! The formats behind one face.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::csv::{CsvConfig, CsvDecoder};
use crate::reason::Reason;
use crate::sample::{Reading, Station};
use crate::surfrad::{SurfradDecoder, is_position};

/// The format of a station's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values.
    Csv,
    /// NOAA SURFRAD daily file.
    Surfrad,
}

/// Why a file as a whole cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A configured column is absent.
    #[error("no column {name:?} in the header {found:?}")]
    NoColumn {
        /// The column asked for.
        name: String,
        /// The header line.
        found: String,
    },
    /// No column is known as a time.
    #[error("no time column in the header {found:?}")]
    NoTimeColumn {
        /// The header line.
        found: String,
    },
    /// No column is known as a quantity.
    #[error("no column of a known quantity in the header {found:?}")]
    NoQuantity {
        /// The header line.
        found: String,
    },
    /// The first lines are of no known format.
    #[error("no known format")]
    Unknown,
    /// Neither the configuration, nor the header, nor the file's name gives a station.
    #[error("no name of a station in {0:?}")]
    NoStation(String),
}

/// Why a line gives no reading.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// This line is wrong.
    Line(Reason),
    /// The file is not what it was taken for.
    File(FormatError),
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Line(reason)
    }
}

impl From<FormatError> for Refusal {
    fn from(error: FormatError) -> Self {
        Self::File(error)
    }
}

/// Reads the lines of one file in turn.
#[derive(Debug, Clone)]
pub(crate) enum Decoder {
    /// Comma-separated values.
    Csv(CsvDecoder),
    /// NOAA SURFRAD daily file.
    Surfrad(SurfradDecoder),
}

impl Decoder {
    /// Starts a file, or goes on in one whose header line is known.
    ///
    /// # Errors
    /// The header does not fit the configuration.
    pub(crate) fn new(format: Format, csv: &CsvConfig, header: Option<&str>) -> Result<Self, FormatError> {
        Ok(match format {
            Format::Csv => Self::Csv(CsvDecoder::new(csv, header)?),
            Format::Surfrad => Self::Surfrad(SurfradDecoder::new(header)),
        })
    }

    /// Tells the format by the first lines of a file.
    ///
    /// # Errors
    /// None of the lines is a header of a known format.
    pub(crate) fn recognise(lines: &[String], csv: &CsvConfig) -> Result<Format, FormatError> {
        if lines.get(1).is_some_and(|line| is_position(line)) {
            return Ok(Format::Surfrad);
        }
        let mut decoder = CsvDecoder::new(csv, None)?;
        let header = lines
            .iter()
            .find(|line| !matches!(line.trim(), "" | "#") && !line.trim().starts_with('#'));
        match decoder.decode(header.ok_or(FormatError::Unknown)?) {
            // With a map of one's own a changed header must not pass for somebody else's file.
            Err(Refusal::File(error)) if csv.has_map() => Err(error),
            Err(Refusal::File(_)) => Err(FormatError::Unknown),
            _ => Ok(Format::Csv),
        }
    }

    /// Returns the format.
    pub(crate) const fn format(&self) -> Format {
        match self {
            Self::Csv(_) => Format::Csv,
            Self::Surfrad(_) => Format::Surfrad,
        }
    }

    /// Returns the header line that a later run needs to go on.
    pub(crate) fn header(&self) -> Option<&str> {
        match self {
            Self::Csv(csv) => csv.header(),
            Self::Surfrad(surfrad) => surfrad.header(),
        }
    }

    /// Returns the station, where the file itself names it.
    pub(crate) fn station(&self) -> Option<Station> {
        match self {
            Self::Csv(_) => None,
            Self::Surfrad(surfrad) => Station::new(surfrad.header()?),
        }
    }

    /// Reads one line; comments, empty lines and headers give no reading.
    ///
    /// # Errors
    /// The line, or the whole file, is refused.
    pub(crate) fn decode(&mut self, line: &str) -> Result<Option<Reading>, Refusal> {
        match self {
            Self::Csv(csv) => csv.decode(line),
            Self::Surfrad(surfrad) => surfrad.decode(line),
        }
    }
}
