//! What can be told of a service that no manager knows: one run by hand, or by a launcher of the Python framework.
//!
//! The rules are those of the contract's section 9, with the corrections that its section 8 calls for: the last
//! status of a Python service that was stopped in order is `ok`, so what happened later counts for more.

use jiff::Timestamp;
use tcs_wire::{EventKind, Heartbeat, RegistryEvent, State, Status, StatusReport, exit_words};

use crate::view::{Condition, Health, SERVICE_SILENT_AFTER, is_older};

/// The last messages about one name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Traces {
    pub(crate) report: Option<StatusReport>,
    pub(crate) heartbeat: Option<Heartbeat>,
    /// The last event of each kind.
    pub(crate) events: Vec<RegistryEvent>,
}

impl Traces {
    pub(crate) fn event(&self, kind: EventKind) -> Option<&RegistryEvent> {
        self.events.iter().find(|event| event.kind() == Some(kind))
    }

    fn time_of(&self, kind: EventKind) -> Option<Timestamp> {
        self.event(kind).map(|event| event.timestamp.timestamp())
    }

    pub(crate) fn reported(&self) -> Option<Timestamp> {
        self.report.as_ref().map(|report| report.timestamp.timestamp())
    }

    pub(crate) fn beat(&self) -> Option<Timestamp> {
        self.heartbeat
            .as_ref()
            .map(|heartbeat| heartbeat.timestamp.timestamp())
    }

    /// Returns whether it beats.
    pub(crate) fn beats(&self, now: Timestamp) -> bool {
        self.beat()
            .is_some_and(|beat| !is_older(beat, now, SERVICE_SILENT_AFTER))
    }

    /// Returns whether a process of that name is there: it beats, and has not said since that it ends.
    pub(crate) fn is_alive(&self, now: Timestamp) -> bool {
        let beat = self.beat();
        let ended = self.report.as_ref().filter(|report| report.status.is_final());
        let stopped = self
            .time_of(EventKind::Stop)
            .max(self.time_of(EventKind::Crashed));
        self.beats(now)
            && ended.is_none_or(|report| Some(report.timestamp.timestamp()) < beat)
            && stopped < beat
    }

    /// Returns what it is, since when, and a line of explanation.
    pub(crate) fn condition(&self, now: Timestamp) -> (Condition, Option<Timestamp>, Option<String>) {
        let started = self.time_of(EventKind::Start);
        if self.is_alive(now) {
            let starting = self
                .report
                .as_ref()
                .is_some_and(|report| report.status == Status::Startup);
            let state = if starting {
                State::Activating
            } else {
                State::Running
            };
            return (Condition::Unit(state), started.or(self.reported()), None);
        }
        let (stopped, crashed) = (self.time_of(EventKind::Stop), self.time_of(EventKind::Crashed));
        let failed = self.time_of(EventKind::Failed);
        let last_end = stopped.max(crashed).max(failed);
        if last_end.is_some() && last_end >= started && last_end >= self.beat() {
            let crash = self.event(EventKind::Crashed).filter(|_| crashed == last_end);
            let words = crash.and_then(|event| event.exit_code).map(exit_words);
            let state = match crash.map(|event| event.will_restart == Some(true)) {
                // The restart was announced and never came: whoever announced it is gone as well.
                Some(true) if last_end.is_some_and(|end| is_older(end, now, SERVICE_SILENT_AFTER)) => {
                    State::Failed
                }
                Some(true) => State::Restarting,
                Some(false) => State::Failed,
                None if failed == last_end => State::Failed,
                None => State::Stopped,
            };
            return (Condition::Unit(state), last_end, words);
        }
        match self.report.as_ref() {
            Some(report) if report.status == Status::Shutdown => {
                (Condition::Unit(State::Stopped), self.reported(), None)
            }
            Some(report) if report.status == Status::Failed => {
                (Condition::Unit(State::Failed), self.reported(), None)
            }
            _ => match self.beat().or(self.reported()).or(started) {
                Some(last) => (Condition::Silent, Some(last), None),
                None => (Condition::Unknown, None, None),
            },
        }
    }

    /// Returns the health that goes with a condition: only what is there has one.
    pub(crate) fn health(&self, condition: Condition, now: Timestamp) -> Option<Health> {
        let report = self.report.as_ref().filter(|_| condition.is_alive())?;
        let beats = self.heartbeat.is_none() || self.beats(now);
        Some(if beats {
            Health::Reported(report.status)
        } else {
            Health::Silent
        })
    }

    /// Returns where it is, or was.
    pub(crate) fn host(&self) -> Option<String> {
        let reported = self.report.as_ref().and_then(|report| report.hostname.clone());
        reported.or_else(|| self.event(EventKind::Start)?.hostname.clone())
    }

    /// Returns its process while it is alive.
    pub(crate) fn pid(&self) -> Option<u32> {
        let reported = self.report.as_ref().and_then(|report| report.pid);
        reported
            .or_else(|| self.event(EventKind::Start)?.pid)
            .filter(|pid| *pid != 0)
    }

    /// Returns who runs it.
    pub(crate) fn parent(&self) -> Option<String> {
        let reported = self.report.as_ref().and_then(|report| report.parent.clone());
        let told = |kind| self.event(kind).and_then(|event| event.parent.clone());
        reported
            .or_else(|| told(EventKind::Start))
            .or_else(|| told(EventKind::Declared))
    }
}
