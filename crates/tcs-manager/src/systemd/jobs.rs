//! Jobs: what systemd queues to start or stop a unit, and how each ends.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::error::SystemdError;

/// Ends of jobs that are kept until their caller asks; a job can end before the reply that names it is read.
const KEPT_ENDS: usize = 512;

/// What a job is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobVerb {
    /// Start, or nothing if it runs.
    Start,
    /// Stop, or nothing if it is stopped.
    Stop,
    /// Stop and start; start if it is stopped.
    Restart,
}

impl JobVerb {
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Start => "StartUnit",
            Self::Stop => "StopUnit",
            Self::Restart => "RestartUnit",
        }
    }
}

/// How a job ended (org.freedesktop.systemd1(5), JobRemoved).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// It did what it was to do, or a condition of the unit said that there was nothing to do.
    Done,
    /// Another job took its place.
    Canceled,
    /// JobTimeoutSec= passed.
    Timeout,
    /// The unit did not start or stop as it should.
    Failed,
    /// A unit that this one needs did not start.
    Dependency,
    /// It did not apply in the unit's state.
    Skipped,
    /// Anything newer.
    Other(String),
}

impl From<&str> for JobResult {
    fn from(text: &str) -> Self {
        match text {
            "done" => Self::Done,
            "canceled" => Self::Canceled,
            "timeout" => Self::Timeout,
            "failed" => Self::Failed,
            "dependency" => Self::Dependency,
            "skipped" => Self::Skipped,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Dependency => "dependency",
            Self::Skipped => "skipped",
            Self::Other(text) => text,
        })
    }
}

/// A queued job. Dropping it forgets it; systemd carries it out all the same.
#[derive(Debug)]
pub struct Job {
    pub(super) id: u32,
    pub(super) end: oneshot::Receiver<JobResult>,
    /// Counts against the limit of jobs in flight until the job has ended.
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Job {
    /// Returns the job's number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits for the end of the job. All changes that it made to the unit are in the stream of changes by then.
    ///
    /// # Errors
    /// [`SystemdError::Deadline`] when it has not ended `within`; it goes on. [`SystemdError::Closed`] when D-Bus went away.
    pub async fn end(self, within: Duration) -> Result<JobResult, SystemdError> {
        match tokio::time::timeout(within, self.end).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(SystemdError::Closed),
            Err(_) => Err(SystemdError::Deadline {
                what: "the job",
                after: within,
            }),
        }
    }
}

/// Joins callers and the ends of their jobs, whichever comes first.
#[derive(Debug, Default)]
pub(super) struct JobTable {
    /// systemd merges equal jobs of a unit: one job may have several callers.
    waiting: HashMap<u32, Vec<oneshot::Sender<JobResult>>>,
    ended: VecDeque<(u32, JobResult)>,
    closed: bool,
}

impl JobTable {
    pub(super) fn wait(&mut self, id: u32) -> oneshot::Receiver<JobResult> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        if let Some((_, result)) = self.ended.iter().find(|(ended, _)| *ended == id) {
            let _ = sender.send(result.clone());
        } else if !self.closed {
            self.waiting.entry(id).or_default().push(sender);
        }
        receiver
    }

    pub(super) fn end(&mut self, id: u32, result: JobResult) {
        for sender in self.waiting.remove(&id).unwrap_or_default() {
            let _ = sender.send(result.clone());
        }
        if self.ended.len() == KEPT_ENDS {
            self.ended.pop_front();
        }
        self.ended.push_back((id, result));
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_reaches_its_caller_in_either_order() {
        let mut table = JobTable::default();
        table.end(7, JobResult::Done);
        assert_eq!(table.wait(7).try_recv().unwrap(), JobResult::Done);
        let mut late = table.wait(8);
        let mut other = table.wait(9);
        table.end(8, JobResult::Failed);
        assert_eq!(late.try_recv().unwrap(), JobResult::Failed);
        assert!(matches!(
            other.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        ));
        table.close();
        assert!(matches!(
            other.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
        assert!(matches!(
            table.wait(10).try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
    }

    #[test]
    fn callers_of_one_job_all_learn_of_its_end() {
        let mut table = JobTable::default();
        let mut callers = [table.wait(7), table.wait(7)];
        table.end(7, JobResult::Done);
        for caller in &mut callers {
            assert_eq!(caller.try_recv().unwrap(), JobResult::Done);
        }
    }

    #[test]
    fn ends_are_kept_within_bounds() {
        let mut table = JobTable::default();
        for id in 0..2 * u32::try_from(KEPT_ENDS).unwrap() {
            table.end(id, JobResult::Done);
        }
        assert_eq!(table.ended.len(), KEPT_ENDS);
    }
}
