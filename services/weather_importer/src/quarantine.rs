//! Lines that were refused, kept with the place and the reason, so that somebody can mend and hand them in again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

/// Name of the file in the state directory.
pub(crate) const FILE: &str = "quarantine.jsonl";
/// A full file is moved aside once; the one before goes.
const FULL: u64 = 16 * 1024 * 1024;

/// A refused line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The file.
    pub file: PathBuf,
    /// The line's number, from 1.
    pub line: u64,
    /// Why it was refused.
    pub reason: String,
    /// The line as it stands in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The line with escapes, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// When it was read.
    pub seen: Timestamp,
}

impl Refused {
    /// Describes a line.
    pub fn new(file: &Path, line: u64, reason: String, bytes: &[u8], seen: Timestamp) -> Self {
        let text = std::str::from_utf8(bytes).ok().map(str::to_owned);
        let bytes = text.is_none().then(|| bytes.escape_ascii().to_string());
        Self {
            file: file.to_owned(),
            line,
            reason,
            text,
            bytes,
            seen,
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.reason)
    }
}

/// Removes what a run left that did not end, given the size of the last one that did.
///
/// # Errors
/// The file cannot be changed.
pub(crate) fn roll_back(directory: &Path, size: u64) -> io::Result<()> {
    let path = directory.join(FILE);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > size => OpenOptions::new().write(true).open(&path)?.set_len(size),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Appends lines as JSON, one each, and returns the file's new size.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn append(directory: &Path, refused: &[Refused]) -> io::Result<u64> {
    let path = directory.join(FILE);
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > FULL) {
        fs::rename(&path, path.with_extension("jsonl.1"))?;
    }
    let mut text = Vec::new();
    for line in refused {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    file.write_all(&text)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_kept_with_place_and_reason_and_an_unfinished_run_is_rolled_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = Path::new("/data/station.csv");
        let text = Refused::new(path, 8, "too bad".to_owned(), b"a,\"b\"", Timestamp::UNIX_EPOCH);
        let bytes = Refused::new(path, 9, "not a text".to_owned(), b"\xff\0", Timestamp::UNIX_EPOCH);
        assert_eq!(text.to_string(), "/data/station.csv:8: too bad");

        roll_back(directory.path(), 0).unwrap();
        let size = append(directory.path(), std::slice::from_ref(&text)).unwrap();
        append(directory.path(), &[bytes]).unwrap();
        let content = fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert_eq!(
            content.lines().collect::<Vec<_>>(),
            [
                r#"{"file":"/data/station.csv","line":8,"reason":"too bad","text":"a,\"b\"","seen":"1970-01-01T00:00:00Z"}"#,
                r#"{"file":"/data/station.csv","line":9,"reason":"not a text","bytes":"\\xff\\x00","seen":"1970-01-01T00:00:00Z"}"#,
            ]
        );
        roll_back(directory.path(), size).unwrap();
        assert_eq!(fs::metadata(directory.path().join(FILE)).unwrap().len(), size);
    }
}
