//! Reads one file from its cursor on and judges its lines.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use crate::cursor::{Cursor, FileCursor, StationCursor};
use crate::decode::{Decoder, FormatError, Refusal};
use crate::import::{Batch, FileError, Settings};
use crate::judge::{self, Age};
use crate::lines::{self, Line, MAX_LINE};
use crate::quantity::Quantity;
use crate::quarantine::Refused;
use crate::reason::Reason;
use crate::sample::{Reading, Sample, Station};
use crate::source::Source;
use crate::summary::Counts;

/// Lines that are judged, published and written down together.
const BATCH: usize = 500;

/// A file that is being read.
#[derive(Debug)]
pub(crate) struct Reader {
    source: Source,
    decoder: Decoder,
    station: Station,
    offset: u64,
    lines: u64,
    last_time: Option<Timestamp>,
    at_end: bool,
}

/// Why there is nothing to read in a file.
pub(crate) enum Rest {
    /// Not enough is there to tell what it is.
    Unwritten,
    /// It is not a station's file.
    Unknown,
    /// It ought to be one and cannot be read.
    Failed(FileError),
}

impl<E: Into<FileError>> From<E> for Rest {
    fn from(error: E) -> Self {
        match error.into() {
            FileError::Format(FormatError::Unknown) => Self::Unknown,
            error => Self::Failed(error),
        }
    }
}

