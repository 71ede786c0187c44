//! The envelope around every message: one JSON object with `data` and `meta` (contract section 2).
//!
//! Written strictly, read leniently: one malformed message blinds the Python readers for everybody, and none may
//! stop ours.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::time::{self, WireTime};

/// A JSON object, the only shape that `data` may have.
pub type Object = Map<String, Value>;

/// Why a message cannot be read.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// No bytes at all; the peers' connection probe looks so.
    #[error("the message is empty")]
    Empty,
    /// Not JSON, also after the bare words `NaN` and `Infinity` were read as null.
    #[error("the message is not JSON")]
    Json(#[source] serde_json::Error),
    /// JSON, but not an object, or `data` in it is not one.
    #[error("{0} is not a JSON object")]
    NotAnObject(&'static str),
    /// The envelope is there, but `data` is not what the subject calls for.
    #[error("the message's data is not a {expected}")]
    Data {
        /// The kind of message that was expected.
        expected: &'static str,
        /// What serde says of it.
        #[source]
        source: serde_json::Error,
    },
}

/// What is said about a message rather than by it (contract section 2.2).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Meta {
    /// Unique within the sending process.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// Who sends: a service id, or the name of the peer's messenger.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Option::is_none"
    )]
    pub sender: Option<String>,
    /// When the message was made.
    #[serde(
        default,
        deserialize_with = "time::lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub ts: Option<WireTime>,
    /// The log level at which Python readers trace the message.
    #[serde(default = "trace_level", deserialize_with = "level_or_default")]
    pub trace_level: i64,
    /// Names the schema of `data`; empty means any object.
    #[serde(default, deserialize_with = "or_default")]
    pub message_type: String,
    /// Free labels.
    #[serde(default, deserialize_with = "or_default")]
    pub tags: Vec<String>,
    /// Shown by the peers' `tcsctl` as "Last Status" when it stands on a status (contract section 9.3).
    #[serde(
        default,
        deserialize_with = "time::lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub timestamp: Option<WireTime>,
    /// `error` on the reply to a request that failed.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Option::is_none"
    )]
    pub status: Option<String>,
    /// The text of that failure.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Option::is_none"
    )]
    pub error: Option<String>,
    /// Whatever else the sender said.
    #[serde(flatten)]
    pub extra: Object,
}

fn trace_level() -> i64 {
    10
}

/// Reads a field of a foreign message: the wrong type counts as absent.
fn or_default<'de, D: serde::Deserializer<'de>, T: DeserializeOwned + Default>(d: D) -> Result<T, D::Error> {
    let value = Value::deserialize(d)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

fn level_or_default<'de, D: serde::Deserializer<'de>>(d: D) -> Result<i64, D::Error> {
    Ok(Value::deserialize(d)?.as_i64().unwrap_or_else(trace_level))
}

impl Meta {
    /// Returns the meta of a new message, complete as the contract asks for (section 2.2).
    pub fn new(id: impl Into<String>, sender: impl Into<String>, now: WireTime) -> Self {
        Self {
            id: id.into(),
            sender: Some(sender.into()),
            ts: Some(now),
            trace_level: trace_level(),
            ..Self::default()
        }
    }

    /// Sets the name of the data's schema, for example `telemetry`.
    #[must_use]
    pub fn with_type(mut self, message_type: &str) -> Self {
        message_type.clone_into(&mut self.message_type);
        self
    }
}

/// A message as it stands in one NATS body.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    /// What is said; left out, not null, where there is nothing.
    pub data: Option<Object>,
    /// What is said about it.
    pub meta: Meta,
    /// Whether the body came without an envelope: empty, or the arguments alone (design decision 31).
    pub bare: bool,
}

impl Message {
    /// Wraps `data` in an envelope.
    ///
    /// # Panics
    /// Never for the types of this crate: each serialises to an object.
    pub fn new<T: Serialize>(data: &T, meta: Meta) -> Self {
        let data = match serde_json::to_value(data) {
            Ok(Value::Object(object)) => Some(object),
            Ok(other) => Some(Object::from_iter([("value".to_owned(), other)])),
            Err(_) => None,
        };
        Self {
            data,
            meta,
            bare: false,
        }
    }

