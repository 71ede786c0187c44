//! JSON output: the same names as in the table, times as RFC 3339 in UTC.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tcs_client::{Condition, Health, Liveness, ManagerView, ServiceView};
use tcs_wire::{Kind, WireTime};

#[derive(Debug, Serialize)]
struct Service<'a> {
    service_id: &'a str,
    host: Option<&'a str>,
    kind: Option<Kind>,
    state: Condition,
    certain: bool,
    health: Option<Health>,
    since: Option<Timestamp>,
    pid: Option<u32>,
    restarts: Option<u32>,
    next: Option<Timestamp>,
    message: Option<&'a str>,
    declared: bool,
    parent: Option<&'a str>,
    last_heartbeat: Option<Timestamp>,
}

/// Returns what the table shows of a service, and with `detail` all that is known.
pub(crate) fn service(view: &ServiceView, detail: bool) -> Value {
    let mut value = json!(Service {
        service_id: &view.name,
        host: view.host.as_deref(),
        kind: view.kind,
        state: view.condition,
        certain: view.certain,
        health: view.health,
        since: view.since,
        pid: view.pid,
        restarts: view.restarts,
        next: view.next,
        message: view.message.as_deref(),
        declared: view.declared,
        parent: view.parent.as_deref(),
        last_heartbeat: view.last_heartbeat,
    });
    if detail {
        value["snapshot"] = with_rfc3339(json!(view.snapshot));
        value["status"] = with_rfc3339(json!(view.report));
    }
    value
}

/// Returns a manager and whether it is there.
pub(crate) fn manager(view: &ManagerView) -> Value {
    let (state, since) = match view.liveness {
        Liveness::Alive => ("alive", None),
        Liveness::Silent { since } => ("silent", Some(since)),
        Liveness::Stopped { since } => ("stopped", Some(since)),
        Liveness::NeverHeard => ("unknown", None),
    };
    json!({ "id": view.id, "host": view.host, "state": state, "since": since, "services": view.services })
}

/// Writes the wire's times, seven integers, as text.
pub(crate) fn with_rfc3339(value: Value) -> Value {
    match value {
        // Seven numbers that begin with a year are a time; a list of seven measurements begins otherwise.
        Value::Array(items) if items.len() == 7 && items[0].as_i64().is_some_and(|year| year >= 1970) => {
            match serde_json::from_value::<WireTime>(Value::Array(items.clone())) {
                Ok(time) => time.timestamp().to_string().into(),
                Err(_) => Value::Array(items),
            }
        }
        Value::Array(items) => items.into_iter().map(with_rfc3339).collect(),
        Value::Object(object) => object
            .into_iter()
            .map(|(key, value)| (key, with_rfc3339(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_wire_become_text_at_any_depth() {
        let value = json!({ "a": [{ "t": [2026, 11, 22, 17, 17, 48, 63494] }], "counts": [1, 2, 3, 4, 5, 6, 7], "n": null });
        let expected = json!({ "a": [{ "t": "2026-11-22T17:17:48.063494Z" }], "counts": [1, 2, 3, 4, 5, 6, 7], "n": null });
        assert_eq!(with_rfc3339(value), expected);
    }
}
