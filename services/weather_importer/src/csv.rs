//! Comma-separated values with a map of columns.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::decode::{FormatError, Refusal};
use crate::quantity::{Quantity, Unit};
use crate::reason::{Reason, excerpt};
use crate::sample::{Measurements, Reading};

/// How the columns of a CSV file are to be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CsvConfig {
    /// What stands between two fields.
    pub delimiter: Delimiter,
    /// Whether the first line that is no comment names the columns; without it columns go by number, from "1".
    pub header: bool,
    /// Columns that make up the time, joined by a blank; empty: the usual names are looked for.
    pub time: Vec<String>,
    /// strptime format of the time, read as UTC unless it has a zone; empty: ISO 8601.
    pub time_format: String,
    /// Column and unit of each quantity; empty: the usual names are looked for.
    #[schemars(schema_with = "columns_schema")]
    pub columns: BTreeMap<Quantity, Column>,
}

/// Names every quantity, so that a misspelt one is found at its place in the file.
fn columns_schema(generator: &mut SchemaGenerator) -> Schema {
    let column = generator.subschema_for::<Column>();
    let names = Quantity::ALL
        .into_iter()
        .filter_map(|quantity| serde_json::to_value(quantity).ok());
    let properties: serde_json::Map<_, _> = names
        .filter_map(|name| Some((name.as_str()?.to_owned(), column.clone().to_value())))
        .collect();
    json_schema!({"type": "object", "additionalProperties": false, "properties": properties})
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            delimiter: Delimiter::Comma,
            header: true,
            time: Vec::new(),
            time_format: String::new(),
            columns: BTreeMap::new(),
        }
    }
}

/// What stands between two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delimiter {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// A tabulator.
    Tab,
    /// Any number of blanks and tabulators.
    Blanks,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name in the header, or number from "1" where there is none.
    pub column: String,
    /// Unit in the file; default: that of the quantity.
    #[serde(default)]
    pub unit: Option<Unit>,
}

const TIME_NAMES: [&str; 6] = ["time", "timestamp", "datetime", "date_time", "utc", "time_utc"];

/// Names that are understood without a map.
const USUAL_NAMES: [(&str, Quantity, Unit); 30] = {
    use Quantity::*;
    [
        ("temperature_c", temperature_C, Unit::Celsius),
        ("temp_c", temperature_C, Unit::Celsius),
        ("temperature_f", temperature_C, Unit::Fahrenheit),
        ("temp_f", temperature_C, Unit::Fahrenheit),
        ("humidity", humidity, Unit::Percent),
        ("hum_pct", humidity, Unit::Percent),
        ("rh_pct", humidity, Unit::Percent),
        ("rh", humidity, Unit::Percent),
        ("wind_ms", wind_ms, Unit::MetrePerSecond),
        ("wind_kmh", wind_ms, Unit::KilometrePerHour),
        ("wind_mph", wind_ms, Unit::MilePerHour),
        ("wind_10min_ms", wind_10min_ms, Unit::MetrePerSecond),
        ("wind10_ms", wind_10min_ms, Unit::MetrePerSecond),
        ("wind10_kmh", wind_10min_ms, Unit::KilometrePerHour),
        ("wind10_mph", wind_10min_ms, Unit::MilePerHour),
        ("wind_dir_deg", wind_dir_deg, Unit::Degree),
        ("wind_dir", wind_dir_deg, Unit::Degree),
        ("pressure_pa", pressure_Pa, Unit::Pascal),
        ("press_pa", pressure_Pa, Unit::Pascal),
        ("pressure_hpa", pressure_Pa, Unit::Hectopascal),
        ("press_hpa", pressure_Pa, Unit::Hectopascal),
        ("pressure_mbar", pressure_Pa, Unit::Hectopascal),
        ("press_mbar", pressure_Pa, Unit::Hectopascal),
        ("pressure_inhg", pressure_Pa, Unit::InchOfMercury),
        ("press_inhg", pressure_Pa, Unit::InchOfMercury),
        ("bar_trend", bar_trend, Unit::Pascal),
        ("rain_mm", rain_mm, Unit::Millimetre),
        ("rain_day_mm", rain_day_mm, Unit::Millimetre),
        ("indoor_temperature_c", indoor_temperature_C, Unit::Celsius),
        ("indoor_humidity", indoor_humidity, Unit::Percent),
    ]
};

