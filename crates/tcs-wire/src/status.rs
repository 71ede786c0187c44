//! Status reports and heartbeats (contract sections 6 and 7).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::envelope::Object;
use crate::time::WireTime;

/// How a service is; a closed set, since any other word blinds the Python readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is known.
    #[default]
    Unknown,
    /// On its way up.
    Startup,
    /// Works.
    Ok,
    /// Works, and has nothing to do.
    Idle,
    /// Works, and is at something.
    Busy,
    /// Works, but not fully.
    Degraded,
    /// Works, but somebody should look.
    Warning,
    /// Does not work; it may recover.
    Error,
    /// Ended in order.
    Shutdown,
    /// Does not work and will not recover by itself.
    Failed,
}

impl Status {
    /// All values, in the contract's order.
    pub const ALL: [Self; 10] = [
        Self::Unknown,
        Self::Startup,
        Self::Ok,
        Self::Idle,
        Self::Busy,
        Self::Degraded,
        Self::Warning,
        Self::Error,
        Self::Shutdown,
        Self::Failed,
    ];

    /// Returns the word that travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Startup => "startup",
            Self::Ok => "ok",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Degraded => "degraded",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
        }
    }

    /// Returns whether the service does its work, or is about to.
    pub fn is_operational(self) -> bool {
        matches!(
            self,
            Self::Startup | Self::Ok | Self::Idle | Self::Busy | Self::Degraded | Self::Warning
        )
    }

    /// Returns whether the service does its work.
    pub fn is_healthy(self) -> bool {
        self.is_operational() && self != Self::Startup
    }

    /// Returns whether nothing more is to come from the run that said so.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Shutdown | Self::Failed)
    }

    /// How bad a status is among others: the higher one wins.
    fn severity(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Ok => 1,
            Self::Idle => 2,
            Self::Busy => 3,
            Self::Shutdown => 4,
            Self::Startup => 5,
            Self::Degraded => 6,
            Self::Warning => 7,
            Self::Error => 8,
            Self::Failed => 9,
        }
    }

    /// Returns the worst of several, own and children's; `unknown` yields to everything, and none at all is unknown.
    pub fn aggregate(statuses: impl IntoIterator<Item = Self>) -> Self {
        statuses
            .into_iter()
            .max_by_key(|status| status.severity())
            .unwrap_or_default()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What stands on `P.status.<name>`; also a child's report inside another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatusReport {
    /// The service id, or a child monitor's name.
    pub name: String,
    /// Aggregated over the children.
    pub status: Status,
    /// When it was so.
    pub timestamp: WireTime,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Children, metrics, a job's counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<StatusDetails>,
    /// Who runs the service: a manager's id, a launcher's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The service's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

/// The part of a report that only some services have.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct StatusDetails {
    /// The status before the children were counted in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_status: Option<Status>,
    /// The reports of the parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<StatusReport>,
    /// Numbers and words by name.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    pub metrics: Object,
    /// Whatever else the sender said.
    #[serde(flatten)]
    pub extra: Object,
}

/// What stands on `P.heartbeat.<name>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// The service id.
    pub service_id: String,
    /// When it beat.
    pub timestamp: WireTime,
    /// The own status, not aggregated; no reader of the peers looks at it.
    #[serde(default)]
    pub status: Status,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_wins_in_the_contracts_order() {
        use Status::{Busy, Degraded, Error, Failed, Idle, Ok, Shutdown, Startup, Unknown, Warning};
        let order = [
            Failed, Error, Warning, Degraded, Startup, Shutdown, Busy, Idle, Ok, Unknown,
        ];
        for pair in order.windows(2) {
            assert_eq!(Status::aggregate([pair[1], pair[0]]), pair[0]);
            assert_eq!(Status::aggregate([pair[0], pair[1]]), pair[0]);
        }
        assert_eq!(Status::aggregate([]), Unknown);
    }

    #[test]
    fn words_are_those_of_the_contract() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert!(serde_json::from_str::<Status>("\"running\"").is_err());
        assert!(Status::Startup.is_operational() && !Status::Startup.is_healthy());
    }
}
