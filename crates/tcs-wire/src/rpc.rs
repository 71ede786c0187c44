//! Requests and replies (contract section 10, design decisions 7 and 31).
//!
//! A reply's data follows the convention of the observatory's services: `status` is `ok` or `error`; on success
//! `result` holds the answer, on failure `error` the kind, `message` the words and `code` an exit code.

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envelope::{DecodeError, Message, Meta, Object};
use crate::id::ServiceId;
use crate::snapshot::{Snapshot, State};
use crate::status::Status;
use crate::time::WireTime;

/// The words that stand last in an RPC subject and are the suite's own: an author's command may not take one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Asked of a manager: all its services.
    List,
    /// Asked of a manager: one service.
    Status,
    /// Asked of a manager.
    Start,
    /// Asked of a manager.
    Stop,
    /// Asked of a manager.
    Restart,
    /// Asked of any service, and of a manager: is its work alive?
    Health,
}

impl Word {
    /// All words that are answered.
    pub const ALL: [Self; 6] = [
        Self::List,
        Self::Status,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Health,
    ];

    /// Words that are kept for the manager and the SDK, answered or not yet (design decision 7).
    pub const RESERVED: [&'static str; 22] = [
        "list",
        "start",
        "stop",
        "restart",
        "reload",
        "kill",
        "reset-failed",
        "status",
        "logs",
        "events",
        "run",
        "pause",
        "resume",
        "hold",
        "release",
        "explain",
        "forget",
        "health",
        "stats",
        "details",
        "describe",
        "log_level",
    ];

    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Status => "status",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Health => "health",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a request was not fulfilled; a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The arguments are not those of the request.
    BadRequest,
    /// The manager knows no such service.
    UnknownService,
    /// The service or manager has no such command.
    UnknownCommand,
    /// systemd refused the manager, or the manager the caller.
    NotPermitted,
    /// A condition of the unit does not hold, for example because the service is held.
    ConditionFailed,
    /// The job was carried out and failed.
    JobFailed,
    /// The job was replaced by another before it ended.
    Canceled,
    /// The deadline passed before an outcome was known.
    Timeout,
    /// What is needed for an answer is away: D-Bus, a device.
    Unavailable,
    /// A defect of the answering side.
    Internal,
}

impl ErrorKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::BadRequest,
        Self::UnknownService,
        Self::UnknownCommand,
        Self::NotPermitted,
        Self::ConditionFailed,
        Self::JobFailed,
        Self::Canceled,
        Self::Timeout,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Returns the word that travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnknownService => "unknown_service",
            Self::UnknownCommand => "unknown_command",
            Self::NotPermitted => "not_permitted",
            Self::ConditionFailed => "condition_failed",
            Self::JobFailed => "job_failed",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// Says when the kind is used, for the reference.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::BadRequest => "the body or its arguments are not those of the request",
            Self::UnknownService => "the manager knows no such service",
            Self::UnknownCommand => "there is no such command",
            Self::NotPermitted => "systemd refused the manager, or the manager the caller",
            Self::ConditionFailed => "a condition of the unit does not hold, for example because it is held",
            Self::JobFailed => "the job was carried out and failed",
            Self::Canceled => "the job was replaced by another before it ended",
            Self::Timeout => "the deadline passed before an outcome was known",
            Self::Unavailable => "what the answer needs is away",
            Self::Internal => "a defect of the answering side",
        }
    }

    /// Returns the exit code of a command that ends so (design decision 18).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::BadRequest | Self::UnknownCommand => 2,
            Self::UnknownService => 4,
            Self::NotPermitted => 77,
            Self::Timeout => 124,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::ConditionFailed | Self::JobFailed | Self::Canceled => 1,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A request that failed, in the words of the answering side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// The kind, for programs.
    pub kind: ErrorKind,
    /// The words, for people.
    pub message: String,
}