impl CsvConfig {
    /// Checks what a file cannot be needed for.
    ///
    /// # Errors
    /// The key, and what is wrong with its value.
    pub fn check(&self) -> Result<(), String> {
        for (quantity, column) in &self.columns {
            let key = serde_json::to_value(quantity).unwrap_or_default();
            if let Some(unit) = column.unit.filter(|unit| unit.convert(0.0, *quantity).is_none()) {
                let unit = serde_json::to_value(unit).unwrap_or_default();
                return Err(
                    format!("csv.columns.{key}.unit: {unit} is no unit of {quantity}").replace('"', "")
                );
            }
        }
        if !self.header {
            if self.time.is_empty() || self.columns.is_empty() {
                return Err("csv.header: without a header csv.time and csv.columns must be given".to_owned());
            }
            let names = self
                .time
                .iter()
                .chain(self.columns.values().map(|column| &column.column));
            for name in names {
                number(name).ok_or_else(|| {
                    format!("csv.columns: {name:?} is no column number (\"1\" is the first); a header is off")
                })?;
            }
        }
        Ok(())
    }

    /// Returns whether columns are named rather than looked for.
    pub fn has_map(&self) -> bool {
        !self.time.is_empty() || !self.columns.is_empty()
    }

    /// Finds the columns in a header line.
    ///
    /// # Errors
    /// A column that is asked for is not there, or nothing in the line is known.
    fn layout(&self, header: &str) -> Result<Layout, FormatError> {
        let names: Vec<String> = self
            .split(header)
            .iter()
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        let position = |name: &str| {
            names
                .iter()
                .position(|candidate| *candidate == name.to_ascii_lowercase())
        };
        let find = |name: &String| {
            position(name).ok_or_else(|| FormatError::NoColumn {
                name: name.clone(),
                found: excerpt(header),
            })
        };
        let time = if self.time.is_empty() {
            let found = TIME_NAMES.iter().find_map(|name| position(name));
            vec![found.ok_or_else(|| FormatError::NoTimeColumn {
                found: excerpt(header),
            })?]
        } else {
            self.time.iter().map(find).collect::<Result<_, _>>()?
        };
        let mut values = Vec::new();
        if self.columns.is_empty() {
            for (name, quantity, unit) in USUAL_NAMES {
                if let Some(index) = position(name)
                    && !values.iter().any(|(_, known, _)| *known == quantity)
                {
                    values.push((index, quantity, unit));
                }
            }
        } else {
            for (quantity, column) in &self.columns {
                values.push((
                    find(&column.column)?,
                    *quantity,
                    column.unit.unwrap_or(quantity.unit()),
                ));
            }
        }
        if values.is_empty() {
            return Err(FormatError::NoQuantity {
                found: excerpt(header),
            });
        }
        Ok(Layout {
            time,
            values,
            width: Some(names.len()),
            header: Some(header.to_owned()),
        })
    }

    /// Returns the layout of a file without a header, by the numbers of the columns.
    fn numbered(&self) -> Layout {
        let index = |name: &str| number(name).unwrap_or(usize::MAX);
        Layout {
            time: self.time.iter().map(|name| index(name)).collect(),
            values: self
                .columns
                .iter()
                .map(|(quantity, column)| {
                    (
                        index(&column.column),
                        *quantity,
                        column.unit.unwrap_or(quantity.unit()),
                    )
                })
                .collect(),
            width: None,
            header: None,
        }
    }

    fn split<'a>(&self, line: &'a str) -> Vec<Cow<'a, str>> {
        match self.delimiter {
            Delimiter::Comma => split_quoted(line, ','),
            Delimiter::Semicolon => split_quoted(line, ';'),
            Delimiter::Tab => split_quoted(line, '\t'),
            Delimiter::Blanks => line.split_whitespace().map(Cow::Borrowed).collect(),
        }
    }

    fn time(&self, text: &str) -> Option<Timestamp> {
        let utc = |time: civil::DateTime| time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
        if self.time_format.is_empty() {
            return text.parse().ok().or_else(|| utc(text.parse().ok()?));
        }
        let parts = jiff::fmt::strtime::parse(&self.time_format, text).ok()?;
        parts
            .to_timestamp()
            .ok()
            .or_else(|| utc(parts.to_datetime().ok()?))
    }
}

/// Where the columns of one file stand.
#[derive(Debug, Clone, PartialEq)]
struct Layout {
    time: Vec<usize>,
    values: Vec<(usize, Quantity, Unit)>,
    /// Number of columns, where a header tells it.
    width: Option<usize>,
    header: Option<String>,
}

