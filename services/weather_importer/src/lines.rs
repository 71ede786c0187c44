//! Whole lines of a file that somebody else is still writing.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// No record is longer; what is beyond is not kept in memory.
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// A line that ends with a newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The line without its end, cut at [`MAX_LINE`].
    pub bytes: Vec<u8>,
    /// Whether more of it was there.
    pub cut: bool,
    /// Bytes that it takes in the file, its end included.
    pub length: u64,
}

/// What could be read in one go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// The lines, in order.
    pub lines: Vec<Line>,
    /// Whether the file ends behind them.
    pub at_end: bool,
    /// Whether a line without its newline is left there: it is still being written.
    pub unfinished: bool,
}

/// What some programs put before a file's first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads at most `limit` whole lines from an offset on.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(file: impl Read + Seek, offset: u64, limit: usize) -> io::Result<Chunk> {
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(offset))?;
    let mut chunk = Chunk::default();
    while chunk.lines.len() < limit {
        let Some(line) = next(&mut reader, &mut chunk.unfinished)? else {
            chunk.at_end = true;
            break;
        };
        chunk.lines.push(line);
    }
    Ok(chunk)
}

fn next(reader: &mut impl BufRead, unfinished: &mut bool) -> io::Result<Option<Line>> {
    let mut line = Line {
        bytes: Vec::new(),
        cut: false,
        length: 0,
    };
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            *unfinished = line.length > 0;
            return Ok(None);
        }
        let newline = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..newline.unwrap_or(buffer.len())];
        let room = MAX_LINE - line.bytes.len();
        line.cut |= part.len() > room;
        line.bytes.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(newline.is_some());
        line.length += used as u64;
        reader.consume(used);
        if newline.is_some() {
            if line.bytes.last() == Some(&b'\r') {
                line.bytes.pop();
            }
            if line.bytes.starts_with(BYTE_ORDER_MARK) {
                line.bytes.drain(..BYTE_ORDER_MARK.len());
            }
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn texts(chunk: &Chunk) -> Vec<&str> {
        chunk
            .lines
            .iter()
            .map(|line| std::str::from_utf8(&line.bytes).unwrap())
            .collect()
    }

    #[test]
    fn the_unfinished_line_stays() {
        let chunk = read(Cursor::new("\u{feff}a\r\n\nbc\nde"), 0, 9).unwrap();
        assert_eq!(texts(&chunk), ["a", "", "bc"]);
        assert_eq!(chunk.lines.iter().map(|line| line.length).sum::<u64>(), 10);
        assert!(chunk.at_end && chunk.unfinished);
        let rest = read(Cursor::new("\u{feff}a\r\n\nbc\nde\n"), 10, 9).unwrap();
        assert_eq!(texts(&rest), ["de"]);
        assert!(rest.at_end && !rest.unfinished);
    }

    #[test]
    fn a_limit_ends_the_chunk_and_not_the_file() {
        let chunk = read(Cursor::new("a\nb\nc\n"), 0, 2).unwrap();
        assert_eq!((texts(&chunk), chunk.at_end), (vec!["a", "b"], false));
    }

    #[test]
    fn an_endless_line_is_cut_and_the_next_one_whole() {
        let text = format!("{}\nb\n", "x".repeat(3 * MAX_LINE));
        let chunk = read(Cursor::new(text), 0, 9).unwrap();
        assert!(chunk.lines[0].cut && chunk.lines[0].bytes.len() == MAX_LINE);
        assert_eq!(chunk.lines[0].length, 3 * MAX_LINE as u64 + 1);
        assert_eq!(chunk.lines[1].bytes, b"b");
    }
}
