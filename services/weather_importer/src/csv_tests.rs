use super::*;
use Quantity::*;

fn decoder(json: &str) -> CsvDecoder {
    let config: CsvConfig = serde_json::from_str(json).unwrap();
    config.check().unwrap();
    CsvDecoder::new(&config, None).unwrap()
}

fn reason(result: Result<Option<Reading>, Refusal>) -> String {
    match result {
        Err(Refusal::Line(reason)) => reason.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn columns_are_mapped_and_converted() {
    let mut decoder = decoder(
        r#"{"delimiter": "semicolon", "time": ["Date", "Time"], "time_format": "%d.%m.%Y %H:%M", "columns": {
            "temperature_C": {"column": "Out Temp", "unit": "F"}, "humidity": {"column": "Hum"},
            "wind_ms": {"column": "Wind", "unit": "mph"}}}"#,
    );
    assert_eq!(decoder.decode("# console").unwrap(), None);
    assert_eq!(
        decoder.decode("Date;Time;\"Out Temp\";Hum;Wind;Rain").unwrap(),
        None
    );
    let reading = decoder
        .decode("22.11.2026;22:00;48.7;\"22.1\";10;")
        .unwrap()
        .unwrap();
    assert_eq!(reading.time.to_string(), "2026-11-22T22:00:00Z");
    assert_eq!(
        reading.measurements,
        [(temperature_C, 9.2778), (humidity, 22.1), (wind_ms, 4.4704)].into()
    );
}

#[test]
fn times_are_utc_unless_they_name_an_offset() {
    let mut decoder = decoder("{}");
    decoder.decode("utc,temp_c").unwrap();
    for (text, time) in [
        ("2026-11-22 22:00", "2026-11-22T22:00:00Z"),
        ("2026-11-22T22:00:00.25", "2026-11-22T22:00:00.25Z"),
        ("2026-11-22T19:00:00-03:00", "2026-11-22T22:00:00Z"),
    ] {
        let reading = decoder.decode(&format!("{text},1")).unwrap().unwrap();
        assert_eq!(reading.time.to_string(), time);
    }
    assert_eq!(reason(decoder.decode("yesterday,1")), "not a time: \"yesterday\"");
}

#[test]
fn a_missing_value_is_not_a_wrong_one() {
    let mut decoder = decoder("{}");
    decoder.decode("time,temp_c,wind_ms,wind10_ms,rain_mm").unwrap();
    let reading = decoder
        .decode("2026-11-22T22:00:00Z,1,,---,n/a")
        .unwrap()
        .unwrap();
    assert_eq!(reading.measurements, [(temperature_C, 1.0)].into());
    for (field, text) in [("---", "---"), ("NaN", "NaN"), ("1e999", "1e999"), ("9,1", "9")] {
        let refused = decoder.decode(&format!("2026-11-22T22:00:00Z,{field},1,1,1"));
        assert!(refused.is_err(), "{text}");
    }
    assert_eq!(
        reason(decoder.decode("2026-11-22T22:00:00Z,1,1,x,1")),
        "10 min wind speed not a number: \"x\""
    );
}

#[test]
fn a_cut_line_and_a_joined_one_are_refused() {
    let mut decoder = decoder("{}");
    decoder.decode("time,temp_c,rain_mm").unwrap();
    assert_eq!(
        reason(decoder.decode("2026-11-22T22:00:00Z,1")),
        "one field missing: 2 of 3"
    );
    assert_eq!(
        reason(decoder.decode("2026-11-22T22:00:00Z,1,2026-11-22T22:01:00Z,1,0")),
        "two fields too many: 5 where 3 belong"
    );
    assert!(
        decoder.decode("2026-11-22T22:00:00Z,1,0,,").unwrap().is_some(),
        "empty fields at the end"
    );
}

#[test]
fn a_header_in_the_middle_changes_the_columns() {
    let mut decoder = decoder("{}");
    decoder.decode("time,temp_c").unwrap();
    decoder.decode("2026-11-22T22:00:00Z,1").unwrap();
    assert_eq!(decoder.decode("time,humidity,temp_f").unwrap(), None);
    let reading = decoder.decode("2026-11-22T22:01:00Z,20,32").unwrap().unwrap();
    assert_eq!(
        reading.measurements,
        [(humidity, 20.0), (temperature_C, 0.0)].into()
    );
    let again = CsvDecoder::new(&CsvConfig::default(), decoder.header()).unwrap();
    assert_eq!(
        again.layout, decoder.layout,
        "the next run goes on with the same columns"
    );
}

#[test]
fn a_file_that_does_not_fit_names_the_column() {
    let mut wrong = decoder(r#"{"columns": {"humidity": {"column": "rh"}}}"#);
    let Err(Refusal::File(error)) = wrong.decode("time,hum") else {
        panic!("taken")
    };
    assert_eq!(error.to_string(), "no column \"rh\" in the header \"time,hum\"");
}

#[test]
fn configuration_is_checked_without_a_file() {
    for (json, message) in [
        (
            r#"{"columns": {"pressure_Pa": {"column": "p", "unit": "mph"}}}"#,
            "csv.columns.pressure_Pa.unit: mph is no unit of pressure",
        ),
        (
            r#"{"header": false, "time": ["1"], "columns": {"humidity": {"column": "rh"}}}"#,
            "csv.columns: \"rh\" is no column number (\"1\" is the first); a header is off",
        ),
        (
            r#"{"header": false}"#,
            "csv.header: without a header csv.time and csv.columns must be given",
        ),
    ] {
        let config: CsvConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.check().unwrap_err(), message);
    }
}