impl Layout {
    /// Refuses a line that is cut, or that holds more than one record: either would give false values.
    fn fits(&self, fields: &[Cow<'_, str>]) -> Result<(), Reason> {
        let needed = self
            .time
            .iter()
            .chain(self.values.iter().map(|(index, ..)| index))
            .max();
        let expected = self
            .width
            .unwrap_or_else(|| needed.map_or(0, |index| index.saturating_add(1)));
        if needed.is_some_and(|index| *index >= fields.len()) {
            return Err(Reason::FieldsMissing {
                found: fields.len(),
                expected,
            });
        }
        let extra = self
            .width
            .and_then(|width| fields.get(width..))
            .unwrap_or_default();
        if extra.iter().any(|field| !field.trim().is_empty()) {
            return Err(Reason::FieldsTooMany {
                found: fields.len(),
                expected,
            });
        }
        Ok(())
    }
}

/// Reads the lines of one CSV file in turn.
#[derive(Debug, Clone)]
pub(crate) struct CsvDecoder {
    config: CsvConfig,
    layout: Option<Layout>,
}

impl CsvDecoder {
    /// Starts a file, or goes on in one whose header line is known.
    ///
    /// # Errors
    /// The header does not fit the configuration.
    pub(crate) fn new(config: &CsvConfig, header: Option<&str>) -> Result<Self, FormatError> {
        let layout = match header {
            _ if !config.header => Some(config.numbered()),
            Some(header) => Some(config.layout(header)?),
            None => None,
        };
        Ok(Self {
            config: config.clone(),
            layout,
        })
    }

    /// Returns the header line that is in force.
    pub(crate) fn header(&self) -> Option<&str> {
        self.layout.as_ref()?.header.as_deref()
    }

    /// Reads one line; comments, empty lines and headers give no reading.
    ///
    /// # Errors
    /// The line is refused, or the file is not one that the configuration describes.
    pub(crate) fn decode(&mut self, line: &str) -> Result<Option<Reading>, Refusal> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let Some(layout) = &self.layout else {
            self.layout = Some(self.config.layout(line)?);
            return Ok(None);
        };
        let fields = self.config.split(line);
        if let Err(reason) = layout.fits(&fields) {
            return self.new_header(line).ok_or(reason.into()).map(|()| None);
        }
        let text: Vec<&str> = layout.time.iter().map(|index| fields[*index].trim()).collect();
        let text = text.join(" ");
        let Some(time) = self.config.time(&text) else {
            return self
                .new_header(line)
                .ok_or(Reason::NotATime(excerpt(&text)).into())
                .map(|()| None);
        };
        let mut measurements = Measurements::new();
        for (index, quantity, unit) in &layout.values {
            if let Some(value) = number_in(&fields[*index], *quantity)?
                && let Some(value) = unit.convert(value, *quantity)
            {
                measurements.insert(*quantity, value);
            }
        }
        Ok(Some(Reading { time, measurements }))
    }

    /// Takes a header in the middle of a file: a console that was restarted writes it again, perhaps another one.
    fn new_header(&mut self, line: &str) -> Option<()> {
        if self.config.header {
            self.layout = Some(self.config.layout(line).ok()?);
            return Some(());
        }
        None
    }
}

/// Reads a field: empty is missing; so is a dash or the like, unless the record is worth nothing without the value.
fn number_in(field: &str, quantity: Quantity) -> Result<Option<f64>, Reason> {
    let field = field.trim();
    if field.is_empty() {
        return Ok(None);
    }
    if let Some(value) = field.parse().ok().filter(|value: &f64| value.is_finite()) {
        return Ok(Some(value));
    }
    let no_value = ["-", "--", "---", "na", "n/a", "nan", "null"].contains(&&*field.to_ascii_lowercase());
    // The mean wind can be worked out.
    let needed = Quantity::REQUIRED.contains(&quantity) && quantity != Quantity::wind_10min_ms;
    if no_value && !needed {
        return Ok(None);
    }
    Err(Reason::NotANumber(quantity, excerpt(field)))
}

/// Returns the index of a column that is given by its number.
fn number(name: &str) -> Option<usize> {
    name.parse::<usize>().ok()?.checked_sub(1)
}

/// Splits a line as RFC 4180 has it, but for line breaks within quotes.
fn split_quoted(line: &str, delimiter: char) -> Vec<Cow<'_, str>> {
    if !line.contains('"') {
        return line.split(delimiter).map(Cow::Borrowed).collect();
    }
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            _ if character == delimiter && !quoted => fields.push(Cow::Owned(std::mem::take(&mut field))),
            _ => field.push(character),
        }
    }
    fields.push(Cow::Owned(field));
    fields
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
