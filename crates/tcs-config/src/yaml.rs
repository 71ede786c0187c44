//! The one place that knows the YAML crate: text in, a tree with places out.
//!
//! The tree is our own, since what is checked against it (a type's schema, keys across files) is not known when the
//! text is parsed, and every message needs its line and column (design decision 34).

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_yaml::options::DuplicateKeyPolicy;
use serde_yaml::{Location, Options, Spanned};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::{Source, Span};

/// Most nodes in one file, aliases counted as often as they are used (design decision 34).
const MAX_NODES: usize = 500_000;

/// A value of a configuration file and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// Keys and values in the order of the file; one key may stand there twice.
pub(crate) type Map = Vec<(Key, Node)>;

/// A key and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) span: Span,
}

impl Node {
    /// Returns what kind of value this is, for messages: "the text `abc`".
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(flag) => format!("`{flag}`"),
            Value::Number(number) => format!("the number {number}"),
            Value::Text(text) if text.chars().count() <= 40 && !text.contains('\n') => {
                format!("the text `{text}`")
            }
            Value::Text(_) => "a text".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map of keys".to_owned(),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Returns the plain value, without places.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::Number(number) => number.clone().into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(map) => serde_json::Value::Object(
                map.iter()
                    .map(|(key, node)| (key.name.clone(), node.to_json()))
                    .collect(),
            ),
        }
    }
}

/// Finds the value of a key.
pub(crate) fn get<'a>(map: &'a Map, name: &str) -> Option<&'a (Key, Node)> {
    map.iter().find(|(key, _)| key.name == name)
}

/// Parses a file; problems that leave a tree behind are added to `problems`.
///
/// # Errors
/// The one problem that leaves no tree.
pub(crate) fn parse(source: &Arc<Source>, problems: &mut Diagnostics) -> Result<Node, Diagnostic> {
    let raw: Raw = serde_yaml::from_str_with_options(&source.text, options())
        .map_err(|error| syntax_error(source, &error))?;
    Ok(finish(raw, source, problems))
}

fn options() -> Options {
    serde_yaml::options! {
        strict_booleans: true,
        // Both are kept, so that one message can name both lines.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        budget: serde_yaml::budget! { max_nodes: MAX_NODES, max_events: 2 * MAX_NODES },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MAX_NODES },
    }
}

fn syntax_error(source: &Arc<Source>, error: &serde_yaml::Error) -> Diagnostic {
    let error = error.without_snippet();
    let span = error
        .location()
        .map_or_else(|| Span::new(source, 0..0), |location| span(source, location));
    let text = error.to_string();
    let message = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(message, _)| message);
    let cause = match error {
        serde_yaml::Error::AliasError { error, .. } => error.without_snippet(),
        other => other,
    };
    match cause {
        serde_yaml::Error::Budget { .. }
        | serde_yaml::Error::AliasReplayLimitExceeded { .. }
        | serde_yaml::Error::AliasReplayStackDepthExceeded { .. }
        | serde_yaml::Error::AliasExpansionLimitExceeded { .. } => {
            Diagnostic::error(&span, "this file is too large or too deep")
                .label(message)
                .help(format!("at most {MAX_NODES} values, 64 levels and 8 MiB are read; split it into services.d/"))
        }
        serde_yaml::Error::UnknownAnchor { .. } => {
            Diagnostic::error(&span, "this alias refers to nothing")
                .help("put `&NAME` before the value that `*NAME` stands for, further up; a text with `*` needs quotes")
        }
        serde_yaml::Error::MultipleDocuments { .. } => {
            Diagnostic::error(&span, "a second document begins in this file").help("remove the line `---`")
        }
        serde_yaml::Error::NullIntoString { .. } => {
            Diagnostic::error(&span, "a key must be a name").help("put the key into quotes")
        }
        _ => Diagnostic::error(&span, format!("this is not YAML: {message}"))
            .help("look at the indentation, quotes and brackets of this line and the one before"),
    }
}

fn span(source: &Arc<Source>, location: Location) -> Span {
    Span::new(source, range(source, location))
}

fn range(source: &Source, location: Location) -> Range<usize> {
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let start = location
        .span()
        .byte_offset()
        .map_or_else(|| source.offset(location.line(), location.column()), whole);
    start..start.saturating_add(whole(location.span().byte_len().unwrap_or(0)))
}

/// Gives every node its source and reports what reads differently in YAML 1.1 and 1.2.
fn finish(raw: Raw, source: &Arc<Source>, problems: &mut Diagnostics) -> Node {
    let span = span(source, raw.at);
    let value = match raw.value {
        RawValue::Scalar(value) => {
            if matches!(value, Value::Number(_)) && looks_octal(span.text()) {
                problems.push(
                    Diagnostic::error(
                        &span,
                        format!("`{}` is octal to some readers and decimal to others", span.text()),
                    )
                    .help("leave out the leading zero, or put it into quotes if it is a text"),
                );
            }
            value
        }
        RawValue::List(items) => Value::List(
            items
                .into_iter()
                .map(|item| finish(item, source, problems))
                .collect(),
        ),
        RawValue::Map(entries) => {
            let mut map: Map = Vec::with_capacity(entries.len());
            let mut seen: HashMap<String, Span> = HashMap::with_capacity(entries.len());
            for (key, value) in entries {
                let key = Key {
                    name: key.value,
                    span: self::span(source, key.defined),
                };
                let value = finish(value, source, problems);
                if let Some(first) = seen.get(&key.name) {
                    problems.push(
                        Diagnostic::error(&key.span, format!("the key `{}` stands here twice", key.name))
                            .also(first, "first here")
                            .help("remove one of them"),
                    );
                } else {
                    seen.insert(key.name.clone(), key.span.clone());
                    map.push((key, value));
                }
            }
            Value::Map(map)
        }
    };
    Node { value, span }
}

/// Returns whether a plain scalar is a number with a leading zero, such as `010` or `-07`.
fn looks_octal(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
    whole.len() > 1
        && whole.starts_with('0')
        && whole.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// A node as the parser gives it, before its source is known.
struct Raw {
    value: RawValue,
    at: Location,
}

enum RawValue {
    Scalar(Value),
    List(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, defined, .. } = Spanned::<RawValue>::deserialize(deserializer)?;
        Ok(Self { value, at: defined })
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Bool(flag)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Number(number.into())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Number(number.into())))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<RawValue, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(RawValue::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Text(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Text(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(RawValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawValue, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(RawValue::Map(map))
    }
}
