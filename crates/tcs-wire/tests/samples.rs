//! Messages captured from a live bus: they are read, written again, and nothing is lost or added.
#![expect(clippy::unwrap_used, reason = "in tests, also outside of the test functions")]

use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tcs_wire::rpc::{ErrorKind, read_reply};
use tcs_wire::{DecodeError, Heartbeat, Message, Object, RegistryEvent, StatusReport, SubjectPrefix};

/// One captured message.
#[derive(Debug, Clone, serde::Deserialize)]
struct Sample {
    name: String,
    subject: String,
    payload: Value,
    payload_text: String,
}

/// What a body is read as.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Registry,
    Status,
    Heartbeat,
    /// A kind that the suite hands on without a type of its own.
    Any,
}

impl Sample {
    fn shape(&self) -> Shape {
        match self.subject.split('.').nth(1) {
            Some("registry") => Shape::Registry,
            Some("status") => Shape::Status,
            Some("heartbeat") => Shape::Heartbeat,
            _ => Shape::Any,
        }
    }

    fn decode(&self) -> Message {
        Message::decode(self.payload_text.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

fn sample(name: &str) -> Sample {
    let path = format!("{}/tests/data/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// All samples whose body is one message; the transcript of a conversation is read by a test of its own.
fn samples() -> Vec<Sample> {
    static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(read_samples);
    SAMPLES.clone()
}

fn read_samples() -> Vec<Sample> {
    let directory = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")).unwrap();
    let names = directory.filter_map(|file| {
        let name = file.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".json").map(str::to_owned)
    });
    let mut samples: Vec<_> = names
        .filter(|name| name != "plain_rpc_responder_interop")
        .map(|name| sample(&name))
        .collect();
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(samples.len() > 40, "only {} samples", samples.len());
    samples
}

/// Reads a body through the type that its subject calls for and writes it again.
fn again(shape: Shape, message: Message) -> Result<Vec<u8>, DecodeError> {
    fn through<T: Serialize + DeserializeOwned>(message: Message) -> Result<Vec<u8>, DecodeError> {
        Ok(Message::new(&message.read::<T>("message")?, message.meta).encode())
    }
    match shape {
        Shape::Registry => through::<RegistryEvent>(message),
        Shape::Status => through::<StatusReport>(message),
        Shape::Heartbeat => through::<Heartbeat>(message),
        Shape::Any => Ok(message.encode()),
    }
}

/// Reads a body as everything that it might be taken for.
fn read_as_all(body: &[u8]) {
    for message in [Message::decode(body), Message::decode_request(body)]
        .into_iter()
        .flatten()
    {
        for shape in [Shape::Registry, Shape::Status, Shape::Heartbeat, Shape::Any] {
            if let Ok(body) = again(shape, message.clone()) {
                assert!(
                    Message::decode(&body).is_ok(),
                    "what we write, we read: {}",
                    body.escape_ascii()
                );
            }
        }
        let _ = read_reply::<Value>(&message);
        let _ = message.read::<tcs_wire::rpc::ControlArgs>("request");
        let _ = message.read::<tcs_wire::Snapshot>("snapshot");
    }
}

#[test]
fn every_message_survives_reading_and_writing() {
    let mut seen = Vec::new();
    for sample in samples().into_iter().filter(|sample| !sample.payload.is_null()) {
        let body = again(sample.shape(), sample.decode()).unwrap_or_else(|error| {
            panic!(
                "{}: {error}: {:?}",
                sample.name,
                std::error::Error::source(&error)
            )
        });
        let written: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(written, sample.payload, "{}", sample.name);
        seen.push(sample.shape());
    }
    let count = |shape| seen.iter().filter(|seen| **seen == shape).count();
    let counts = (
        count(Shape::Registry),
        count(Shape::Status),
        count(Shape::Heartbeat),
    );
    assert_eq!(counts, (13, 7, 3), "samples of registry, status and heartbeat");
}

#[test]
fn subjects_are_made_of_what_the_messages_say() {
    let prefix = SubjectPrefix::default();
    for sample in samples() {
        let subject = match sample.shape() {
            Shape::Registry => {
                let event: RegistryEvent = sample.decode().read("event").unwrap();
                prefix.registry(event.kind().unwrap(), &event.service_id)
            }
            Shape::Status => prefix.status(&sample.decode().read::<StatusReport>("status").unwrap().name),
            Shape::Heartbeat => {
                prefix.heartbeat(&sample.decode().read::<Heartbeat>("heartbeat").unwrap().service_id)
            }
            Shape::Any => continue,
        };
        assert_eq!(subject, sample.subject, "{}", sample.name);
    }
}

#[test]
fn unlimited_restarts_are_a_null_and_not_an_absence() {
    let event = |name| sample(name).decode().read::<RegistryEvent>("event").unwrap();
    assert_eq!(event("registry_restarting_unlimited").max_restarts, Some(None));
    assert_eq!(event("registry_restarting_limited").max_restarts, Some(Some(2)));
    assert_eq!(event("registry_crashed_final").max_restarts, None);
}

#[test]
fn what_python_writes_and_json_does_not_know_is_read() {
    let message = sample("unicode_and_nan").decode();
    let expected = json!({"txt": "zażółć 🔭", "nan": null, "inf": null});
    assert_eq!(Value::Object(message.data.unwrap()), expected);
    assert_eq!(message.meta.id, "msg-3");
}

#[test]
fn bodies_without_a_message_are_errors() {
    for name in ["test_ping", "kv_delete"] {
        let body = sample(name).payload_text;
        assert!(
            matches!(Message::decode(body.as_bytes()), Err(DecodeError::Empty)),
            "{name}"
        );
    }
}

#[test]
fn requests_and_replies_of_python_are_understood() {
    let request = Message::decode_request(sample("rpc_request").payload_text.as_bytes()).unwrap();
    assert!(!request.bare && request.data.as_ref().is_some_and(|data| data["b"] == 2));
    let request =
        Message::decode_request(sample("rpc_request_without_data").payload_text.as_bytes()).unwrap();
    assert!(!request.bare && request.data.is_none());
    assert!(
        request.read::<tcs_wire::rpc::ControlArgs>("request").is_ok(),
        "no data reads as no arguments"
    );

    let reply = |name: &str| read_reply::<Value>(&sample(name).decode()).unwrap();
    assert_eq!(reply("rpc_reply_ok"), Ok(json!({"c": 3})));
    assert_eq!(reply("rpc_reply_domain_style").unwrap()["response"], "on");
    let error = reply("rpc_reply_error").unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Internal, "'b'"));
}

/// The conversation of the peers' requester with a responder written from the contract.
#[test]
fn replies_are_read_as_the_python_requester_reads_them() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/plain_rpc_responder_interop.json"
    );
    let transcript: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for case in transcript["cases"].as_array().unwrap() {
        let decoded = Message::decode(case["reply_bytes"].as_str().unwrap().as_bytes());
        if case.get("requester_raised").is_some() {
            assert!(decoded.is_err(), "{case}");
            continue;
        }
        match read_reply::<Value>(&decoded.unwrap()).unwrap() {
            Ok(result) => assert_eq!(result, case["requester_got_data"], "{case}"),
            Err(error) => assert_eq!(error.message, case["requester_got_meta"]["error"], "{case}"),
        }
    }
}

