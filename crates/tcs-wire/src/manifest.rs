//! What a service binary says of itself: `BINARY describe`, kept beside it as `TYPE.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::ServiceType;
use crate::snapshot::Kind;

/// The version of the contract that a binary speaks; a manifest with another one is stale.
pub const CONTRACT_VERSION: u32 = 1;

/// A service type as its binary describes it. Nothing is executed to learn it: the file beside the binary says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// The service type.
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub service_type: ServiceType,
    /// Permanent or job.
    pub kind: Kind,
    /// The binary's own version.
    pub version: String,
    /// The version of the SDK that it was built on.
    pub sdk: String,
    /// The version of the contract that it speaks.
    pub contract: u32,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The JSON schema of its configuration.
    pub config: Value,
    /// Its own RPC commands.
    #[serde(default)]
    pub commands: Vec<String>,
    /// What feeds the watchdog: `loop` or `health` (design decision 36).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<String>,
}
