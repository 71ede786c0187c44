//! Imports the records of weather stations from their files, exactly once each.
//!
//! A run ([`Import`]) reads the whole lines that are new in a directory of CSV or SURFRAD files, judges each record by what
//! the readers of `telemetry.weather.>` need, and yields batches to publish. Station and time are a record's identity. Three
//! things together make it exactly once: the message id (within the stream's duplicate window), the cursor with the
//! times that were published, and a look at the stream's last record for what happened between publishing and writing
//! the cursor.

mod config;
mod csv;
mod cursor;
mod decode;
mod import;
mod judge;
mod lines;
mod publish;
mod quantity;
mod quarantine;
mod reader;
mod reason;
mod sample;
mod service;
mod source;
mod summary;
mod surfrad;
mod times;
mod wind;

pub use config::{FormatChoice, WeatherConfig};
pub use csv::{Column, CsvConfig, Delimiter};
pub use cursor::{Cursor, CursorError, FileCursor, StationCursor};
pub use decode::{Format, FormatError};
pub use import::{Batch, FileError, Import, ImportError, Reconciled, Settings};
pub use judge::Limits;
pub use quantity::{Quantity, Unit};
pub use quarantine::Refused;
pub use reason::Reason;
pub use sample::{Measurements, Reading, Sample, Station};
pub use service::WeatherImporter;
pub use source::Mark;
pub use summary::{Counts, Summary};
pub use times::TimeSet;
pub use wind::WindWindow;