impl RpcError {
    /// Returns an error of `kind` with its words.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// Returns the reply to a request: wrapped, or bare where the request was (design decision 31).
pub fn reply<T: Serialize>(outcome: &Result<T, RpcError>, mut meta: Meta, bare: bool) -> Message {
    let mut data = Object::new();
    if let Some(ts) = meta.ts {
        data.insert("ts".to_owned(), serde_json::to_value(ts).unwrap_or_default());
    }
    "rpc".clone_into(&mut meta.message_type);
    match outcome {
        Ok(result) => {
            data.insert("status".to_owned(), "ok".into());
            data.insert(
                "result".to_owned(),
                serde_json::to_value(result).unwrap_or_default(),
            );
        }
        Err(error) => {
            data.insert("status".to_owned(), "error".into());
            data.insert("error".to_owned(), error.kind.as_str().into());
            data.insert("message".to_owned(), error.message.clone().into());
            data.insert("code".to_owned(), error.kind.exit_code().into());
            meta.status = Some("error".to_owned());
            meta.error = Some(error.message.clone());
        }
    }
    Message {
        data: Some(data),
        meta,
        bare,
    }
}

/// Reads a reply, also one of a Python responder: its `data` then is the result itself.
///
/// # Errors
/// The outer error for a body that is no reply, the inner one for a request that failed.
pub fn read_reply<T: DeserializeOwned>(message: &Message) -> Result<Result<T, RpcError>, DecodeError> {
    let data = message.data.clone().unwrap_or_default();
    let text = |key: &str| data.get(key).and_then(Value::as_str).map(str::to_owned);
    let failed =
        message.meta.status.as_deref() == Some("error") || text("status").as_deref() == Some("error");
    if failed {
        let kind =
            text("error").and_then(|word| ErrorKind::ALL.into_iter().find(|kind| kind.as_str() == word));
        let words = text("message")
            .or_else(|| message.meta.error.clone())
            .or_else(|| text("error"));
        return Ok(Err(RpcError::new(
            kind.unwrap_or(ErrorKind::Internal),
            words.unwrap_or_else(|| "no reason given".into()),
        )));
    }
    let result = data.get("result").cloned().unwrap_or(Value::Object(data));
    serde_json::from_value(result)
        .map(Ok)
        .map_err(|source| DecodeError::Data {
            expected: "reply",
            source,
        })
}

/// Arguments of `start`, `stop` and `restart`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ControlArgs {
    /// Answer once the job is queued, without its outcome.
    pub no_block: bool,
    /// A name of the caller's for this command: the same one again within ten minutes gets the same answer and
    /// does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_id: Option<String>,
    /// Seconds to wait for the outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<f64>,
}

/// Answer to `start`, `stop` and `restart`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ControlReply {
    /// The service.
    #[schemars(with = "String")]
    pub service_id: ServiceId,
    /// Its unit.
    pub unit: String,
    /// systemd's word for the job's end: `done`, `skipped`, …; `queued` with `no_block`.
    pub job: String,
    /// What the service is now.
    pub state: State,
    /// One line for people.
    pub message: String,
}

/// Answer to `list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListReply {
    /// Who answers.
    #[schemars(with = "String")]
    pub manager: ServiceId,
    /// Its services, by id.
    pub services: Vec<Snapshot>,
}

/// Answer to `health`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthReply {
    /// Who answers.
    #[schemars(with = "String")]
    pub service_id: ServiceId,
    /// Its status, aggregated.
    pub service_status: Status,
    /// Whether that is one of the healthy ones.
    pub healthy: bool,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The process.
    pub pid: u32,
    /// The host.
    pub hostname: String,
    /// Seconds since the start.
    pub uptime_s: f64,
    /// The binary's version.
    pub version: String,
    /// When it was so.
    pub timestamp: WireTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta::new("msg-1", "hello_world.main", WireTime::now())
    }

    #[test]
    fn an_answer_and_a_refusal_survive_the_wire() {
        let ok = Message::decode(&reply(&Ok(ControlArgs::default()), meta(), false).encode()).unwrap();
        assert_eq!(
            read_reply::<ControlArgs>(&ok).unwrap(),
            Ok(ControlArgs::default())
        );
        let refusal = RpcError::new(ErrorKind::UnknownService, "no service `x.y`");
        let error = Message::decode(&reply::<()>(&Err(refusal.clone()), meta(), false).encode()).unwrap();
        assert_eq!(error.meta.status.as_deref(), Some("error"));
        assert_eq!(read_reply::<ControlArgs>(&error).unwrap(), Err(refusal));
    }

    #[test]
    fn a_bare_caller_gets_a_bare_reply() {
        let body = reply(&Ok(ControlArgs::default()), meta(), true).encode();
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["status"], "ok");
        assert!(value.get("meta").is_none());
    }

    #[test]
    fn words_and_kinds_travel_as_they_are_named() {
        for word in Word::ALL {
            assert_eq!(serde_json::to_value(word).unwrap(), word.as_str());
            assert!(Word::RESERVED.contains(&word.as_str()));
        }
        for kind in ErrorKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
