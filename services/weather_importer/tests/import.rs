//! Whole runs over real and faulty files. What a run would publish is kept in a list that stands for the stream.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;
use weather_importer::{
    Counts, CsvConfig, Import, ImportError, Limits, Quantity, Reconciled, Sample, Settings, Station, Summary,
};

const DAY: Duration = Duration::from_secs(86_400);
const HEADER: &str = "time,temp_c,hum_pct,wind_ms,wind10_ms,wind_dir,press_hpa\n";

/// A directory of files, a state directory and the records that were published.
struct Site {
    root: tempfile::TempDir,
    now: Timestamp,
    settings: Settings,
    stream: Vec<Sample>,
}

impl Site {
    fn new(now: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("in")).unwrap();
        fs::create_dir(root.path().join("state")).unwrap();
        let settings = Settings {
            path: root.path().join("in"),
            station: None,
            format: None,
            csv: CsvConfig::default(),
            limits: Limits {
                clock_skew: Duration::from_secs(300),
                max_age: 30 * DAY,
            },
        };
        Self {
            root,
            now: now.parse().unwrap(),
            settings,
            stream: Vec::new(),
        }
    }

    /// The day of the fixtures.
    fn evening() -> Self {
        Self::new("2026-11-22T22:10:30Z")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("in").join(name)
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.file(name), text).unwrap();
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.file(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn open(&self) -> Import {
        Import::open(self.settings.clone(), &self.state(), self.now).unwrap()
    }

    fn last(&self, station: &Station) -> Option<Timestamp> {
        self.stream
            .iter()
            .rev()
            .find(|sample| sample.station == *station)
            .map(|sample| sample.time)
    }

    fn run(&mut self) -> Summary {
        self.run_until(usize::MAX).unwrap()
    }

    /// Runs until so many records are published, and gives nothing when the run was cut off there.
    fn run_until(&mut self, limit: usize) -> Option<Summary> {
        let mut import = self.open();
        while let Some(mut batch) = import.next_batch() {
            if import.needs_last(&batch) {
                let last = self.last(&batch.station);
                import.reconcile(&mut batch, last);
            }
            import.prepare(&batch).unwrap();
            for sample in &batch.samples {
                if self.stream.len() == limit {
                    return None;
                }
                self.stream.push(sample.clone());
            }
            import.commit(batch).unwrap();
        }
        Some(import.finish().unwrap())
    }

    fn minutes(&self) -> Vec<String> {
        self.stream
            .iter()
            .map(|sample| sample.time.strftime("%H:%M").to_string())
            .collect()
    }

    fn quarantine(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.state().join("quarantine.jsonl")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn data(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(name),
    )
    .unwrap()
}

fn expected(name: &str) -> Value {
    serde_json::from_slice::<Value>(&data("expected.json")).unwrap()[name].take()
}

fn line(minute: u32) -> String {
    format!("2026-11-22T22:{minute:02}:00Z,9.3,22,4.7,4.5,12,725.4\n")
}

/// A record as it stands in `expected.json`.
fn as_expected(sample: &Sample) -> Value {
    let time = sample.time.to_zoned(jiff::tz::TimeZone::UTC);
    serde_json::json!({
        "ts": [time.year(), time.month(), time.day(), time.hour(), time.minute(), time.second(), 0],
        "measurements": sample.measurements,
    })
}

#[test]
fn a_surfrad_day_is_read_as_expected() {
    let expected = expected("surfrad-slv16001.dat");
    let mut site = Site::new("2016-01-02T00:00:00Z");
    site.write("slv16001.dat", data("surfrad-slv16001.dat"));
    let summary = site.run();

    assert_eq!(site.stream.len() as u64, expected["messages"].as_u64().unwrap());
    assert_eq!(
        summary.counts,
        Counts {
            read: 1440,
            published: 1440,
            ..Counts::default()
        }
    );
    assert_eq!(as_expected(&site.stream[0]), expected["first"]);
    assert_eq!(as_expected(&site.stream[1]), expected["second"]);
    assert_eq!(
        as_expected(&site.stream[1439]),
        expected["last"],
        "the mean wind goes on over batches"
    );
    assert!(
        site.stream
            .iter()
            .all(|sample| sample.station.as_str() == "alamosa")
    );
    let values = |name: &str| -> Vec<f64> {
        site.stream
            .iter()
            .map(|sample| as_expected(sample)["measurements"][name].as_f64().unwrap())
            .collect()
    };
    let (wind, means) = (values("wind_ms"), values("wind_10min_ms"));
    for (index, mean) in means.iter().enumerate() {
        let window = &wind[index.saturating_sub(9)..=index];
        let expected = window.iter().sum::<f64>() / window.len() as f64;
        assert!(
            (mean - expected).abs() < 1e-6,
            "mean wind of minute {index}: {mean}, not {expected}"
        );
    }
    let max_wind = means.into_iter().fold(f64::MIN, f64::max);
    assert_eq!(max_wind, expected["max_wind_10min_ms"].as_f64().unwrap());
    let min_temperature = values("temperature_C").into_iter().fold(f64::MAX, f64::min);
    assert_eq!(min_temperature, expected["min_temperature_C"].as_f64().unwrap());

    assert_eq!(site.run().counts, Counts::default(), "a second run reads nothing");
    assert_eq!(site.stream.len(), 1440);
    let size = fs::metadata(site.state().join("cursor.json")).unwrap().len();
    assert!(size < 4096, "the cursor of a regular day is small: {size}");
}

#[test]
fn the_faulty_csv_is_read_as_expected() {
    let expected = expected("station.csv");
    let mut site = Site::evening();
    site.write("station.csv", data("station.csv"));
    let summary = site.run();

    let order: Vec<&str> = expected["messages_ts_in_order_of_publication"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    assert_eq!(site.minutes(), order);
    let duplicates = expected["duplicates_dropped"].as_u64().unwrap();
    assert_eq!(
        summary.counts,
        Counts {
            read: 11,
            published: 6,
            duplicates,
            refused: 4,
            late: 1,
            too_old: 0,
            deferred: 1
        }
    );
    assert!(summary.degraded(0.1));
    let quarantine = site.quarantine();
    assert_eq!(quarantine.len(), 4);
    for (time, reason) in expected["malformed"].as_object().unwrap() {
        let found = quarantine
            .iter()
            .find(|line| line["text"].as_str().unwrap().contains(time.as_str()))
            .unwrap();
        let text = found["reason"].as_str().unwrap();
        assert!(text.starts_with(reason.as_str().unwrap()), "{time}: {text}");
    }
    assert_eq!(quarantine[0]["line"], 8);
    assert_eq!(
        quarantine[0]["text"],
        "2026-11-22T22:04:00Z,---,23,5.1,4.6,11,725.3"
    );

    // The last line is finished, and one more written.
    assert_eq!(
        site.run().counts,
        Counts {
            deferred: 1,
            ..Counts::default()
        }
    );
    site.append(
        "station.csv",
        "5.2\n2026-11-22T22:11:00Z,9.0,24,6.0,5.1,9,725.2\n",
    );
    let counts = site.run().counts;
    assert_eq!(
        counts,
        Counts {
            read: 2,
            published: 2,
            ..Counts::default()
        }
    );
    assert_eq!(
        site.stream.last().unwrap().message_id(),
        "wx:station:2026-11-22T22:11:00Z"
    );
    assert_eq!(site.quarantine().len(), 4, "nothing is set aside twice");
}

#[test]
fn the_padded_records_are_all_read_and_none_is_fit() {
    let mut site = Site::new("2020-07-06T14:00:00Z");
    site.write("crn.txt", data("crn_with_problems.txt"));
    let summary = site.run();
    assert_eq!(
        (summary.unknown.len(), summary.counts),
        (1, Counts::default()),
        "it is no format that is recognised"
    );

    site.settings.csv = serde_json::from_value(serde_json::json!({
        "delimiter": "blanks", "header": false, "time": ["2", "3"], "time_format": "%Y%m%d %H%M",
        "columns": {"temperature_C": {"column": "9"}, "humidity": {"column": "15"}, "wind_ms": {"column": "22"}},
    })).unwrap();
    let summary = site.run();
    assert_eq!(
        summary.counts,
        Counts {
            read: 3,
            refused: 3,
            ..Counts::default()
        }
    );
    let quarantine = site.quarantine();
    assert_eq!(quarantine[1]["reason"], "wind direction, pressure missing");
    assert!(
        quarantine[1]["text"].as_str().unwrap().len() > 1700,
        "the line is kept as it is"
    );
}

#[test]
fn a_file_that_grows_is_read_from_where_it_was_left() {
    let mut site = Site::evening();
    site.write("davis.csv", format!("{HEADER}{}", line(0)));
    site.run();
    for minute in 1..4 {
        site.append("davis.csv", &line(minute));
        assert_eq!(
            site.run().counts,
            Counts {
                read: 1,
                published: 1,
                ..Counts::default()
            }
        );
    }
    assert_eq!(site.minutes(), ["22:00", "22:01", "22:02", "22:03"]);
}

#[test]
fn the_mean_wind_goes_on_from_run_to_run() {
    let mut site = Site::evening();
    site.write("davis.csv", "time,temp_c,hum_pct,wind_ms,wind_dir,press_hpa\n");
    for (minute, wind) in [(0, 9), (1, 2), (10, 4)] {
        site.append(
            "davis.csv",
            &format!("2026-11-22T22:{minute:02}:00Z,9.3,22,{wind},12,725.4\n"),
        );
        site.run();
    }
    let means: Vec<f64> = site
        .stream
        .iter()
        .map(|sample| sample.measurements[&Quantity::wind_10min_ms])
        .collect();
    assert_eq!(means, [9.0, 5.5, 3.0]);
}

#[test]
fn rotation_by_rename_loses_and_doubles_nothing() {
    let mut site = Site::evening();
    site.write("davis.csv", format!("{HEADER}{}nonsense\n", line(0)));
    site.run();
    site.append("davis.csv", &line(1));
    for (minute, (from, to)) in [("davis.csv", "davis.csv.1"), ("davis.csv.1", "davis.csv.2")]
        .iter()
        .enumerate()
    {
        fs::rename(site.file(from), site.file(to)).unwrap();
        if minute == 0 {
            site.write("davis.csv", format!("{HEADER}{}", line(2)));
        }
        site.run();
    }
    site.append("davis.csv", &line(3));
    site.append("davis.csv.2", &line(4));
    site.run();
    let mut minutes = site.minutes();
    minutes.sort();
    assert_eq!(minutes, ["22:00", "22:01", "22:02", "22:03", "22:04"]);
    assert_eq!(site.quarantine().len(), 1, "a renamed file is not read again");
}

#[test]
fn rotation_by_copy_and_truncation_loses_and_doubles_nothing() {
    let mut site = Site::evening();
    site.write("davis.csv", format!("{HEADER}{}nonsense\n", line(0)));
    site.run();
    site.append("davis.csv", &line(1));
    fs::copy(site.file("davis.csv"), site.file("davis.csv.1")).unwrap();
    site.write("davis.csv", HEADER);
    site.run();
    site.append("davis.csv", &line(2));
    let counts = site.run().counts;
    assert_eq!(
        counts,
        Counts {
            read: 1,
            published: 1,
            ..Counts::default()
        }
    );
    assert_eq!(site.minutes(), ["22:00", "22:01", "22:02"]);
    assert_eq!(site.quarantine().len(), 1, "the copy is known by its content");
}

#[test]
fn a_truncated_and_a_recreated_file_are_read_anew() {
    let mut site = Site::evening();
    site.write("davis.csv", format!("{HEADER}{}{}{}", line(0), line(1), line(2)));
    site.run();
    // Truncated and longer than before when it is looked at again.
    site.write(
        "davis.csv",
        format!("{HEADER}{}{}{}{}", line(3), line(1), line(4), line(5)),
    );
    let counts = site.run().counts;
    assert_eq!(
        counts,
        Counts {
            read: 4,
            published: 3,
            duplicates: 1,
            ..Counts::default()
        }
    );
    fs::remove_file(site.file("davis.csv")).unwrap();
    site.write("davis.csv", format!("{HEADER}{}{}", line(5), line(6)));
    let counts = site.run().counts;
    assert_eq!(
        counts,
        Counts {
            read: 2,
            published: 1,
            duplicates: 1,
            ..Counts::default()
        }
    );
    assert_eq!(
        site.minutes(),
        ["22:00", "22:01", "22:02", "22:03", "22:04", "22:05", "22:06"]
    );
}

#[test]
fn a_line_mended_in_place_is_read() {
    let mut site = Site::evening();
    let lines: String = (0..60)
        .map(|minute| line(minute).replace("22T22", "22T21"))
        .collect();
    let cut = "2026-11-22T21:59";
    site.write(
        "davis.csv",
        format!("{HEADER}{}", lines.replace(cut, "2026-11-22?21:59")),
    );
    assert_eq!(
        site.run().counts,
        Counts {
            read: 60,
            published: 59,
            refused: 1,
            ..Counts::default()
        }
    );
    site.write("davis.csv", format!("{HEADER}{lines}"));
    assert_eq!(
        site.run().counts,
        Counts {
            read: 60,
            published: 1,
            duplicates: 59,
            ..Counts::default()
        }
    );
}

#[test]
fn a_day_that_is_read_again_is_not_published_again() {
    let mut site = Site::new("2016-01-02T00:00:00Z");
    let text = String::from_utf8(data("surfrad-slv16001.dat")).unwrap();
    site.write("slv16001.dat", &text);
    site.run();
    site.write("slv16001.dat", text.replacen("version 1", "version 2", 1));
    assert_eq!(
        site.run().counts,
        Counts {
            read: 1440,
            duplicates: 1440,
            ..Counts::default()
        }
    );
}

#[test]
fn two_stations_with_the_same_lines_are_both_read() {
    let mut site = Site::evening();
    site.write("east.csv", format!("{HEADER}{}", line(0)));
    site.run();
    site.write("west.csv", format!("{HEADER}{}", line(0)));
    site.run();
    let ids: Vec<String> = site.stream.iter().map(Sample::message_id).collect();
    assert_eq!(
        ids,
        ["wx:east:2026-11-22T22:00:00Z", "wx:west:2026-11-22T22:00:00Z"]
    );
}

#[test]
fn a_run_cut_off_anywhere_is_completed_without_a_double() {
    let mut whole = Site::evening();
    whole.write("station.csv", data("station.csv"));
    whole.run();
    for limit in 0..=whole.stream.len() {
        let mut site = Site::evening();
        site.write("station.csv", data("station.csv"));
        let cut = site.run_until(limit).is_none();
        assert_eq!(cut, limit < whole.stream.len());
        site.run();
        assert_eq!(site.stream, whole.stream, "cut off after {limit}");
        assert_eq!(site.quarantine().len(), 4);
    }
}

#[test]
fn a_run_that_is_given_up_counts_what_it_committed_and_the_next_one_goes_on() {
    let mut site = Site::evening();
    for (name, minute) in [("a.csv", 1), ("b.csv", 2)] {
        site.write(name, format!("{HEADER}{}", line(minute)));
    }
    let mut import = site.open();
    let first = import.next_batch().unwrap();
    import.prepare(&first).unwrap();
    site.stream.extend(first.samples.clone());
    import.commit(first).unwrap();
    let second = import.next_batch().unwrap();
    import.prepare(&second).unwrap();
    let given_up = import.give_up().counts;
    assert_eq!((given_up.read, given_up.published), (1, 1));
    drop(second);
    let rest = site.run().counts;
    assert_eq!((rest.read, rest.published, site.stream.len()), (1, 1, 2));
}

#[test]
fn a_run_cut_off_before_its_commit_is_not_quarantined_twice() {
    let mut site = Site::evening();
    site.write("station.csv", format!("{HEADER}nonsense\n"));
    site.run();
    // What a run leaves that died between the quarantine and the cursor.
    let path = site.state().join("quarantine.jsonl");
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"half\":");
    fs::write(&path, text).unwrap();
    site.append("station.csv", "more nonsense\n");
    site.run();
    let lines: Vec<Value> = site.quarantine();
    assert_eq!(
        lines
            .iter()
            .map(|line| line["line"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [2, 3]
    );
}

#[test]
fn a_lost_state_directory_doubles_nothing() {
    let mut site = Site::evening();
    site.write("davis.csv", format!("{HEADER}{}{}", line(0), line(1)));
    site.run();
    fs::remove_file(site.state().join("cursor.json")).unwrap();
    site.append("davis.csv", &line(2));

    let mut import = site.open();
    let mut batch = import.next_batch().unwrap();
    let last = site.last(&batch.station);
    assert_eq!(
        import.reconcile(&mut batch, last),
        Reconciled::Behind("2026-11-22T22:01:00Z".parse().unwrap())
    );
    assert_eq!(batch.samples.len(), 1);
    drop(import);
    site.run();
    assert_eq!(site.minutes(), ["22:00", "22:01", "22:02"]);
}

#[test]
fn old_records_are_left_alone_without_being_called_wrong() {
    let mut site = Site::new("2026-12-22T22:01:00Z");
    site.write("davis.csv", format!("{HEADER}{}{}{}", line(0), line(1), line(2)));
    let summary = site.run();
    assert_eq!(
        summary.counts,
        Counts {
            read: 3,
            published: 2,
            too_old: 1,
            ..Counts::default()
        }
    );
    assert!(!summary.degraded(0.0));
}

#[test]
fn another_run_is_kept_out() {
    let site = Site::evening();
    let _first = site.open();
    let second = Import::open(site.settings.clone(), &site.state(), site.now);
    assert!(matches!(second, Err(ImportError::Busy { .. })));
}

#[test]
fn a_missing_directory_is_told() {
    let mut site = Site::evening();
    site.settings.path = site.file("nowhere");
    let error = Import::open(site.settings.clone(), &site.state(), site.now).unwrap_err();
    assert!(matches!(&error, ImportError::Source { .. }), "{error}");
    assert!(error.to_string().ends_with("/in/nowhere"), "{error}");
}

#[test]
fn a_file_that_does_not_fit_a_map_fails_and_others_are_read() {
    let mut site = Site::evening();
    site.settings.csv.time = vec!["time".to_owned()];
    site.write("bad.csv", "when,temp_c\n1,2\n");
    site.write("good.csv", format!("{HEADER}{}", line(0)));
    let summary = site.run();
    assert_eq!(summary.counts.published, 1);
    assert!(summary.degraded(1.0));
    assert_eq!(
        summary.failed[0].1.to_string(),
        "no column \"time\" in the header \"when,temp_c\""
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_in_any_format_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..400, surfrad: bool) {
        let mut site = Site::evening();
        let head = if surfrad { " Alamosa\n 37.70 105.92 2317 m version 1\n" } else { HEADER };
        let mut content = head.as_bytes().to_vec();
        content.extend_from_slice(&bytes[..cut.min(bytes.len())]);
        site.write("station.csv", &content);
        site.run();
        content.extend_from_slice(&bytes[cut.min(bytes.len())..]);
        content.push(b'\n');
        content.extend_from_slice(line(0).as_bytes());
        site.write("station.csv", &content);
        let counts = site.run().counts;
        prop_assert_eq!(counts.deferred, 0);
        prop_assert_eq!(site.stream.len(), usize::from(!surfrad), "the good line behind the bad ones is found");
    }

    #[test]
    fn a_spoilt_real_file_does_no_harm(position in 0usize..4000, byte: u8) {
        let mut content = data("surfrad-slv16001.dat")[..4000].to_vec();
        content[position] = byte;
        let mut site = Site::new("2016-01-02T00:00:00Z");
        site.write("day.dat", &content);
        let counts = site.run().counts;
        prop_assert!(counts.read == counts.published + counts.refused + counts.duplicates + counts.too_old);
    }
}
