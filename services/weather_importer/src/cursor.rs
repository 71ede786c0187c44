//! What a run leaves for the next one: how far each file was read, and what was published.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::decode::Format;
use crate::sample::Station;
use crate::source::Mark;
use crate::times::TimeSet;
use crate::wind::WindWindow;

const VERSION: u32 = 1;
const FILE: &str = "cursor.json";
/// How long a file that is gone is remembered; should it come back later, its records are still known.
const GONE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The importer's memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    version: u32,
    /// How far each file was read.
    pub files: Vec<FileCursor>,
    /// What each station has given.
    pub stations: BTreeMap<Station, StationCursor>,
    /// Records that were about to be published, in their order: after a crash the stream tells how far that went.
    pub pending: BTreeMap<Station, Vec<Timestamp>>,
    /// Size of the quarantine when this was written; what is beyond belongs to a run that did not end.
    pub quarantine_size: Option<u64>,
}

impl Default for Cursor {
    fn default() -> Self {
        Self {
            version: VERSION,
            files: Vec::new(),
            stations: BTreeMap::new(),
            pending: BTreeMap::new(),
            quarantine_size: None,
        }
    }
}

/// How far one file was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileCursor {
    /// Where it was seen last.
    pub path: PathBuf,
    /// Its inode.
    pub inode: u64,
    /// Its beginning.
    pub head: Mark,
    /// What was read last.
    pub tail: Mark,
    /// Its size when it was seen last.
    pub size: u64,
    /// Everything before is done with.
    pub offset: u64,
    /// Lines before the offset.
    pub lines: u64,
    /// Whose records it holds.
    pub station: Station,
    /// Its format.
    pub format: Format,
    /// The header line that is in force at the offset.
    pub header: Option<String>,
    /// Time of the last record that was read.
    pub last_time: Option<Timestamp>,
    /// When the file was there last.
    pub seen: Timestamp,
}

/// What one station has given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StationCursor {
    /// Times of the records that are in the stream.
    pub published: TimeSet,
    /// The last wind speeds.
    pub wind: WindWindow,
}

/// Why the memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The content is not a cursor. Without one, what is older than the stream's last record counts as published.
    #[error("{path} is not a cursor of this importer; move it away to begin anew")]
    Spoilt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A newer program wrote it.
    #[error("{path} has version {found}, this importer knows version 1: run the newer one")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl Cursor {
    /// Reads the cursor; none yet is an empty one.
    ///
    /// # Errors
    /// The file cannot be read or is no cursor.
    pub fn load(directory: &Path) -> Result<Self, CursorError> {
        let path = directory.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(CursorError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let spoilt = |source| CursorError::Spoilt {
            path: path.clone(),
            source,
        };
        let Version { version } = serde_json::from_slice(&bytes).map_err(spoilt)?;
        if version > VERSION {
            return Err(CursorError::Newer { path, found: version });
        }
        serde_json::from_slice(&bytes).map_err(spoilt)
    }

    /// Replaces the file in one step: after a crash the old one or the new one is there, whole.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), CursorError> {
        let path = directory.join(FILE);
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            serde_json::to_writer(&mut file, self)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(directory)?.sync_all()
        };
        write().map_err(|source| CursorError::Io {
            action: "write",
            path: path.clone(),
            source,
        })
    }

    /// Puts the file's new place instead of its old one. Not the path but the inode tells which that is: in a
    /// rotation another file takes the path.
    pub fn set(&mut self, file: FileCursor) {
        self.files.retain(|known| known.inode != file.inode);
        self.files.push(file);
    }

    /// Forgets records older than `horizon`, which would not be taken again, and files gone for a month.
    pub fn forget(&mut self, horizon: Timestamp, now: Timestamp) {
        self.files.retain(|file| now.duration_since(file.seen) < GONE);
        for station in self.stations.values_mut() {
            station.published.forget_before(horizon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_empty_and_a_saved_one_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::load(directory.path()).unwrap();
        assert_eq!(cursor, Cursor::default());
        let station = cursor.stations.entry(Station::new("davis").unwrap()).or_default();
        station.published.insert(Timestamp::UNIX_EPOCH);
        station.wind.add(Timestamp::UNIX_EPOCH, 3.5);
        cursor.save(directory.path()).unwrap();
        assert_eq!(Cursor::load(directory.path()).unwrap(), cursor);
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_spoilt_and_a_newer_one_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        for (text, message) in [
            ("{\"version\":1}", "is not a cursor"),
            ("{\"version\":9}", "has version 9"),
            ("", "is not"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Cursor::load(directory.path()).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
