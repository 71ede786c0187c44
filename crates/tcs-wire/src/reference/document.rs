//! `docs/wire.md`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::schema::{fields, schema_of, words};
use super::{Answerer, COMMAND, Reply, RequestExample, requests};
use crate::envelope::{Message, Meta};
use crate::exit::Exit;
use crate::id::{HostName, ServiceId};
use crate::message_id::MessageId;
use crate::registry::{EventKind, RegistryEvent};
use crate::rpc::{ControlArgs, ControlReply, ErrorKind, HealthReply, ListReply, RpcError, reply};
use crate::snapshot::{Kind, Snapshot, State, TimerSnapshot, UnitSnapshot};
use crate::status::{Heartbeat, Status, StatusDetails, StatusReport};
use crate::subject::{Bucket, SubjectPrefix};
use crate::time::WireTime;

const INTRODUCTION: &str = "\
# The wire

What the parts of tcs say to each other on NATS. Subjects and shapes are those of the Python library `serverish` and of
the services built on it, so that both live on one bus. `P` is the subject prefix, `svc` unless the site sets another.

Writers are strict, readers are lenient: a missing `meta`, an unknown key or a bare `NaN` stops nobody, and a message
that cannot be read is passed over. A numbered design decision is explained in [design.md](design.md); what the Python side
itself does stands in [peers.md](peers.md).";

const ENVELOPE: &str = "\
## Envelope

Every body is one JSON object. `data` is left out, never null, where there is nothing to say; on reading, every key of
`meta` is optional.";

const REQUESTS: &str = "\
## Requests

A core NATS request, its body either an envelope or the arguments alone: an empty body and `{}` are no arguments. Who
asks bare is answered bare. The queue group is the subject. What cannot be decoded is answered with `bad_request`, and a
service or manager that is not there is answered by the server: no responders.

The `data` of a reply holds `status`: `ok` with the answer in `result`, or `error` with the kind in `error`, the words in
`message` and an exit code in `code`; `meta.status` and `meta.error` repeat it for the Python requester. The `nats` lines
are for the command-line tool of NATS.";

/// Returns the whole document; it depends on nothing but the code.
pub fn document() -> String {
    let cast = Cast::new();
    let parts = [
        format!("<!-- Generated from crates/tcs-wire. Do not edit; run: {COMMAND} -->\n\n{INTRODUCTION}"),
        envelope(&cast),
        subjects(),
        streams(&cast),
        buckets(),
        registry(&cast),
        status(&cast),
        all_requests(&cast),
        errors(),
        types(),
        snapshot(),
    ];
    let mut document = parts.map(|part| part.trim_end().to_owned()).join("\n\n");
    document.push('\n');
    document
}

/// Who and when in all examples.
struct Cast {
    prefix: SubjectPrefix,
    manager: ServiceId,
    service: ServiceId,
    now: WireTime,
}

impl Cast {
    fn new() -> Self {
        Self {
            prefix: SubjectPrefix::default(),
            manager: ServiceId::manager(&HostName::from_system("obs1")),
            service: ServiceId::parse("hello_world.main").expect("an id that keeps to the grammar of ids"),
            now: WireTime::from_unix_micros(1_795_367_868_063_494).expect("an instant between 1970 and 9999"),
        }
    }

    /// Returns the body of a message as text.
    fn body<T: serde::Serialize>(&self, sender: &ServiceId, data: &T) -> String {
        text(&Message::new(data, self.meta(sender)))
    }

    fn meta(&self, sender: &ServiceId) -> Meta {
        Meta::new("msg-17", sender.as_str(), self.now)
    }
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.encode()).into_owned()
}

fn envelope(cast: &Cast) -> String {
    let example = cast.body(&cast.service, &json!({"measurements": {"temp": 12.5}}));
    let lifecycle = MessageId::lifecycle("BOOT_ID", "INVOCATION_ID", EventKind::Crashed, None);
    let counted = MessageId::counted("INSTANCE", 17);
    format!(
        "{ENVELOPE}\n\n```\n{example}\n```\n\n\
         A time is always `[year, month, day, hour, minute, second, microsecond]`, UTC; six integers are read too.\n\n\
         What goes to a stream carries the header `Nats-Msg-Id`, by which the server drops a repeat: `{counted}` (random\n\
         per process, and a counter), or for a lifecycle event `{lifecycle}`: the same whether it was seen live or\n\
         read from the journal."
    )
}

