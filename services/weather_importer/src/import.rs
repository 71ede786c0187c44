//! One run over all files.
//!
//! The cursor moves only with [`Import::commit`], which takes the batch: call it when every record of the batch is
//! acknowledged. Whatever ends a run before that, the next one reads the same lines again, and the stream's last
//! record tells how many of the batch's had arrived ([`Import::reconcile`]).

use std::collections::{BTreeSet, VecDeque};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::csv::CsvConfig;
use crate::cursor::{Cursor, CursorError};
use crate::decode::{Format, FormatError};
use crate::judge::Limits;
use crate::quarantine::{self, Refused};
use crate::reader::{Reader, Rest};
use crate::sample::{Sample, Station};
use crate::source;
use crate::summary::{Counts, Summary};
use crate::wind::WindWindow;

/// What is to be imported.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory of the stations' files, or one file.
    pub path: PathBuf,
    /// Whose records they are; none: the files' headers or names tell.
    pub station: Option<Station>,
    /// Their format; none: each file is looked at.
    pub format: Option<Format>,
    /// How CSV is read.
    pub csv: CsvConfig,
    /// Which times are taken.
    pub limits: Limits,
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The directory is not there or cannot be read.
    #[error("cannot read the stations' files in {path}")]
    Source {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another run is at work.
    #[error("another run holds {path}")]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The state directory cannot be used.
    #[error("cannot write {path} in the state directory")]
    State {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The memory of earlier runs cannot be used.
    #[error(transparent)]
    Cursor(#[from] CursorError),
}

/// Some lines of one file, judged.
#[derive(Debug)]
pub struct Batch {
    /// Whose they are.
    pub station: Station,
    /// What is to be published, in this order.
    pub samples: Vec<Sample>,
    /// What was refused.
    pub refused: Vec<Refused>,
    pub(crate) wind: WindWindow,
    pub(crate) counts: Counts,
    pub(crate) reader: Reader,
}

/// What the stream's last record told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciled {
    /// The cursor was right.
    Agreed,
    /// A run that did not end had published this many.
    Resumed(usize),
    /// The stream is ahead of the cursor: everything up to this time counts as published.
    Behind(Timestamp),
}

/// A run. It reads and writes files without giving way, so keep it off an async runtime's thread.
#[derive(Debug)]
pub struct Import {
    settings: Settings,
    state: PathBuf,
    now: Timestamp,
    cursor: Cursor,
    files: VecDeque<PathBuf>,
    reader: Option<Reader>,
    confirmed: BTreeSet<Station>,
    summary: Summary,
    changed: bool,
    /// Held until the run is dropped.
    _lock: File,
}

impl Import {
    /// Starts a run at a given time.
    ///
    /// # Errors
    /// The directory cannot be read, another run is at work, or the state directory cannot be used.
    pub fn open(settings: Settings, state: &Path, now: Timestamp) -> Result<Self, ImportError> {
        let lock = lock(&state.join("lock"))?;
        let cursor = Cursor::load(state)?;
        if let Some(size) = cursor.quarantine_size {
            quarantine::roll_back(state, size).map_err(|source| quarantine_error(state, source))?;
        }
        let files = source::list(&settings.path).map_err(|source| ImportError::Source {
            path: settings.path.clone(),
            source,
        })?;
        Ok(Self {
            settings,
            state: state.to_owned(),
            now,
            cursor,
            files: files.into(),
            reader: None,
            confirmed: BTreeSet::new(),
            summary: Summary::default(),
            changed: false,
            _lock: lock,
        })
    }

    /// Reads and judges the next lines; nothing when all files are read.
    pub fn next_batch(&mut self) -> Option<Batch> {
        loop {
            let Some(reader) = self.reader.take() else {
                let path = self.files.pop_front()?;
                match Reader::open(&path, &self.settings, &mut self.cursor, self.now) {
                    Ok(reader) => self.reader = Some(reader),
                    Err(Rest::Unwritten) => {}
                    Err(Rest::Unknown) => self.summary.unknown.push(path),
                    Err(Rest::Failed(error)) => self.summary.failed.push((path, error)),
                }
                continue;
            };
            let path = reader.path().to_owned();
            match reader.next(&self.settings, &self.cursor, self.now) {
                Ok((batch, unfinished)) => {
                    self.summary.counts.deferred += u64::from(unfinished);
                    if let Some(batch) = batch {
                        return Some(batch);
                    }
                }
                Err(error) => self.summary.failed.push((path, error)),
            }
        }
    }

    /// Returns whether the stream's last record of the batch's station must be asked for before it is published.
    pub fn needs_last(&self, batch: &Batch) -> bool {
        !batch.samples.is_empty() && !self.confirmed.contains(&batch.station)
    }

    /// Compares the cursor with the time of the stream's last record of the batch's station, and takes out of the batch
    /// what was published already: by a run that did not end, or before the state directory was lost.
    pub fn reconcile(&mut self, batch: &mut Batch, last: Option<Timestamp>) -> Reconciled {
        let pending = self.cursor.pending.remove(&batch.station).unwrap_or_default();
        let published = &mut self
            .cursor
            .stations
            .entry(batch.station.clone())
            .or_default()
            .published;
        let mut found = Reconciled::Agreed;
        if let Some(last) = last {
            if let Some(position) = pending.iter().position(|time| *time == last) {
                let new = pending[..=position]
                    .iter()
                    .filter(|time| published.insert(**time))
                    .count();
                found = if new > 0 {
                    Reconciled::Resumed(new)
                } else {
                    Reconciled::Agreed
                };
            } else if published.last().is_none_or(|newest| last > newest) {
                // A record from the future, whoever published it, must not stop us until then.
                let last = last.min(
                    self.now
                        .saturating_add(self.settings.limits.clock_skew)
                        .unwrap_or(last),
                );
                published.cover(self.settings.limits.horizon(self.now), last);
                found = Reconciled::Behind(last);
            }
        }
        let before = batch.samples.len();
        batch.samples.retain(|sample| !published.contains(sample.time));
        batch.counts.duplicates += (before - batch.samples.len()) as u64;
        self.confirmed.insert(batch.station.clone());
        found
    }

    /// Writes down what is about to be published.
    ///
    /// # Errors
    /// The cursor cannot be written.
    pub fn prepare(&mut self, batch: &Batch) -> Result<(), ImportError> {
        if batch.samples.is_empty() {
            return Ok(());
        }
        let times = batch.samples.iter().map(|sample| sample.time).collect();
        self.cursor.pending.insert(batch.station.clone(), times);
        Ok(self.cursor.save(&self.state)?)
    }

    /// Moves the cursor behind a batch of which every record is acknowledged.
    ///
    /// # Errors
    /// The quarantine or the cursor cannot be written.
    pub fn commit(&mut self, batch: Batch) -> Result<(), ImportError> {
        let Batch {
            station,
            samples,
            refused,
            wind,
            counts,
            reader,
        } = batch;
        if !refused.is_empty() {
            let size = quarantine::append(&self.state, &refused)
                .map_err(|source| quarantine_error(&self.state, source))?;
            self.cursor.quarantine_size = Some(size);
        }
        let known = self.cursor.stations.entry(station.clone()).or_default();
        for sample in &samples {
            self.summary.counts.late +=
                u64::from(known.published.last().is_some_and(|newest| sample.time < newest));
            known.published.insert(sample.time);
        }
        known.wind = wind;
        if !samples.is_empty() {
            self.cursor.pending.remove(&station);
        }
        match reader.cursor(self.now) {
            Ok(cursor) => self.cursor.set(cursor),
            Err(source) => {
                return Err(ImportError::Source {
                    path: reader.path().to_owned(),
                    source,
                });
            }
        }
        self.cursor.save(&self.state)?;
        self.changed = true;
        self.summary.counts += counts;
        self.summary.counts.published += samples.len() as u64;
        self.reader = (!reader.at_end()).then_some(reader);
        Ok(())
    }

    /// Ends the run.
    ///
    /// # Errors
    /// The cursor cannot be written.
    pub fn finish(mut self) -> Result<Summary, ImportError> {
        // Once a day is enough to know which files are still there.
        let day = SignedDuration::from_hours(24);
        let stale = self
            .cursor
            .files
            .iter()
            .any(|file| self.now.duration_since(file.seen) >= day);
        if self.changed || stale {
            for file in self.cursor.files.iter_mut().filter(|file| file.path.exists()) {
                file.seen = self.now;
            }
            self.cursor
                .forget(self.settings.limits.horizon(self.now), self.now);
            self.cursor.save(&self.state)?;
        }
        Ok(self.summary)
    }

    /// Gives the run up between two batches or within one: what was committed stands, the next run does the rest.
    pub fn give_up(self) -> Summary {
        self.summary
    }
}

fn lock(path: &Path) -> Result<File, ImportError> {
    let open = || {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
    };
    let file = open().map_err(|source| ImportError::State {
        path: path.to_owned(),
        source,
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ImportError::Busy {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(ImportError::State {
            path: path.to_owned(),
            source,
        }),
    }
}

fn quarantine_error(state: &Path, source: io::Error) -> ImportError {
    ImportError::State {
        path: state.join(quarantine::FILE),
        source,
    }
}

/// Why one file cannot be read; the others are.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not what the configuration describes.
    #[error(transparent)]
    Format(#[from] FormatError),
}
