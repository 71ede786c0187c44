//! What a run did.

use std::fmt;
use std::ops::AddAssign;
use std::path::PathBuf;

use serde::Serialize;

use crate::import::FileError;

/// Counts of lines that hold, or ought to hold, a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Read, for whatever end.
    pub read: u64,
    /// Published and acknowledged.
    pub published: u64,
    /// Known already, by station and time.
    pub duplicates: u64,
    /// Set aside with a reason.
    pub refused: u64,
    /// Published though a newer one was there before.
    pub late: u64,
    /// Older than the limit, and left alone.
    pub too_old: u64,
    /// Still being written.
    pub deferred: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.published += other.published;
        self.duplicates += other.duplicates;
        self.refused += other.refused;
        self.late += other.late;
        self.too_old += other.too_old;
        self.deferred += other.deferred;
    }
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Summary {
    /// Lines.
    pub counts: Counts,
    /// Files that ought to be a station's and cannot be read.
    pub failed: Vec<(PathBuf, FileError)>,
    /// Files that are not a station's.
    pub unknown: Vec<PathBuf>,
}

impl Summary {
    /// Returns whether more than the given share of the lines was refused, or a file could not be read.
    pub fn degraded(&self, share: f64) -> bool {
        let Counts { read, refused, .. } = self.counts;
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
        let too_many = refused as f64 > share * read as f64;
        too_many || !self.failed.is_empty()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            read,
            published,
            duplicates,
            refused,
            late,
            too_old,
            deferred,
        } = self.counts;
        write!(f, "read {read}, published {published}")?;
        for (count, what) in [
            (duplicates, "duplicates"),
            (refused, "refused"),
            (late, "late"),
            (too_old, "too old"),
            (deferred, "deferred"),
            (self.failed.len() as u64, "files failed"),
            (self.unknown.len() as u64, "files unknown"),
        ] {
            if count > 0 {
                write!(f, ", {what} {count}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degraded_is_more_than_the_share() {
        let mut summary = Summary::default();
        assert!(!summary.degraded(0.0), "nothing to do is no fault");
        summary.counts = Counts {
            read: 10,
            published: 8,
            refused: 1,
            late: 2,
            ..Counts::default()
        };
        assert!(!summary.degraded(0.1) && summary.degraded(0.09));
        assert_eq!(summary.to_string(), "read 10, published 8, refused 1, late 2");
        summary
            .failed
            .push((PathBuf::from("a.csv"), crate::decode::FormatError::Unknown.into()));
        assert!(summary.degraded(1.0));
    }
}
