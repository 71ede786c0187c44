//! The reference of the wire: each request as it can be sent by hand, and `docs/wire.md`, made of the types.

mod document;
mod schema;

use serde_json::Value;

use crate::id::ServiceId;
use crate::rpc::{ControlReply, ErrorKind, HealthReply, ListReply, Word};
use crate::snapshot::Snapshot;
use crate::subject::SubjectPrefix;

pub use document::document;

/// The command that writes the document anew.
pub const COMMAND: &str = "cargo run -q -p tcs-wire --example wire-reference > docs/wire.md";

/// A request as it can be sent by hand, and what comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestExample {
    /// What is asked.
    pub word: Word,
    /// Who answers.
    pub answered_by: Answerer,
    /// The subject in general.
    pub pattern: &'static str,
    /// The subject of this example.
    pub subject: String,
    /// The body of this example, bare: an envelope is taken as well.
    pub body: &'static str,
    /// What it does, in one sentence.
    pub does: &'static str,
    /// The type of the `result` in the reply.
    pub reply: Reply,
    /// The kinds of error that it may end in.
    pub errors: &'static [ErrorKind],
}

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// The manager that runs the service, or that is named.
    Manager,
    /// The service itself.
    Service,
}

/// The type of the `result` in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// [`ListReply`].
    List,
    /// [`Snapshot`].
    Snapshot,
    /// [`ControlReply`].
    Control,
    /// [`HealthReply`].
    Health,
}

impl Reply {
    /// Returns the type's name in the reference.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "ListReply",
            Self::Snapshot => "Snapshot",
            Self::Control => "ControlReply",
            Self::Health => "HealthReply",
        }
    }

    /// Reads a `result` as the type, to say what is wrong with it.
    ///
    /// # Errors
    /// What serde says of it.
    pub fn check(self, result: Value) -> Result<(), serde_json::Error> {
        match self {
            Self::List => serde_json::from_value::<ListReply>(result).map(drop),
            Self::Snapshot => serde_json::from_value::<Snapshot>(result).map(drop),
            Self::Control => serde_json::from_value::<ControlReply>(result).map(drop),
            Self::Health => serde_json::from_value::<HealthReply>(result).map(drop),
        }
    }
}

impl RequestExample {
    /// Returns the line for the NATS command-line tool that sends it.
    pub fn nats_line(&self) -> String {
        format!("nats req {} '{}'", self.subject, self.body)
    }
}

/// Returns every request that is answered, in an order in which they can be sent one after the other: `service` runs
/// in the end as it did in the beginning.
pub fn requests(prefix: &SubjectPrefix, manager: &ServiceId, service: &ServiceId) -> Vec<RequestExample> {
    const ASK: &[ErrorKind] = &[ErrorKind::BadRequest, ErrorKind::Unavailable, ErrorKind::Internal];
    const ASK_ONE: &[ErrorKind] = &[
        ErrorKind::BadRequest,
        ErrorKind::UnknownService,
        ErrorKind::Unavailable,
        ErrorKind::Internal,
    ];
    const HEALTH: &[ErrorKind] = &[ErrorKind::BadRequest, ErrorKind::Timeout, ErrorKind::Internal];
    const CONTROL: &[ErrorKind] = &[
        ErrorKind::BadRequest,
        ErrorKind::UnknownService,
        ErrorKind::NotPermitted,
        ErrorKind::ConditionFailed,
        ErrorKind::JobFailed,
        ErrorKind::Canceled,
        ErrorKind::Timeout,
        ErrorKind::Unavailable,
        ErrorKind::Internal,
    ];
    let to_manager = |word, does, reply, errors| RequestExample {
        word,
        answered_by: Answerer::Manager,
        pattern: "P.rpc.MANAGER_ID.v1.WORD",
        subject: prefix.rpc(manager, word),
        body: "",
        does,
        reply,
        errors,
    };
    let about = |word, body, does, reply, errors| RequestExample {
        pattern: "P.rpc.MANAGER_ID.v1.WORD.SERVICE_ID",
        subject: prefix.rpc_about(manager, word, service),
        body,
        ..to_manager(word, does, reply, errors)
    };
    let owner = |word, body, does, reply, errors| RequestExample {
        pattern: "P.rpc.SERVICE_ID.v1.WORD",
        subject: prefix.rpc(service, word),
        body,
        ..to_manager(word, does, reply, errors)
    };
    let same =
        "The same, with the manager named: where two hosts have the service, only this is unambiguous.";
    let control = Reply::Control;
    vec![
        to_manager(Word::List, "Returns all services of a manager.", Reply::List, ASK),
        to_manager(
            Word::Health,
            "Says whether the manager's own work is alive.",
            Reply::Health,
            HEALTH,
        ),
        owner(
            Word::Status,
            "",
            "Returns what systemd says of a service now.",
            Reply::Snapshot,
            ASK_ONE,
        ),
        about(Word::Status, "", same, Reply::Snapshot, ASK_ONE),
        owner(
            Word::Stop,
            "",
            "Stops a service and says how it is when the job is done.",
            control,
            CONTROL,
        ),
        owner(
            Word::Start,
            r#"{"timeout_s": 30}"#,
            "Starts a service and waits for READY.",
            control,
            CONTROL,
        ),
        owner(
            Word::Restart,
            r#"{"no_block": true}"#,
            "Stops and starts a service.",
            control,
            CONTROL,
        ),
        about(Word::Stop, "", same, control, CONTROL),
        about(Word::Restart, r#"{"timeout_s": 30}"#, same, control, CONTROL),
        about(Word::Start, r#"{"timeout_s": 30}"#, same, control, CONTROL),
        RequestExample {
            answered_by: Answerer::Service,
            ..owner(
                Word::Health,
                "",
                "Says whether a service's own work is alive.",
                Reply::Health,
                HEALTH,
            )
        },
    ]
}