fn subjects() -> String {
    let rows = [
        (
            "P.registry.EVENT.SERVICE_ID",
            "stream",
            "the manager",
            "what happens to a service",
        ),
        (
            "P.status.SERVICE_ID",
            "stream",
            "the service; for a dead one the manager",
            "how it is",
        ),
        (
            "P.heartbeat.SERVICE_ID",
            "stream",
            "the service",
            "that it is, at the first status and every 10 s",
        ),
        (
            "P.rpc.SERVICE_ID.v1.WORD",
            "request",
            "asked of the owning manager or the service",
            "see Requests",
        ),
        (
            "P.rpc.MANAGER_ID.v1.WORD",
            "request",
            "asked of a manager",
            "see Requests",
        ),
        (
            "P.rpc.MANAGER_ID.v1.WORD.SERVICE_ID",
            "request",
            "asked of a manager",
            "see Requests",
        ),
    ];
    let mut table =
        String::from("## Subjects\n\n| subject | how | by whom | what |\n| --- | --- | --- | --- |\n");
    for (subject, how, whom, what) in rows {
        let _ = writeln!(table, "| `{subject}` | {how} | {whom} | {what} |");
    }
    table + "\n`SERVICE_ID` is `TYPE.VARIANT`, the last dot separates; `MANAGER_ID` is `manager.HOST`."
}

fn streams(cast: &Cast) -> String {
    let mut table = String::from(
        "## Streams\n\n\
         Made when they are missing (unless the site says `manage_streams: false`) and never changed when they are there:\n\
         file storage, acknowledged, the oldest discarded. The names are free, everything is found by subject.\n\n\
         | stream | subjects | per subject | bytes | age |\n| --- | --- | --- | --- | --- |\n",
    );
    for stream in cast.prefix.streams() {
        let age = match stream.max_age_s / 86_400 {
            0 => "no limit".to_owned(),
            days => format!("{days} d"),
        };
        let (name, subjects, bytes) = (stream.name, stream.subjects, stream.max_bytes / 1_000_000);
        let _ = writeln!(
            table,
            "| `{name}` | `{subjects}` | {} | {bytes} MB | {age} |",
            stream.max_messages_per_subject
        );
    }
    table
}

fn buckets() -> String {
    let mut table = String::from(
        "## Key-value buckets\n\n\
         Another prefix than `svc` is appended to the name, dots as `_`.\n\n\
         | bucket | key | value |\n| --- | --- | --- |\n",
    );
    for bucket in Bucket::ALL {
        let (key, value) = match bucket {
            Bucket::State => (
                "`MANAGER_ID.SERVICE_ID`",
                "a [Snapshot](#snapshot) as JSON, without an envelope",
            ),
            Bucket::Config => (
                "`defaults`, `type.TYPE`, `service.SERVICE_ID`, `host.HOST`",
                "reserved",
            ),
            Bucket::Claims => (
                "`MANAGER_ID`",
                "which process is that manager; keys `SERVICE_ID` are reserved",
            ),
        };
        let _ = writeln!(table, "| `{}` | {key} | {value} |", bucket.as_str());
    }
    table
}

fn registry(cast: &Cast) -> String {
    let id = cast.service.as_str();
    let mut section =
        String::from("## Lifecycle events\n\n| event | when | `status` |\n| --- | --- | --- |\n");
    for ((word, when), kind) in words::<EventKind>().into_iter().zip(EventKind::ALL) {
        let status = match kind {
            EventKind::Crashed => "`error` when it will be restarted, else `failed`".to_owned(),
            _ => RegistryEvent::new(kind, id, cast.now)
                .status
                .map_or_else(String::new, |status| format!("`{status}`")),
        };
        let _ = writeln!(section, "| `{word}` | {when} | {status} |");
    }
    let example = cast.body(&cast.manager, &RegistryEvent::crashed(id, cast.now, -9, true));
    let subject = cast.prefix.registry(EventKind::Crashed, id);
    let _ = write!(
        section,
        "\n`{subject}`:\n\n```\n{example}\n```\n\n{}",
        fields::<RegistryEvent>()
    );
    section
}

