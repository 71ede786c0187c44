//! What a site looks like at one moment.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tcs_wire::{Kind, Snapshot, State, Status, StatusReport};

/// A manager that has not beaten for longer is silent.
pub const MANAGER_SILENT_AFTER: Duration = Duration::from_secs(15);
/// A service that has not beaten for longer is silent (contract section 7).
pub const SERVICE_SILENT_AFTER: Duration = Duration::from_secs(30);
/// What nobody declared and nobody has heard of for longer is hidden (design decision 33).
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// All services of all hosts, and who says so.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteSnapshot {
    /// When it was taken, by the reader's clock.
    pub taken: Timestamp,
    /// The services by name, then host.
    pub services: Vec<ServiceView>,
    /// The managers by name.
    pub managers: Vec<ManagerView>,
    /// Subjects and keys whose message could not be read, and why.
    pub unreadable: Vec<(String, String)>,
}

impl SiteSnapshot {
    /// Returns how many services are in each condition, the running ones first.
    pub fn counts<'a>(services: impl IntoIterator<Item = &'a ServiceView>) -> Vec<(Condition, usize)> {
        let mut counts: Vec<(Condition, usize)> = Condition::all().map(|condition| (condition, 0)).collect();
        for service in services {
            if let Some((_, count)) = counts
                .iter_mut()
                .find(|(condition, _)| *condition == service.condition)
            {
                *count += 1;
            }
        }
        counts.retain(|(_, count)| *count > 0);
        counts
    }

    /// Returns the manager with this id.
    pub fn manager(&self, id: &str) -> Option<&ManagerView> {
        self.managers.iter().find(|manager| manager.id == id)
    }
}

/// One service on one host.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceView {
    /// `type.variant`; any text for services of other frameworks.
    pub name: String,
    /// Where it runs, or is declared.
    pub host: Option<String>,
    /// Permanent or job, where a manager knows it.
    pub kind: Option<Kind>,
    /// What it is, in a word.
    pub condition: Condition,
    /// False where the manager of its host is silent: the condition then is as of the manager's last word.
    pub certain: bool,
    /// What the running service says of itself.
    pub health: Option<Health>,
    /// Since when it is in this condition.
    pub since: Option<Timestamp>,
    /// Its main process.
    pub pid: Option<u32>,
    /// Automatic restarts since the last start by hand.
    pub restarts: Option<u32>,
    /// When its timer is due.
    pub next: Option<Timestamp>,
    /// One line for people.
    pub message: Option<String>,
    /// Whether a configuration names it.
    pub declared: bool,
    /// Who runs it: a manager's id, a launcher's name; none for a run by hand.
    pub parent: Option<String>,
    /// What the manager of its host says, if there is one.
    pub snapshot: Option<Snapshot>,
    /// What the service last said of itself.
    pub report: Option<StatusReport>,
    /// When it last beat.
    pub last_heartbeat: Option<Timestamp>,
}

impl ServiceView {
    /// Returns whether nobody declared it and nobody has heard of it for a day.
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        let heard = self.report.as_ref().map(|report| report.timestamp.timestamp());
        let last = heard.max(self.last_heartbeat).max(self.since);
        let dead = matches!(
            self.condition,
            Condition::Silent
                | Condition::Unknown
                | Condition::Unit(State::Stopped | State::Finished | State::Failed)
        );
        !self.declared && dead && last.is_none_or(|last| is_older(last, now, FORGOTTEN_AFTER))
    }
}

/// What a service is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// A state that systemd, or whoever runs it, tells.
    Unit(State),
    /// No manager knows it, it said that it runs, and it beats no more.
    Silent,
    /// It is declared by somebody, and nothing else was ever heard of it.
    Unknown,
}

impl Condition {
    /// Returns all conditions, the states first.
    pub fn all() -> impl Iterator<Item = Self> {
        State::ALL
            .into_iter()
            .map(Self::Unit)
            .chain([Self::Silent, Self::Unknown])
    }

    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unit(state) => state.as_str(),
            Self::Silent => "silent",
            Self::Unknown => "unknown",
        }
    }

    /// Returns whether a process of the service is, or is about to be, there.
    pub fn is_alive(self) -> bool {
        matches!(
            self,
            Self::Unit(
                State::Running
                    | State::Activating
                    | State::Restarting
                    | State::Reloading
                    | State::Deactivating
            )
        )
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Condition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How a running service says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Its own word.
    Reported(Status),
    /// Its process is there, but it beats no more.
    Silent,
}

impl Health {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reported(status) => status.as_str(),
            Self::Silent => "silent",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Health {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A manager, and whether it is to be believed.
#[derive(Debug, Clone, PartialEq)]
pub struct ManagerView {
    /// `manager.HOST`.
    pub id: String,
    /// The part after `manager.`.
    pub host: String,
    /// Whether it is there.
    pub liveness: Liveness,
    /// What it last said of itself.
    pub report: Option<StatusReport>,
    /// How many entries of the mirror are its own.
    pub services: usize,
}

/// Whether a manager is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It beats.
    Alive,
    /// It beats no more, and did not say goodbye.
    Silent {
        /// Its last heartbeat.
        since: Timestamp,
    },
    /// It ended in order.
    Stopped {
        /// When.
        since: Timestamp,
    },
    /// Only its records are there.
    NeverHeard,
}

impl Liveness {
    /// Judges by the last heartbeat and the last report, with the reader's clock.
    pub fn judge(last_heartbeat: Option<Timestamp>, report: Option<&StatusReport>, now: Timestamp) -> Self {
        if let Some(report) = report.filter(|report| report.status.is_final()) {
            let since = report.timestamp.timestamp();
            if last_heartbeat.is_none_or(|beat| beat <= since) {
                return Self::Stopped { since };
            }
        }
        match last_heartbeat {
            None => Self::NeverHeard,
            Some(beat) if is_older(beat, now, MANAGER_SILENT_AFTER) => Self::Silent { since: beat },
            Some(_) => Self::Alive,
        }
    }
}

/// Returns whether `then` lies more than `limit` before `now`; a time in the future does not (contract section 7).
pub(crate) fn is_older(then: Timestamp, now: Timestamp, limit: Duration) -> bool {
    let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
    now.duration_since(then) > limit
}
