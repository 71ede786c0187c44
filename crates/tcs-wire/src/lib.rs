//! What travels between the parts of tcs: names, subjects, envelope and messages.
//!
//! Pure types without I/O. The subjects and shapes are those of the Python library `serverish` and of the services
//! built on it, so that both live on one bus; `docs/wire.md` is the reference, generated from this crate.

mod ending;
mod envelope;
mod exit;
mod id;
mod manifest;
mod message_id;
pub mod reference;
mod registry;
pub mod rpc;
mod snapshot;
mod status;
mod subject;
mod time;
mod unit;

pub use ending::{end_words, exit_words};
pub use envelope::{DecodeError, Message, Meta, Object};
pub use exit::Exit;
pub use id::{
    DEV_VARIANT, HostName, IdError, MAIN_VARIANT, MAX_HOST_LEN, MAX_ID_LEN, MAX_SEGMENT_LEN, RESERVED_TYPES,
    ServiceId, ServiceType, Variant,
};
pub use manifest::{CONTRACT_VERSION, Manifest};
pub use message_id::MessageId;
pub use registry::{EventKind, RegistryEvent, RestartPolicy, StopReason};
pub use snapshot::{Kind, Snapshot, State, TimerSnapshot, UnitSnapshot};
pub use status::{Heartbeat, Status, StatusDetails, StatusReport};
pub use subject::{Bucket, PrefixError, StreamDefinition, SubjectPrefix};
pub use time::WireTime;
pub use unit::{TEMPLATE_PREFIX, UnitKind, UnitName};
