//! What a weather station measures, and the units in which its files give it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A measured quantity, under the name and in the unit that readers of `telemetry.weather.>` expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[expect(
    non_camel_case_types,
    reason = "the names travel on the wire and carry SI units"
)]
pub enum Quantity {
    /// Air temperature, degrees Celsius.
    temperature_C,
    /// Relative humidity, per cent.
    humidity,
    /// Wind speed at the sample's time, m/s.
    wind_ms,
    /// Mean wind speed of the last ten minutes, m/s.
    wind_10min_ms,
    /// Direction from which the wind blows, degrees.
    wind_dir_deg,
    /// Pressure at the station, not reduced to sea level, Pa.
    pressure_Pa,
    /// Change of the pressure, Pa in three hours.
    bar_trend,
    /// Rain since the last sample or reset of the station, mm.
    rain_mm,
    /// Rain of the day, mm.
    rain_day_mm,
    /// Temperature at the console, degrees Celsius.
    indoor_temperature_C,
    /// Relative humidity at the console, per cent.
    indoor_humidity,
}

use Quantity::*;

impl Quantity {
    /// The quantities without which a record is of no use to its readers.
    pub const REQUIRED: [Self; 5] = [temperature_C, humidity, wind_10min_ms, wind_dir_deg, pressure_Pa];

    /// All quantities.
    pub const ALL: [Self; 11] = [
        temperature_C,
        humidity,
        wind_ms,
        wind_10min_ms,
        wind_dir_deg,
        pressure_Pa,
        bar_trend,
        rain_mm,
        rain_day_mm,
        indoor_temperature_C,
        indoor_humidity,
    ];

    /// Returns the closed range of believable values, in the quantity's own unit.
    pub const fn range(self) -> Option<(f64, f64)> {
        match self {
            temperature_C => Some((-40.0, 50.0)),
            humidity => Some((0.0, 105.0)),
            wind_ms | wind_10min_ms => Some((0.0, 75.0)),
            wind_dir_deg => Some((0.0, 360.0)),
            pressure_Pa => Some((40_000.0, 110_000.0)),
            bar_trend | rain_mm | rain_day_mm | indoor_temperature_C | indoor_humidity => None,
        }
    }

    /// Returns the unit of the quantity on the wire.
    pub const fn unit(self) -> Unit {
        match self {
            temperature_C | indoor_temperature_C => Unit::Celsius,
            humidity | indoor_humidity => Unit::Percent,
            wind_ms | wind_10min_ms => Unit::MetrePerSecond,
            wind_dir_deg => Unit::Degree,
            pressure_Pa | bar_trend => Unit::Pascal,
            rain_mm | rain_day_mm => Unit::Millimetre,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            temperature_C => "temperature",
            humidity => "humidity",
            wind_ms => "wind speed",
            wind_10min_ms => "10 min wind speed",
            wind_dir_deg => "wind direction",
            pressure_Pa => "pressure",
            bar_trend => "pressure trend",
            rain_mm => "rain",
            rain_day_mm => "rain of the day",
            indoor_temperature_C => "indoor temperature",
            indoor_humidity => "indoor humidity",
        })
    }
}

/// A unit of a column in a station's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    /// Degrees Celsius.
    #[serde(rename = "C")]
    Celsius,
    /// Degrees Fahrenheit.
    #[serde(rename = "F")]
    Fahrenheit,
    /// Kelvin.
    #[serde(rename = "K")]
    Kelvin,
    /// Per cent.
    #[serde(rename = "%")]
    Percent,
    /// A share of 1.
    #[serde(rename = "fraction")]
    Fraction,
    /// Metres per second.
    #[serde(rename = "m/s")]
    MetrePerSecond,
    /// Kilometres per hour.
    #[serde(rename = "km/h")]
    KilometrePerHour,
    /// Miles per hour.
    #[serde(rename = "mph")]
    MilePerHour,
    /// Knots.
    #[serde(rename = "kn")]
    Knot,
    /// Degrees of angle.
    #[serde(rename = "deg")]
    Degree,
    /// Pascal.
    #[serde(rename = "Pa")]
    Pascal,
    /// Hectopascal, which is the millibar.
    #[serde(rename = "hPa")]
    Hectopascal,
    /// Inches of mercury.
    #[serde(rename = "inHg")]
    InchOfMercury,
    /// Millimetres.
    #[serde(rename = "mm")]
    Millimetre,
    /// Inches.
    #[serde(rename = "in")]
    Inch,
}

impl Unit {
    /// Returns the value in the unit that the quantity has on the wire, or nothing when this unit cannot measure it.
    pub fn convert(self, value: f64, quantity: Quantity) -> Option<f64> {
        let target = quantity.unit();
        if self == target {
            return Some(value);
        }
        let converted = match (self, target) {
            (Self::Fahrenheit, Self::Celsius) => (value - 32.0) * 5.0 / 9.0,
            (Self::Kelvin, Self::Celsius) => value - 273.15,
            (Self::Fraction, Self::Percent) => value * 100.0,
            (Self::KilometrePerHour, Self::MetrePerSecond) => value / 3.6,
            (Self::MilePerHour, Self::MetrePerSecond) => value * 0.44704,
            (Self::Knot, Self::MetrePerSecond) => value * 1852.0 / 3600.0,
            (Self::Hectopascal, Self::Pascal) => value * 100.0,
            (Self::InchOfMercury, Self::Pascal) => value * 3386.389,
            (Self::Inch, Self::Millimetre) => value * 25.4,
            _ => return None,
        };
        Some(round(converted, 4))
    }
}

/// Rounds to a number of decimals, so that a conversion leaves no tail of binary digits.
pub(crate) fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_converted_to_those_of_the_wire() {
        for (unit, value, quantity, expected) in [
            (Unit::Fahrenheit, 48.7, temperature_C, 9.2778),
            (Unit::Kelvin, 273.15, temperature_C, 0.0),
            (Unit::MilePerHour, 10.5, wind_10min_ms, 4.6939),
            (Unit::KilometrePerHour, 36.0, wind_ms, 10.0),
            (Unit::Knot, 10.0, wind_ms, 5.1444),
            (Unit::Hectopascal, 773.5, pressure_Pa, 77350.0),
            (Unit::InchOfMercury, 21.421, pressure_Pa, 72539.8388),
            (Unit::Inch, 1.0, rain_mm, 25.4),
            (Unit::Fraction, 0.22, humidity, 22.0),
        ] {
            assert_eq!(unit.convert(value, quantity), Some(expected), "{unit:?}");
        }
        assert_eq!(Unit::MilePerHour.convert(1.0, pressure_Pa), None);
    }

    #[test]
    fn names_are_those_of_the_wire() {
        assert_eq!(
            serde_json::to_string(&wind_10min_ms).unwrap(),
            "\"wind_10min_ms\""
        );
    }
}
