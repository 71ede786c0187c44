//! What a job leaves behind: how it ended, and what it counted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tcs_wire::{Exit, Status, StatusDetails};

/// How a job that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// All is done, exit code 0.
    #[default]
    Done,
    /// Done, with losses that somebody should look at, exit code 10.
    Degraded,
}

impl Outcome {
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Done => Exit::Done,
            Self::Degraded => Exit::Degraded,
        }
    }
}

/// The notes that a run takes of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) outcome: Outcome,
    pub(crate) message: Option<String>,
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Record {
    /// Returns what goes with the last status (design decision 28).
    ///
    /// A job that was `interrupted` and did not say itself how it ended is neither done nor failed.
    pub(crate) fn details(&self, status: Status, interrupted: bool, took: Duration) -> StatusDetails {
        let result = match (status, self.outcome) {
            (Status::Failed, _) => "failed",
            (_, Outcome::Degraded) => "degraded",
            (_, Outcome::Done) if interrupted && self.message.is_none() => "stopped",
            (_, Outcome::Done) => "ok",
        };
        let took = (took.as_secs_f64() * 1000.0).round() / 1000.0;
        let extra = [
            ("result".to_owned(), Value::from(result)),
            ("duration_s".to_owned(), Value::from(took)),
        ];
        let metrics = self
            .counts
            .iter()
            .map(|(name, count)| (name.clone(), Value::from(*count)));
        StatusDetails {
            metrics: metrics.collect(),
            extra: extra.into_iter().collect(),
            ..StatusDetails::default()
        }
    }

    /// Returns the counts as words, for people.
    pub(crate) fn summary(&self, interrupted: bool) -> String {
        let counts = || self.counts.iter().map(|(name, count)| format!("{name} {count}"));
        match (&self.message, self.counts.is_empty()) {
            (Some(message), _) => message.clone(),
            (None, true) if interrupted => "stopped".to_owned(),
            (None, true) => "done".to_owned(),
            (None, false) => {
                let counts = counts().collect::<Vec<_>>().join(", ");
                if interrupted {
                    format!("stopped; {counts}")
                } else {
                    counts
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_status_carries_result_counts_and_duration() {
        let counts = BTreeMap::from([("published".to_owned(), 112), ("set aside".to_owned(), 3)]);
        let record = Record {
            outcome: Outcome::Degraded,
            message: None,
            counts,
        };
        let details =
            serde_json::to_value(record.details(Status::Shutdown, false, Duration::from_millis(1500)))
                .unwrap();
        assert_eq!(
            details,
            serde_json::json!({
                "metrics": {"published": 112, "set aside": 3},
                "result": "degraded",
                "duration_s": 1.5,
            })
        );
        assert_eq!(record.summary(false), "published 112, set aside 3");
    }

    #[test]
    fn an_interrupted_job_is_not_called_done() {
        let details =
            |record: &Record| record.details(Status::Shutdown, true, Duration::ZERO).extra["result"].clone();
        assert_eq!(details(&Record::default()), "stopped");
        assert_eq!(Record::default().summary(true), "stopped");
        let counts = BTreeMap::from([("read".to_owned(), 3)]);
        let counted = Record {
            counts,
            ..Record::default()
        };
        assert_eq!(counted.summary(true), "stopped; read 3");
        let message = Some("all files were read".to_owned());
        assert_eq!(
            details(&Record {
                message,
                ..Record::default()
            }),
            "ok"
        );
    }
}
