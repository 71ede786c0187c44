//! `docs/wire.md`.

use std::fmt::{Display, Write};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::schema::{fields, schema_of, words};
use super::{Answerer, COMMAND, Reply, RequestExample, requests};
use crate::envelope::{Message, Meta};
use crate::exit::Exit;
use crate::id::{HostName, ServiceId, ServiceType, Variant};
use crate::message_id::MessageId;
use crate::registry::{EventKind, RegistryEvent};
use crate::rpc::{ControlArgs, ControlReply, ErrorKind, HealthReply, ListReply, RpcError, Word, reply};
use crate::snapshot::{Snapshot, State, TimerSnapshot, UnitSnapshot};
use crate::status::{Heartbeat, Status, StatusDetails, StatusReport};
use crate::subject::{Bucket, SubjectPrefix};
use crate::time::WireTime;

/// Returns the whole document; it depends on nothing but the code.
pub fn document() -> String {
    let parts = [
        format!("<!-- Generated from crates/tcs-wire. Do not edit; run: {COMMAND} -->\n\n{INTRODUCTION}"),
        envelope(),
        subjects(),
        streams(),
        buckets(),
        registry(),
        status(),
        all_requests(),
        errors(),
        types(),
        snapshot(),
    ];
    let mut document = parts.map(|part| part.trim_end().to_owned()).join("\n\n");
    document.push('\n');
    document
}

const INTRODUCTION: &str = "\
# The wire

What the parts of tcs say to each other on NATS. Subjects and shapes are those of the Python library `serverish` and of
the services built on it, so that both live on one bus. `P` is the subject prefix, `svc` unless the site sets another.

Writers are strict, readers are lenient: a missing `meta`, an unknown key or a bare `NaN` stops nobody, and a message
that cannot be read is passed over.";

/// The id, host and time of all examples.
struct Cast {
    prefix: SubjectPrefix,
    manager: ServiceId,
    service: ServiceId,
    now: WireTime,
}

impl Cast {
    fn new() -> Self {
        let hello = ServiceType("hello_world".to_owned());
        let obs1 = HostName::from_system("obs1");
        Self {
            prefix: SubjectPrefix::default(),
            manager: ServiceId::manager(&obs1),
            service: ServiceId { dot: hello.as_str().len(), text: format!("{hello}.{}", Variant::main()) },
            now: WireTime::from(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_micros(1_795_367_868_063_494)),
        }
    }

    fn meta(&self, sender: &ServiceId) -> Meta {
        Meta::new("msg-17", sender.as_str(), self.now)
    }
}
