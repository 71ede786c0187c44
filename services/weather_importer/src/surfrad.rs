//! Daily files of NOAA's SURFRAD network: two header lines, then 48 fields a line, each value with a quality flag.
//!
//! The format is described in <https://gml.noaa.gov/aftp/data/radiation/surfrad/README>.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::decode::Refusal;
use crate::quantity::{Quantity, Unit};
use crate::reason::{Reason, excerpt};
use crate::sample::{Measurements, Reading};

const FIELDS: usize = 48;
const NO_VALUE: f64 = -9999.0;

/// Index of each value; its flag stands behind it.
const VALUES: [(usize, Quantity, Unit); 5] = [
    (38, Quantity::temperature_C, Unit::Celsius),
    (40, Quantity::humidity, Unit::Percent),
    (42, Quantity::wind_ms, Unit::MetrePerSecond),
    (44, Quantity::wind_dir_deg, Unit::Degree),
    (46, Quantity::pressure_Pa, Unit::Hectopascal),
];

/// Reads the lines of one SURFRAD file in turn.
#[derive(Debug, Clone, Default)]
pub(crate) struct SurfradDecoder {
    station: Option<String>,
}

/// Returns whether this is the second line of such a file: latitude, longitude, elevation and the version.
pub(crate) fn is_position(line: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    matches!(fields[..], [lat, lon, elevation, "m", "version", _]
        if [lat, lon, elevation].iter().all(|field| field.parse::<f64>().is_ok()))
}

impl SurfradDecoder {
    /// Starts a file, or goes on in one whose first line is known.
    pub(crate) fn new(header: Option<&str>) -> Self {
        Self {
            station: header.map(str::to_owned),
        }
    }

    /// Returns the first line of the file, which names the station.
    pub(crate) fn header(&self) -> Option<&str> {
        self.station.as_deref()
    }

    /// Reads one line; empty lines and the two of the header give no reading.
    ///
    /// # Errors
    /// The line is refused.
    pub(crate) fn decode(&mut self, line: &str) -> Result<Option<Reading>, Refusal> {
        if self.station.is_none() {
            self.station = Some(line.trim().to_owned());
            return Ok(None);
        }
        if line.trim().is_empty() || is_position(line) {
            return Ok(None);
        }
        let fields: Vec<&str> = line.split_whitespace().collect();
        let found = fields.len();
        match found {
            FIELDS => {}
            ..FIELDS => {
                return Err(Reason::FieldsMissing {
                    found,
                    expected: FIELDS,
                }
                .into());
            }
            _ => {
                return Err(Reason::FieldsTooMany {
                    found,
                    expected: FIELDS,
                }
                .into());
            }
        }
        let time = time(&fields)?;
        let mut measurements = Measurements::new();
        for (index, quantity, unit) in VALUES {
            let wrong = || Reason::NotANumber(quantity, excerpt(fields[index]));
            let value: f64 = fields[index]
                .parse()
                .ok()
                .filter(|v: &f64| v.is_finite())
                .ok_or_else(wrong)?;
            let flag = fields[index + 1];
            let good = match flag {
                "0" => value > NO_VALUE,
                "1" | "2" => false,
                _ => return Err(Reason::UnknownFlag(quantity, excerpt(flag)).into()),
            };
            if let Some(value) = unit.convert(value, quantity).filter(|_| good) {
                measurements.insert(quantity, value);
            }
        }
        Ok(Some(Reading { time, measurements }))
    }
}

/// Reads year, day of the year, month, day, hour and minute. The two ways to say the day guard against a spoilt digit.
fn time(fields: &[&str]) -> Result<Timestamp, Reason> {
    let wrong = || Reason::NotATime(excerpt(&fields[..6].join(" ")));
    let part = |index: usize| fields[index].parse::<i16>().map_err(|_| wrong());
    let small = |index: usize| i8::try_from(part(index)?).map_err(|_| wrong());
    let date = Date::new(part(0)?, small(2)?, small(3)?).map_err(|_| wrong())?;
    let day_of_year = part(1)?;
    if date.day_of_year() != day_of_year {
        return Err(Reason::WrongDay { day_of_year, date });
    }
    let (hour, minute) = (small(4)?, small(5)?);
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) {
        return Err(wrong());
    }
    let zoned = date
        .at(hour, minute, 0, 0)
        .to_zoned(TimeZone::UTC)
        .map_err(|_| wrong())?;
    Ok(zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Quantity::*;

    const LINE: &str = " 2016   1  1  1  0  1  0.017  91.83    -1.8 0    -0.8 0     2.0 0     2.2 0   186.3 0    -5.8 0    -6.3 0   276.1 0    -6.3 0    -6.5 0 -9999.9 1 -9999.9 1    -1.0 0   -89.8 0   -90.8 0    -7.7 0    53.0 0     3.1 0   304.7 0   773.5 0";

    fn decode(line: &str) -> Result<Option<Reading>, Refusal> {
        SurfradDecoder::new(Some("Alamosa")).decode(line)
    }

    #[test]
    fn the_header_gives_the_station() {
        let mut decoder = SurfradDecoder::new(None);
        assert_eq!(decoder.decode(" Alamosa").unwrap(), None);
        assert_eq!(decoder.decode("   37.70  105.92 2317 m version 1").unwrap(), None);
        assert_eq!(decoder.header(), Some("Alamosa"));
        assert!(decoder.decode(LINE).unwrap().is_some());
    }

    #[test]
    fn a_flagged_value_is_missing_and_a_good_one_converted() {
        let line = LINE.replace("53.0 0", "53.0 1").replace("3.1 0", "-9999.9 0");
        let reading = decode(&line).unwrap().unwrap();
        assert_eq!(reading.time.to_string(), "2016-01-01T00:01:00Z");
        assert_eq!(
            reading.measurements,
            [
                (temperature_C, -7.7),
                (wind_dir_deg, 304.7),
                (pressure_Pa, 77_350.0)
            ]
            .into()
        );
    }

    #[test]
    fn spoilt_lines_are_refused_with_a_reason() {
        for (from, to, reason) in [
            (" 773.5 0", "", "two fields missing: 46 of 48"),
            (" 773.5 0", " 773.5 0 1", "one field too many: 49 where 48 belong"),
            (
                "2016   1  1",
                "2016   1  2",
                "day 1 of the year is not 2016-02-01",
            ),
            (
                "2016   1  1  1  0",
                "2016   1  1  1 24",
                "not a time: \"2016 1 1 1 24 1\"",
            ),
            ("-7.7 0", "-7.7 9", "temperature with an unknown flag: \"9\""),
            ("-7.7 0", "inf 0", "temperature not a number: \"inf\""),
        ] {
            match decode(&LINE.replacen(from, to, 1)) {
                Err(Refusal::Line(found)) => assert_eq!(found.to_string(), reason),
                other => panic!("{to:?}: {other:?}"),
            }
        }
    }
}
