//! One configuration file in memory, and places in it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest file that is read (design decision 34).
pub(crate) const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// A configuration file and its text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// Byte offset of the start of each line.
    lines: Vec<usize>,
}

impl Source {
    pub(crate) fn new(path: &Path, text: String) -> Arc<Self> {
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Arc::new(Self {
            path: path.to_owned(),
            text,
            lines,
        })
    }

    /// Returns the line (from 0) that holds the byte at `offset`.
    fn line_index(&self, offset: usize) -> usize {
        self.lines
            .partition_point(|start| *start <= offset)
            .saturating_sub(1)
    }

    /// Returns the byte offset of a line and column, both counted from 1, the column in characters.
    pub(crate) fn offset(&self, line: u64, column: u64) -> usize {
        let index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(start) = self.lines.get(index).copied() else {
            return self.text.len();
        };
        let skip = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
        let rest = &self.text[start..];
        rest.char_indices()
            .nth(skip)
            .map_or(self.text.len(), |(at, _)| start + at)
    }
}

/// A stretch of a configuration file.
#[derive(Clone)]
pub(crate) struct Span {
    pub(crate) source: Arc<Source>,
    start: u32,
    end: u32,
}

impl Span {
    /// Makes a span out of byte offsets; they are moved to where characters begin.
    pub(crate) fn new(source: &Arc<Source>, range: Range<usize>) -> Self {
        let text = &source.text;
        let start = boundary(text, range.start);
        let end = boundary(text, range.end.max(start));
        let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self {
            source: Arc::clone(source),
            start: narrow(start),
            end: narrow(end),
        }
    }

    /// Returns the bytes that a report should mark: at least one, and none past the end of the first line.
    pub(crate) fn marked(&self) -> Range<usize> {
        let (start, end) = (self.start as usize, self.end as usize);
        let text = &self.source.text;
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let first = text[start..].chars().next().map_or(0, char::len_utf8);
        start..end.min(line_end).max(start + first.min(line_end - start))
    }

    /// Returns the text as written in the file.
    pub(crate) fn text(&self) -> &str {
        &self.source.text[self.start as usize..self.end as usize]
    }

    pub(crate) fn place(&self) -> Place {
        let start = self.start as usize;
        let line = self.source.line_index(start);
        let column = self.source.text[self.source.lines[line]..start].chars().count();
        Place {
            file: self.source.path.clone(),
            line: line + 1,
            column: column + 1,
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place())
    }
}

/// Where something stands: file, line and column, both counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was opened.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Moves an offset back to where a character begins.
fn boundary(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    (0..=offset)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}
