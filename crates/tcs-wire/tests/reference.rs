//! `docs/wire.md` says what the code does.
#![expect(clippy::unwrap_used, reason = "in tests, also outside of the test functions")]

use std::collections::BTreeSet;

use serde_json::Value;
use tcs_wire::reference::{self, requests};
use tcs_wire::rpc::{ControlArgs, ErrorKind, Word};
use tcs_wire::{Exit, Message, ServiceId, SubjectPrefix};

fn examples() -> Vec<reference::RequestExample> {
    let id = |text| ServiceId::parse(text).unwrap();
    requests(
        &SubjectPrefix::default(),
        &id("manager.obs1"),
        &id("hello_world.main"),
    )
}

#[test]
fn the_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wire.md");
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == reference::document(),
        "docs/wire.md is out of date; run: {}",
        reference::COMMAND
    );
}

#[test]
fn every_word_and_kind_of_error_is_in_an_example() {
    let words: Vec<Word> = examples().iter().map(|example| example.word).collect();
    for word in Word::ALL {
        assert!(words.contains(&word), "{word} has no example");
    }
    let kinds: BTreeSet<&str> = examples()
        .iter()
        .flat_map(|example| example.errors)
        .map(|kind| kind.as_str())
        .collect();
    // What is asked on a subject that nobody listens on ends without an answer, not in a kind of error.
    let never = [ErrorKind::UnknownCommand.as_str()];
    for kind in ErrorKind::ALL.map(ErrorKind::as_str) {
        assert!(
            kinds.contains(kind) || never.contains(&kind),
            "{kind} is in no example"
        );
    }
}

#[test]
fn the_bodies_of_the_examples_are_the_arguments() {
    for example in examples() {
        let message = Message::decode_request(example.body.as_bytes()).unwrap();
        assert!(message.bare);
        if example.reply == reference::Reply::Control {
            let arguments: ControlArgs = message.read("request").unwrap();
            assert_eq!(
                arguments == ControlArgs::default(),
                example.body.is_empty(),
                "{}",
                example.nats_line()
            );
        }
    }
}

#[test]
fn exit_codes_are_in_order_and_each_only_once() {
    let codes = Exit::ALL.map(Exit::code);
    assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    for kind in ErrorKind::ALL {
        assert!(
            codes.contains(&kind.exit_code()),
            "{kind} has an exit code of its own"
        );
    }
}

/// The schema in the document accepts what the code writes, as far as its required keys and nothing else go.
#[test]
fn the_schema_in_the_document_is_json_and_names_what_is_written() {
    let document = reference::document();
    let schema = document
        .split("```json\n")
        .filter_map(|part| part.split("```").next())
        .last()
        .unwrap();
    let schema: Value = serde_json::from_str(schema).unwrap();
    let required = schema["required"].as_array().unwrap();
    assert!(required.contains(&Value::from("service_id")) && required.contains(&Value::from("unit")));
    for reference in document
        .match_indices("\"#/$defs/")
        .map(|(at, found)| &document[at + found.len()..])
    {
        let name = reference.split('"').next().unwrap();
        assert!(schema["$defs"].get(name).is_some(), "{name} is not defined");
    }
}
