//! Typed reading of the keys of one map, collecting what is wrong.

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::duration::{from_seconds, parse_duration};
use crate::expand::{TextError, expand_text, has_reference};
use crate::schema::is_yaml_1_1_boolean;
use crate::source::Span;
use crate::suggest::nearest;
use crate::yaml::{self, Map, Node, Value};

/// Where the variables of `${VAR}` come from.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the keys of a map, and of a second one where the first has none.
pub(crate) struct Reader<'a> {
    pub(crate) map: &'a Map,
    pub(crate) defaults: Option<&'a Map>,
    pub(crate) lookup: Lookup<'a>,
    pub(crate) problems: &'a mut Diagnostics,
}

impl<'a> Reader<'a> {
    /// Returns a key's value; nothing behind a key is as good as no key.
    pub(crate) fn node(&self, name: &str) -> Option<&'a Node> {
        self.own(name).or_else(|| {
            let (_, node) = yaml::get(self.defaults?, name)?;
            (!node.is_null()).then_some(node)
        })
    }

    /// Returns a key's value if it stands in the map itself.
    pub(crate) fn own(&self, name: &str) -> Option<&'a Node> {
        let (_, node) = yaml::get(self.map, name)?;
        (!node.is_null()).then_some(node)
    }

    pub(crate) fn wrong(&mut self, node: &Node, name: &str, expected: &str) {
        let message = format!("`{name}` is {}, {expected} is expected", node.describe());
        self.problems
            .push(Diagnostic::error(&node.span, message).help_if(advice(node, expected)));
    }

    /// Reads a text; a number or boolean is refused, since it may not be written the way it was meant.
    pub(crate) fn text(&mut self, name: &str) -> Option<(String, Span)> {
        let node = self.node(name)?;
        self.text_of(node, name, "a text")
    }

    pub(crate) fn text_of(&mut self, node: &Node, name: &str, expected: &str) -> Option<(String, Span)> {
        let Value::Text(text) = &node.value else {
            self.wrong(node, name, expected);
            return None;
        };
        Some((self.expanded(node, text)?, node.span.clone()))
    }

    fn expanded(&mut self, node: &Node, text: &str) -> Option<String> {
        if !has_reference(text) {
            return Some(text.to_owned());
        }
        let problem = match expand_text(text, self.lookup) {
            Ok(expanded) => return Some(expanded),
            Err(TextError::Unset(name)) => Diagnostic::error(
                &node.span,
                format!("the variable `{name}` is not set"),
            )
            .help(format!(
                "set it in /etc/tcs/env (nothing else is read for this key), or write ${{{name}:-default}}"
            )),
            Err(TextError::Malformed) => {
                Diagnostic::error(&node.span, "this is not a reference to a variable")
                    .help("write ${NAME} or ${NAME:-default}, or $${ for the signs themselves")
            }
        };
        self.problems.push(problem);
        None
    }

    /// Reads `true` or `false`.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        let node = self.node(name)?;
        let read = match &node.value {
            Value::Bool(flag) => Some(*flag),
            Value::Text(text) if has_reference(text) => self.expanded(node, text)?.parse().ok(),
            _ => None,
        };
        if read.is_none() {
            self.wrong(node, name, "`true` or `false`");
        }
        read
    }

    /// Reads a whole number from 0 on.
    pub(crate) fn count(&mut self, name: &str) -> Option<u32> {
        let node = self.node(name)?;
        let read = match &node.value {
            Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            Value::Text(text) if has_reference(text) => self.expanded(node, text)?.parse().ok(),
            _ => None,
        };
        if read.is_none() {
            self.wrong(node, name, "a whole number from 0 on");
        }
        read
    }

    /// Reads a span of time.
    pub(crate) fn duration(&mut self, name: &str) -> Option<Duration> {
        let node = self.node(name)?;
        let read = match &node.value {
            Value::Number(number) => from_seconds(number.as_f64().unwrap_or(f64::NAN)),
            Value::Text(text) => parse_duration(&self.expanded(node, text)?),
            _ => {
                self.wrong(node, name, "a span of time");
                return None;
            }
        };
        read.map_err(|reason| {
            let problem = Diagnostic::error(&node.span, format!("`{name}` is not a span of time: {reason}"));
            self.problems
                .push(problem.help("write it like `5s`, `1min 30s`, `2h`, or as a number of seconds"));
        })
        .ok()
    }

    /// Reads a span of time that must not be zero.
    pub(crate) fn positive(&mut self, name: &str) -> Option<Duration> {
        let duration = self.duration(name)?;
        if duration.is_zero() {
            let node = self.node(name)?;
            self.problems.push(
                Diagnostic::error(&node.span, format!("`{name}` cannot be zero"))
                    .help("leave it out, or give a time"),
            );
            return None;
        }
        Some(duration)
    }

    /// Reads one of several words.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let node = self.node(name)?;
        let text = match &node.value {
            Value::Text(text) => self.expanded(node, text)?,
            // YAML 1.1 reads an unquoted `no` as false, and so do people.
            Value::Bool(false) if choices.iter().any(|(word, _)| *word == "no") => "no".to_owned(),
            Value::Bool(flag) => flag.to_string(),
            _ => String::new(),
        };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let message = format!(
            "`{name}` is {}, one of `{}` is expected",
            node.describe(),
            words.join("`, `")
        );
        let guess = nearest(&text, words.iter().copied()).map(|guess| format!("did you mean `{guess}`?"));
        self.problems
            .push(Diagnostic::error(&node.span, message).help_if(guess));
        None
    }

    /// Reads a text, or a list of texts.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<(String, Span)>> {
        let node = self.node(name)?;
        match &node.value {
            Value::List(items) if !items.is_empty() => items
                .iter()
                .map(|item| self.text_of(item, name, "a text or a list of texts"))
                .collect(),
            _ => self
                .text_of(node, name, "a text or a list of texts")
                .map(|text| vec![text]),
        }
    }

    /// Reports every key that is not among `known`.
    pub(crate) fn only(&mut self, of: &str, known: &[crate::keys::Key]) {
        for (key, _) in self.map {
            if known.iter().any(|one| one.name == key.name) {
                continue;
            }
            let guess = nearest(&key.name, known.iter().map(|one| one.name));
            let all = || known.iter().map(|one| one.name).collect::<Vec<_>>().join("`, `");
            let help = guess.map_or_else(
                || format!("it has `{}`", all()),
                |guess| format!("did you mean `{guess}`?"),
            );
            self.problems
                .push(Diagnostic::error(&key.span, format!("{of} has no key `{}`", key.name)).help(help));
        }
    }
}

fn advice(node: &Node, expected: &str) -> Option<String> {
    match &node.value {
        _ if expected.contains("time") => {
            Some("write it like `5s`, `1min 30s`, `2h`, or as a number of seconds".to_owned())
        }
        Value::Number(_) | Value::Bool(_) if expected.contains("text") => {
            Some(format!("put it into quotes: \"{}\"", node.span.text()))
        }
        Value::Text(text) if expected.contains("`true`") && is_yaml_1_1_boolean(text) => {
            Some("write `true` or `false`".to_owned())
        }
        Value::Text(text) if expected.contains("number") && text.parse::<f64>().is_ok() => {
            Some("leave out the quotes".to_owned())
        }
        _ => None,
    }
}