fn status(cast: &Cast) -> String {
    let mut section = String::from(
        "## Status and heartbeat\n\n\
         | status | meaning | operational | healthy | final |\n| --- | --- | --- | --- | --- |\n",
    );
    for ((word, meaning), status) in words::<Status>().into_iter().zip(Status::ALL) {
        let mark = |is: bool| if is { "yes" } else { "" };
        let (operational, healthy) = (mark(status.is_operational()), mark(status.is_healthy()));
        let _ = writeln!(
            section,
            "| `{word}` | {meaning} | {operational} | {healthy} | {} |",
            mark(status.is_final())
        );
    }
    let mut order = Status::ALL;
    order.sort_by_key(|status| {
        Status::ALL
            .iter()
            .filter(|other| Status::aggregate([*status, **other]) != *status)
            .count()
    });
    let order: Vec<&str> = order.iter().map(|status| status.as_str()).collect();
    let id = cast.service.as_str();
    let report = StatusReport {
        name: id.to_owned(),
        status: Status::Ok,
        timestamp: cast.now,
        message: Some("greeting every 10 s".to_owned()),
        details: None,
        parent: Some(cast.manager.to_string()),
        pid: Some(4242),
        hostname: Some("obs1".to_owned()),
    };
    let mut message = Message::new(&report, cast.meta(&cast.service));
    message.meta.timestamp = Some(cast.now);
    let heartbeat = Heartbeat {
        service_id: id.to_owned(),
        timestamp: cast.now,
        status: Status::Ok,
    };
    let _ = write!(
        section,
        "\nThe set is closed. Of several, a service's own and its parts', the worst stands: {}.\n\n\
         `{}`, on every change:\n\n```\n{}\n```\n\n{}\nIn `details`:\n\n{}\n\
         `{}`; more than 30 s without one is stale, 120 s dead:\n\n```\n{}\n```\n\n{}",
        order.join(" > "),
        cast.prefix.status(id),
        text(&message),
        fields::<StatusReport>(),
        fields::<StatusDetails>(),
        cast.prefix.heartbeat(id),
        cast.body(&cast.service, &heartbeat),
        fields::<Heartbeat>(),
    );
    section
}

fn all_requests(cast: &Cast) -> String {
    let refused = RpcError::new(ErrorKind::UnknownService, "no service `hello_wrld.main` on obs1");
    let accepted = reply(&Ok(json!({"job": "done"})), cast.meta(&cast.manager), false);
    let mut section = format!(
        "{REQUESTS}\n\n```\n{}\n{}\n```",
        text(&accepted),
        text(&reply::<Value>(&Err(refused), cast.meta(&cast.manager), false))
    );
    for example in requests(&cast.prefix, &cast.manager, &cast.service) {
        let _ = write!(section, "\n\n{}", request(&example));
    }
    section
}

fn request(example: &RequestExample) -> String {
    let whom = match example.answered_by {
        Answerer::Manager => "a manager",
        Answerer::Service => "the service",
    };
    let arguments = match example.reply {
        Reply::Control => "[ControlArgs](#controlargs)",
        _ => "none",
    };
    let kinds: Vec<String> = example.errors.iter().map(|kind| format!("`{kind}`")).collect();
    let reply = example.reply.name();
    format!(
        "### `{}`\n\n{} Asked of {whom}.\n\nArguments: {arguments}. Result: [{reply}](#{}).\n\nErrors: {}.\n\n```\n{}\n```",
        example.pattern.replace("WORD", example.word.as_str()),
        example.does,
        reply.to_lowercase(),
        kinds.join(", "),
        example.nats_line(),
    )
}

fn errors() -> String {
    let mut section = String::from(
        "## Kinds of error\n\n| kind | when | exit code of the command |\n| --- | --- | --- |\n",
    );
    for kind in ErrorKind::ALL {
        let _ = writeln!(
            section,
            "| `{kind}` | {} | {} |",
            kind.meaning(),
            kind.exit_code()
        );
    }
    section += "\n## Exit codes\n\n| code | when |\n| --- | --- |\n";
    for exit in Exit::ALL {
        let _ = writeln!(section, "| {} | {} |", exit.code(), exit.meaning());
    }
    section
}

fn types() -> String {
    let mut section = String::from("## Types of requests and replies");
    for (name, table) in [
        ("ControlArgs", fields::<ControlArgs>()),
        ("ControlReply", fields::<ControlReply>()),
        ("ListReply", fields::<ListReply>()),
        ("HealthReply", fields::<HealthReply>()),
    ] {
        let _ = write!(section, "\n\n### {name}\n\n{}", table.trim_end());
    }
    for (name, words) in [("State", words::<State>()), ("Kind", words::<Kind>())] {
        let _ = write!(section, "\n\n### {name}\n\n| word | meaning |\n| --- | --- |\n");
        for (word, meaning) in words {
            let _ = writeln!(section, "| `{word}` | {meaning} |");
        }
        section.truncate(section.trim_end().len());
    }
    section
}

fn snapshot() -> String {
    let schema = serde_json::to_string_pretty(&schema_of::<Snapshot>()).unwrap_or_default();
    format!(
        "## Snapshot\n\nOne record of the mirror: what systemd says of a service, in its own words.\n\n{}\n\
         ### UnitSnapshot\n\n{}\n### TimerSnapshot\n\n{}\n### JSON schema\n\n```json\n{schema}\n```",
        fields::<Snapshot>(),
        fields::<UnitSnapshot>(),
        fields::<TimerSnapshot>(),
    )
}