impl Reader {
    /// Opens a file where the last run left it, under whatever name it had then.
    pub(crate) fn open(
        path: &Path,
        settings: &Settings,
        cursor: &mut Cursor,
        now: Timestamp,
    ) -> Result<Self, Rest> {
        let source = Source::open(path)?;
        if let Some(known) = source.find(&cursor.files)?.cloned() {
            let decoder = Decoder::new(known.format, &settings.csv, known.header.as_deref())?;
            let station = station(path, settings, decoder.station())?;
            let wanted = settings.format.is_none_or(|format| format == known.format);
            // Two stations may hold the same bytes; one and the same file keeps its place under any name.
            if wanted && (known.inode == source.inode || known.station == station) {
                if known.path != path {
                    cursor.set(FileCursor {
                        path: path.to_owned(),
                        inode: source.inode,
                        seen: now,
                        ..known.clone()
                    });
                }
                return Ok(Self {
                    source,
                    decoder,
                    station,
                    offset: known.offset,
                    lines: known.lines,
                    last_time: known.last_time,
                    at_end: false,
                });
            }
        }
        let first = source.first_lines()?;
        let format = match settings.format {
            Some(format) => format,
            None if first.len() < 2 => return Err(Rest::Unwritten),
            None => Decoder::recognise(&first, &settings.csv)?,
        };
        let decoder = Decoder::new(format, &settings.csv, None)?;
        // The station of a SURFRAD file is in its first line.
        let mut probe = decoder.clone();
        let Some(line) = first.first() else {
            return Err(Rest::Unwritten);
        };
        if probe.station().is_none() {
            let _ = probe.decode(line);
        }
        let station = station(path, settings, probe.station())?;
        Ok(Self {
            source,
            decoder,
            station,
            offset: 0,
            lines: 0,
            last_time: None,
            at_end: false,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.source.path
    }

    pub(crate) const fn at_end(&self) -> bool {
        self.at_end
    }

    /// Returns where the next run is to go on.
    pub(crate) fn cursor(&self, now: Timestamp) -> io::Result<FileCursor> {
        let (head, tail) = self.source.marks(self.offset)?;
        Ok(FileCursor {
            path: self.source.path.clone(),
            inode: self.source.inode,
            head,
            tail,
            size: self.source.size,
            offset: self.offset,
            lines: self.lines,
            station: self.station.clone(),
            format: self.decoder.format(),
            header: self.decoder.header().map(str::to_owned),
            last_time: self.last_time,
            seen: now,
        })
    }

    /// Judges the next lines, if there are any, and tells whether an unfinished one is left behind them.
    pub(crate) fn next(
        mut self,
        settings: &Settings,
        cursor: &Cursor,
        now: Timestamp,
    ) -> Result<(Option<Batch>, bool), FileError> {
        let chunk = lines::read(&self.source.file, self.offset, BATCH)?;
        if chunk.lines.is_empty() {
            return Ok((None, chunk.unfinished));
        }
        self.at_end = chunk.at_end;
        let known = cursor.stations.get(&self.station).cloned().unwrap_or_default();
        let mut judged = Judged {
            settings,
            now,
            known,
            times: BTreeSet::new(),
            samples: Vec::new(),
            counts: Counts::default(),
        };
        let mut refused = Vec::new();
        for line in chunk.lines {
            self.offset += line.length;
            self.lines += 1;
            let verdict = match self.decode(&line) {
                Ok(None) => continue,
                Ok(Some(reading)) => {
                    self.last_time = Some(reading.time);
                    judged.take(&self.station, reading)
                }
                Err(Refusal::Line(reason)) => Err(reason),
                Err(Refusal::File(error)) => return Err(error.into()),
            };
            judged.counts.read += 1;
            if let Err(reason) = verdict {
                judged.counts.refused += 1;
                refused.push(Refused::new(
                    self.path(),
                    self.lines,
                    reason.to_string(),
                    &line.bytes,
                    now,
                ));
            }
        }
        let Judged {
            known,
            samples,
            counts,
            ..
        } = judged;
        let station = self.station.clone();
        let batch = Batch {
            station,
            samples,
            refused,
            wind: known.wind,
            counts,
            reader: self,
        };
        Ok((Some(batch), chunk.unfinished))
    }

    fn decode(&mut self, line: &Line) -> Result<Option<Reading>, Refusal> {
        if line.cut {
            return Err(Reason::TooLong(MAX_LINE).into());
        }
        self.decoder
            .decode(std::str::from_utf8(&line.bytes).map_err(|_| Reason::NotText)?)
    }
}

/// The station by configuration, else by the file's header, else by its name up to the first dot.
fn station(path: &Path, settings: &Settings, header: Option<Station>) -> Result<Station, FormatError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = || Station::new(name.split('.').next().unwrap_or_default());
    let station = settings.station.clone().or(header).or_else(stem);
    station.ok_or_else(|| FormatError::NoStation(name.into_owned()))
}

/// The readings of one batch, as they are judged one after the other.
struct Judged<'a> {
    settings: &'a Settings,
    now: Timestamp,
    known: StationCursor,
    times: BTreeSet<Timestamp>,
    samples: Vec<Sample>,
    counts: Counts,
}

impl Judged<'_> {
    fn take(&mut self, station: &Station, reading: Reading) -> Result<(), Reason> {
        let Reading {
            time,
            mut measurements,
        } = reading;
        // The wire knows whole microseconds, so the identity must not know more.
        let time = Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time);
        match self.settings.limits.age(time, self.now) {
            Age::Future(reason) => return Err(reason),
            Age::TooOld => {
                self.counts.too_old += 1;
                return Ok(());
            }
            Age::Fit => {}
        }
        if let Some(&speed) = measurements.get(&Quantity::wind_ms)
            && judge::believable(Quantity::wind_ms, speed).is_ok()
        {
            self.known.wind.add(time, speed);
        }
        if !measurements.contains_key(&Quantity::wind_10min_ms)
            && let Some(mean) = self.known.wind.mean(time)
        {
            measurements.insert(Quantity::wind_10min_ms, mean);
        }
        judge::values(&measurements)?;
        if self.known.published.contains(time) || self.times.contains(&time) {
            self.counts.duplicates += 1;
            return Ok(());
        }
        self.times.insert(time);
        self.samples.push(Sample {
            station: station.clone(),
            time,
            measurements,
        });
        Ok(())
    }
}