/// The table of defective bodies in the contract, section 2.6.
#[test]
fn defective_bodies_end_as_the_contract_says() {
    let data = |body: &str| Message::decode(body.as_bytes()).map(|message| message.data);
    let object = |value: Value| value.as_object().cloned();
    assert_eq!(data(r#"{"data":{"a":1}}"#).unwrap(), object(json!({"a": 1})));
    assert_eq!(data(r#"{"k":1}"#).unwrap(), None, "bare: an empty message");
    for body in [
        r#"{"data":null,"meta":{}}"#,
        r#"{"data":null,"meta":null}"#,
        "",
        " ",
        "hello",
        "[1]",
        "7",
        "null",
    ] {
        assert!(data(body).is_err(), "{body}");
    }
    assert!(
        Message::decode(b"{\"data\":{\"a\":\"\xff\"}}").is_err(),
        "invalid UTF-8"
    );
    let odd = r#"{"data":{"a":1},"meta":{"id":7,"ts":"yesterday","trace_level":"high"}}"#;
    assert_eq!(
        data(odd).unwrap(),
        object(json!({"a": 1})),
        "a defective meta hides nothing"
    );
    // Too deep for the parser, and for the stack if it were not.
    assert!(
        data(&format!(
            "{{\"data\":{}1{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        ))
        .is_err()
    );
}

#[test]
fn what_python_readers_would_break_on_is_an_error_with_its_place() {
    for (name, key, value) in [
        ("status_service_ok", "status", json!("running")),
        ("status_service_ok", "timestamp", json!([2026, 11, 22])),
        ("status_service_ok", "timestamp", json!("2026-11-22T17:17:35Z")),
        ("status_service_ok", "message", json!(7)),
        ("heartbeat_service", "timestamp", json!(1_795_366_655.9)),
        (
            "registry_start",
            "timestamp",
            json!([2026, 11, 22, 17, 17, 33, 6, 0, 0]),
        ),
    ] {
        let sample = sample(name);
        let mut message = sample.decode();
        message
            .data
            .as_mut()
            .unwrap()
            .insert(key.to_owned(), value.clone());
        let error = again(sample.shape(), message).expect_err(&format!("{name} with {key} {value}"));
        assert_eq!(error.to_string(), "the message's data is not a message");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn every_truncated_message_is_an_error() {
    for sample in samples() {
        let body = sample.payload_text.as_bytes();
        for length in 0..body.len() {
            let part = &body[..length];
            assert!(Message::decode(part).is_err(), "{} cut at {length}", sample.name);
            assert_eq!(
                Message::decode_request(part).is_ok(),
                length == 0,
                "{} cut at {length}",
                sample.name
            );
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        proptest::collection::vec(any::<i64>(), 0..9).prop_map(Value::from),
        Just(json!({})),
        Just(json!([{"name": null}])),
    ]
}

/// Returns the place of the `n`th value below `value`, itself included, in the order of reading.
fn nth(value: &mut Value, n: usize) -> &mut Value {
    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Object(object) => object.values().map(count).sum(),
            Value::Array(array) => array.iter().map(count).sum::<usize>(),
            _ => 0,
        }
    }
    let mut left = n % count(value);
    if left == 0 {
        return value;
    }
    left -= 1;
    let parts: Vec<&mut Value> = match value {
        Value::Object(object) => object.values_mut().collect(),
        Value::Array(array) => array.iter_mut().collect(),
        _ => unreachable!("only these two have parts"),
    };
    for part in parts {
        let size = count(part);
        if left < size {
            return nth(part, left);
        }
        left -= size;
    }
    unreachable!("n is smaller than the number of values")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_never_panic(
        which in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..6),
    ) {
        let samples = samples();
        let mut body = which.get(&samples).payload_text.clone().into_bytes();
        for (place, kind, byte) in edits {
            if body.is_empty() {
                break;
            }
            let place = place.index(body.len());
            match kind {
                0 => body[place] = byte,
                1 => body.insert(place, byte),
                2 => drop(body.remove(place)),
                _ => drop(body.drain(place..(place + usize::from(byte)).min(body.len()))),
            }
        }
        read_as_all(&body);
    }

    #[test]
    fn changed_values_never_panic_and_a_foreign_meta_never_hides_the_data(
        which in any::<prop::sample::Index>(), place in 0..60_usize, value in any_json(),
    ) {
        let samples: Vec<_> = samples().into_iter().filter(|sample| sample.payload.is_object()).collect();
        let sample = which.get(&samples);
        let mut anywhere = sample.payload.clone();
        *nth(&mut anywhere, place) = value.clone();
        read_as_all(anywhere.to_string().as_bytes());

        let mut in_meta = sample.payload.clone();
        *nth(&mut in_meta["meta"], place) = value;
        let message = Message::decode(in_meta.to_string().as_bytes()).unwrap();
        let expected = sample.payload.get("data").and_then(Value::as_object).cloned();
        prop_assert_eq!(message.data.as_ref(), expected.as_ref());
        prop_assert!(again(sample.shape(), message).is_ok());
    }

    #[test]
    fn words_that_we_do_not_know_are_kept(key in "[a-z]{3,8}_x", value in any_json()) {
        let mut message = sample("registry_start").decode();
        let data: &mut Object = message.data.as_mut().unwrap();
        data.insert(key.clone(), value);
        message.meta.extra.insert(key, Value::from(1));
        let written: Value = serde_json::from_slice(&again(Shape::Registry, message.clone()).unwrap()).unwrap();
        prop_assert_eq!(written, serde_json::from_slice::<Value>(&message.encode()).unwrap());
    }
}