    /// Reads a body that must carry an envelope; a missing or foreign `meta` is an empty one.
    ///
    /// # Errors
    /// For anything that is not a JSON object whose `data`, where present, is an object.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut object = object(body)?;
        let data = match object.remove("data") {
            None => None,
            Some(Value::Object(data)) => Some(data),
            Some(_) => return Err(DecodeError::NotAnObject("`data`")),
        };
        let meta = object.remove("meta").unwrap_or_default();
        Ok(Self {
            data,
            meta: serde_json::from_value(meta).unwrap_or_default(),
            bare: false,
        })
    }

    /// Reads a request: an envelope, an empty body, or the arguments alone (design decision 31).
    ///
    /// # Errors
    /// For anything that is neither.
    pub fn decode_request(body: &[u8]) -> Result<Self, DecodeError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self {
                bare: true,
                ..Self::default()
            });
        }
        let object = object(body)?;
        if object.contains_key("meta") || object.contains_key("data") {
            return Self::decode(body);
        }
        Ok(Self {
            data: Some(object),
            meta: Meta::default(),
            bare: true,
        })
    }

    /// Returns `data` as the type that `expected` names; absent data reads as an empty object.
    ///
    /// # Errors
    /// When a required field is missing or of another type.
    pub fn read<T: DeserializeOwned>(&self, expected: &'static str) -> Result<T, DecodeError> {
        let data = Value::Object(self.data.clone().unwrap_or_default());
        serde_json::from_value(data).map_err(|source| DecodeError::Data { expected, source })
    }

    /// Returns the body: the envelope, or for a bare message the data alone.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        if let Some(data) = &self.data {
            if self.bare {
                return Value::Object(data.clone()).to_string().into_bytes();
            }
            object.insert("data".to_owned(), Value::Object(data.clone()));
        }
        object.insert(
            "meta".to_owned(),
            serde_json::to_value(&self.meta).unwrap_or_default(),
        );
        Value::Object(object).to_string().into_bytes()
    }
}

fn object(body: &[u8]) -> Result<Object, DecodeError> {
    if body.is_empty() {
        return Err(DecodeError::Empty);
    }
    let value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => match serde_json::from_slice(&without_nan(body)) {
            Ok(value) => value,
            Err(_) => return Err(DecodeError::Json(error)),
        },
    };
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(DecodeError::NotAnObject("the message")),
    }
}

/// Replaces the bare words that Python writes for floats without a JSON form by null, outside of strings.
fn without_nan(body: &[u8]) -> Vec<u8> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut out = Vec::with_capacity(body.len());
    let (mut rest, mut in_string) = (body, false);
    while let Some((&byte, tail)) = rest.split_first() {
        if in_string && byte == b'\\' && !tail.is_empty() {
            out.extend_from_slice(&rest[..2]);
            rest = &rest[2..];
            continue;
        }
        if byte == b'"' {
            in_string = !in_string;
        } else if !in_string && let Some(word) = WORDS.into_iter().find(|word| rest.starts_with(word)) {
            out.extend_from_slice(b"null");
            rest = &rest[word.len()..];
            continue;
        }
        out.push(byte);
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bare_words_of_python_become_null_outside_of_strings() {
        let body = br#"{"data":{"a":NaN,"b":[-Infinity,Infinity],"c":"NaN \" Infinity"}}"#;
        let message = Message::decode(body).unwrap();
        assert_eq!(
            Value::Object(message.data.unwrap()),
            serde_json::json!({"a": null, "b": [null, null], "c": "NaN \" Infinity"})
        );
    }

    #[test]
    fn a_foreign_meta_hides_nothing() {
        let message = Message::decode(
            br#"{"data":{"x":1},"meta":{"id":7,"ts":"now","tags":"t","trace_level":"x","k":1}}"#,
        );
        let message = message.unwrap();
        assert_eq!(message.meta.trace_level, 10);
        assert_eq!(message.meta.extra["k"], 1);
        assert!(Message::decode(br#"{"data":{},"meta":null}"#).is_ok());
    }

    #[test]
    fn defective_bodies_are_errors() {
        for body in [
            &b""[..],
            b"x",
            b"[]",
            br#"{"data":null}"#,
            br#"{"data":[]}"#,
            b"\xff",
            br#"{"data":{}"#,
        ] {
            assert!(Message::decode(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_request_may_come_bare() {
        assert!(Message::decode_request(b"").unwrap().bare);
        let bare = Message::decode_request(br#"{"no_block":true}"#).unwrap();
        assert!(bare.bare && bare.data.unwrap()["no_block"] == true);
        let wrapped = Message::decode_request(br#"{"meta":{"id":"msg"}}"#).unwrap();
        assert!(!wrapped.bare && wrapped.data.is_none());
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::decode(&body);
            let _ = Message::decode_request(&body);
        }

        #[test]
        fn no_near_miss_panics(text in r#"[\{\}\[\]",:a-zNI0-9\\ -]{0,80}"#) {
            let _ = Message::decode(text.as_bytes());
        }
    }
}
