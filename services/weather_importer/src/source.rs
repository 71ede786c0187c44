//! The files of a directory, and how to know one again.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::cursor::FileCursor;
use crate::lines;

/// How much of a file's beginning is remembered.
const HEAD: u64 = 1024;
/// How much of what was read last is remembered.
const TAIL: u64 = 256;

/// Lists the files: the path itself if it is one, else the directory's plain files, the longest untouched first.
///
/// Hidden files and links are left alone.
///
/// # Errors
/// The path cannot be read.
pub(crate) fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    if fs::metadata(path)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if hidden || !entry.file_type()?.is_file() {
            continue;
        }
        // A file that was removed since is nobody's loss.
        if let Ok(metadata) = entry.metadata() {
            files.push((metadata.modified()?, entry.path()));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// A digest of some bytes of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How many bytes.
    pub length: u64,
    /// Their FNV-1a digest; good enough to know a file again, not to defend it.
    pub digest: u64,
}

impl Mark {
    fn of(bytes: &[u8]) -> Self {
        let digest = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            length: bytes.len() as u64,
            digest,
        }
    }

    fn read(mut file: &File, start: u64, length: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        Ok(Self::of(&bytes))
    }

    fn holds(self, file: &File, start: u64) -> io::Result<bool> {
        Ok(Self::read(file, start, self.length)? == self)
    }
}

/// An open file with what tells it from others.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it was found.
    pub path: PathBuf,
    /// The open file: a rotation while it is read does not matter.
    pub file: File,
    /// Its inode.
    pub inode: u64,
    /// Its size when it was opened.
    pub size: u64,
}

impl Source {
    /// Opens a file.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            file,
            inode: metadata.ino(),
            size: metadata.len(),
        })
    }

    /// Finds the cursor of this file: by its inode however it is called now, else by its content, as a copy has it.
    ///
    /// A file that was truncated, written anew or changed before the cursor has none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn find<'a>(&self, cursors: &'a [FileCursor]) -> io::Result<Option<&'a FileCursor>> {
        let (same, other): (Vec<_>, Vec<_>) = cursors.iter().partition(|cursor| cursor.inode == self.inode);
        for cursor in same.into_iter().chain(other) {
            if self.size >= cursor.offset
                && cursor.head.holds(&self.file, 0)?
                && cursor
                    .tail
                    .holds(&self.file, cursor.offset.saturating_sub(cursor.tail.length))?
            {
                return Ok(Some(cursor));
            }
        }
        Ok(None)
    }

    /// Returns the marks for a cursor at this offset.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn marks(&self, offset: u64) -> io::Result<(Mark, Mark)> {
        let tail = offset.min(TAIL);
        Ok((
            Mark::read(&self.file, 0, offset.min(HEAD))?,
            Mark::read(&self.file, offset - tail, tail)?,
        ))
    }

    /// Returns the first whole lines, to tell the format by.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn first_lines(&self) -> io::Result<Vec<String>> {
        let chunk = lines::read(&self.file, 0, 100)?;
        Ok(chunk
            .lines
            .iter()
            .map(|line| String::from_utf8_lossy(&line.bytes).into_owned())
            .collect())
    }
}
