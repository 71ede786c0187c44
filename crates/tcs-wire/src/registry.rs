//! Lifecycle events on `P.registry.<event>.<service_id>` (contract section 5).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::envelope::Object;
use crate::status::Status;
use crate::time::WireTime;

/// What may happen to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The configuration names it.
    Declared,
    /// Its process was started.
    Start,
    /// It said that it serves.
    Ready,
    /// It said that it is about to end.
    Stopping,
    /// It ended in order.
    Stop,
    /// It ended otherwise.
    Crashed,
    /// It is about to be started again after that.
    Restarting,
    /// It ended otherwise and will not be started again.
    Failed,
}

impl EventKind {
    /// All values, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Declared,
        Self::Start,
        Self::Ready,
        Self::Stopping,
        Self::Stop,
        Self::Crashed,
        Self::Restarting,
        Self::Failed,
    ];

    /// Returns the word that stands in the subject.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Start => "start",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Stop => "stop",
            Self::Crashed => "crashed",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// When a service that ended is started again.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    No,
    /// After every end that nobody asked for.
    Always,
    /// After a non-zero exit, a signal, a timeout or a watchdog.
    #[default]
    OnFailure,
    /// After a signal, a timeout or a watchdog.
    OnAbnormal,
}

impl RestartPolicy {
    /// Returns the word that systemd and the contract share.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::OnAbnormal => "on-abnormal",
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a service ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// By itself.
    Completed,
    /// Because it was asked to.
    Terminated,
    /// Because it did not when it was asked to.
    ForceKilled,
}

/// What an event says beyond who and when.
///
/// Reading takes every field as it comes; writing goes through the constructors, which set what the event calls for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RegistryEvent {
    /// The same word as in the subject. Text, since a peer may know more events than we do.
    pub event: String,
    /// Whose event it is.
    pub service_id: String,
    /// When it happened, by the clock of the host it happened on.
    pub timestamp: WireTime,
    /// The status that the event leaves the service in; absent for `declared` and `stopping`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Who runs the service: the manager's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// `MANAGER_ID.SERVICE_ID`, or a launcher's own form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_id: Option<String>,
    /// On `start`: where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// On `start`: the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// On `stop` and `crashed`: the exit code; negative for the signal that killed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// On `declared` and `crashed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// On `crashed` and `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub will_restart: Option<bool>,
    /// On `restarting`: counts from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_attempt: Option<u32>,
    /// On `crashed` and `restarting`: null where there is no limit.
    #[serde(default, with = "explicit_null", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>")]
    pub max_restarts: Option<Option<u32>>,
    /// On `stop` and `failed`; text, since `failed` has no closed list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// On `failed`: restarts before it gave up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_count: Option<u32>,
    /// On `ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_duration_seconds: Option<f64>,
    /// On the `stop` of a job: how long it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
    /// On a job's events: `timer` or `manual`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// systemd's own word for the end, for example `watchdog`, `timeout`, `oom-kill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// systemd's name of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    /// True where the run was over before it could be seen (design decision 26).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coalesced: Option<bool>,
    /// True where the event is published after the fact (design decision 26).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<bool>,
    /// Whatever else the sender said.
    #[serde(flatten)]
    pub extra: Object,
}

impl RegistryEvent {
    /// Returns an event with the status that goes with its kind, and nothing else set.
    ///
    /// A `crashed` event is taken as final; [`RegistryEvent::crashed`] tells the two apart.
    pub fn new(kind: EventKind, service_id: impl Into<String>, timestamp: WireTime) -> Self {
        let status = match kind {
            EventKind::Declared | EventKind::Stopping => None,
            EventKind::Start | EventKind::Restarting => Some(Status::Startup),
            EventKind::Ready => Some(Status::Ok),
            EventKind::Stop => Some(Status::Shutdown),
            EventKind::Crashed | EventKind::Failed => Some(Status::Failed),
        };
        Self {
            event: kind.as_str().to_owned(),
            service_id: service_id.into(),
            timestamp,
            status,
            parent: None,
            runner_id: None,
            hostname: None,
            pid: None,
            exit_code: None,
            restart_policy: None,
            will_restart: None,
            restart_attempt: None,
            max_restarts: None,
            reason: None,
            restart_count: None,
            startup_duration_seconds: None,
            duration_s: None,
            trigger: None,
            result: None,
            invocation_id: None,
            coalesced: None,
            late: None,
            extra: Object::new(),
        }
    }

    /// Returns a `crashed` event: status `error` when the service will be back, else `failed`.
    pub fn crashed(
        service_id: impl Into<String>,
        timestamp: WireTime,
        exit_code: i32,
        will_restart: bool,
    ) -> Self {
        Self {
            status: Some(if will_restart {
                Status::Error
            } else {
                Status::Failed
            }),
            exit_code: Some(exit_code),
            will_restart: Some(will_restart),
            ..Self::new(EventKind::Crashed, service_id, timestamp)
        }
    }

    /// Returns the kind; none for an event that only a peer knows.
    pub fn kind(&self) -> Option<EventKind> {
        EventKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == self.event)
    }
}

/// Tells a null from an absent value: both mean something in `max_restarts`.
mod explicit_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(
        clippy::option_option,
        reason = "serde hands over the field as it is declared"
    )]
    pub(super) fn serialize<S: Serializer>(value: &Option<Option<u32>>, s: S) -> Result<S::Ok, S::Error> {
        value.flatten().serialize(s)
    }

    #[expect(
        clippy::option_option,
        reason = "serde hands over the field as it is declared"
    )]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<u32>>, D::Error> {
        Option::<u32>::deserialize(d).map(Some)
    }
}
