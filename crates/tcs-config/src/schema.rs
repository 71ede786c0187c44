//! Checks a service's own fields against the JSON schema in its type's manifest.
//!
//! Our own check, because a message must name line and column. It knows what `schemars` emits for configuration
//! structs: types, properties, enumerations, bounds, references and alternatives; other keywords are left to the service.

use serde_json::Value as Json;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::expand::has_reference;
use crate::source::Span;
use crate::suggest::nearest;
use crate::yaml::{self, Map, Node, Value};

/// References in a schema are followed this deep: a recursive type ends with its data, a broken schema here.
const MAX_REFERENCES: usize = 32;

/// Follows `$ref`, and an alternative with null to what else it may be.
pub(crate) fn resolve<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    let mut schema = schema;
    for _ in 0..MAX_REFERENCES {
        if let Some(target) = schema.get("$ref").and_then(Json::as_str) {
            schema = root
                .pointer(target.trim_start_matches('#'))
                .unwrap_or(&Json::Null);
            continue;
        }
        let alternatives = schema.get("anyOf").and_then(Json::as_array);
        let real: Vec<&Json> = alternatives
            .into_iter()
            .flatten()
            .filter(|one| !is_null_type(one))
            .collect();
        match real.as_slice() {
            [only] => schema = only,
            _ => break,
        }
    }
    schema
}

fn is_null_type(schema: &Json) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

/// Returns whether a schema names a JSON type among those that it allows.
pub(crate) fn allows_type(root: &Json, schema: &Json, name: &str) -> bool {
    match resolve(root, schema).get("type") {
        Some(Json::String(kind)) => kind == name,
        Some(Json::Array(kinds)) => kinds.iter().any(|kind| kind == name),
        _ => false,
    }
}

/// Returns whether a type's configuration has a field of that name.
pub(crate) fn has_field(schema: &Json, name: &str) -> bool {
    let schema = resolve(schema, schema);
    properties(schema).any(|(property, _)| property == name) || !is_closed(schema)
}

/// Returns the fields of a type's configuration.
pub(crate) fn field_names(schema: &Json) -> Vec<&str> {
    properties(resolve(schema, schema))
        .map(|(name, _)| name)
        .collect()
}

/// Returns whether unknown keys are wrong. Stricter than JSON schema: a list of properties is taken to be the whole
/// list unless the schema says otherwise, since a wrong key would go unnoticed.
fn is_closed(schema: &Json) -> bool {
    match schema.get("additionalProperties") {
        Some(Json::Bool(open)) => !open,
        Some(_) => false,
        None => schema.get("properties").is_some(),
    }
}

fn properties(schema: &Json) -> impl Iterator<Item = (&str, &Json)> + use<'_> {
    schema
        .get("properties")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
}

/// The check of one value against one schema.
pub(crate) struct Check<'a> {
    root: &'a Json,
    /// What the value belongs to, for messages: a service id.
    owner: &'a str,
    problems: Diagnostics,
}

impl<'a> Check<'a> {
    /// Checks the own fields of the service `owner`; `anchor` is what a missing field is reported at.
    pub(crate) fn fields(root: &'a Json, owner: &'a str, fields: &Map, anchor: &Span) -> Diagnostics {
        let mut check = Self {
            root,
            owner,
            problems: Diagnostics::default(),
        };
        if root.is_object() {
            check.object(fields, resolve(root, root), anchor, "", 0);
        }
        check.problems
    }

    fn value(&mut self, node: &Node, schema: &Json, path: &str, depth: usize) {
        if depth > MAX_REFERENCES {
            return;
        }
        if let Some(target) = schema.get("$ref").and_then(Json::as_str) {
            let target = self
                .root
                .pointer(target.trim_start_matches('#'))
                .unwrap_or(&Json::Null);
            self.value(node, target, path, depth + 1);
        }
        for all in schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.value(node, all, path, depth + 1);
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(alternatives) = schema.get(key).and_then(Json::as_array) {
                self.alternatives(node, alternatives, path, depth);
            }
        }
        if matches!(&node.value, Value::Text(text) if has_reference(text)) {
            // What it becomes is known when the service starts.
            return;
        }
        if !self.type_fits(node, schema, path) {
            return;
        }
        self.choice(node, schema, path);
        match &node.value {
            Value::Number(number) => self.bounds(node, number.as_f64().unwrap_or(f64::NAN), schema, path),
            Value::List(items) => {
                self.length(node, items.len(), schema, path);
                if let Some(inner) = schema.get("items") {
                    for item in items {
                        self.value(item, inner, path, depth);
                    }
                }
            }
            Value::Map(map) => self.object(map, schema, &node.span, path, depth),
            _ => {}
        }
    }

    fn type_fits(&mut self, node: &Node, schema: &Json, path: &str) -> bool {
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Json::String(kind)) => vec![kind],
            Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
            _ => return true,
        };
        let fits = kinds.iter().any(|kind| match (&node.value, *kind) {
            (Value::Null, "null")
            | (Value::Bool(_), "boolean")
            | (Value::Number(_), "number")
            | (Value::Text(_), "string")
            | (Value::List(_), "array")
            | (Value::Map(_), "object") => true,
            (Value::Number(number), "integer") => number.is_i64() || number.is_u64(),
            _ => false,
        });
        if !fits {
            let expected = words(&kinds);
            let problem = Diagnostic::error(
                &node.span,
                format!("`{path}` is {}, {expected} is expected", node.describe()),
            );
            self.problems
                .push(problem.help_if(self.type_help(node, &kinds, schema)));
        }
        fits
    }

    fn type_help(&self, node: &Node, kinds: &[&str], schema: &Json) -> Option<String> {
        let quoted = matches!(node.value, Value::Number(_) | Value::Bool(_)) && kinds.contains(&"string");
        match &node.value {
            _ if quoted => Some(format!("put it into quotes: \"{}\"", node.span.text())),
            Value::Text(text) if kinds.contains(&"boolean") && is_yaml_1_1_boolean(text) => {
                Some("write `true` or `false`".to_owned())
            }
            Value::Text(text) if text.parse::<f64>().is_ok() && kinds.iter().any(|kind| *kind != "array") => {
                Some("leave out the quotes".to_owned())
            }
            _ => description(schema),
        }
    }

    /// Checks `enum` and `const`.
    fn choice(&mut self, node: &Node, schema: &Json, path: &str) {
        let one = schema.get("const").map(std::slice::from_ref);
        let Some(choices) = schema
            .get("enum")
            .and_then(Json::as_array)
            .map(Vec::as_slice)
            .or(one)
        else {
            return;
        };
        if !choices.contains(&node.to_json()) {
            self.not_a_choice(node, choices.iter(), path);
        }
    }

    fn not_a_choice<'c>(&mut self, node: &Node, choices: impl Iterator<Item = &'c Json> + Clone, path: &str) {
        let guess = match &node.value {
            Value::Text(text) => nearest(text, choices.clone().filter_map(Json::as_str)),
            _ => None,
        };
        let all: Vec<String> = choices
            .map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned))
            .collect();
        let message = format!(
            "`{path}` is {}, one of `{}` is expected",
            node.describe(),
            all.join("`, `")
        );
        let problem = Diagnostic::error(&node.span, message);
        self.problems
            .push(problem.help_if(guess.map(|guess| format!("did you mean `{guess}`?"))));
    }

    fn bounds(&mut self, node: &Node, number: f64, schema: &Json, path: &str) {
        let bound = |name: &str| schema.get(name).and_then(Json::as_f64);
        let wrong = if bound("minimum").is_some_and(|least| number < least) {
            Some(("at least", "minimum"))
        } else if bound("maximum").is_some_and(|most| number > most) {
            Some(("at most", "maximum"))
        } else if bound("exclusiveMinimum").is_some_and(|least| number <= least) {
            Some(("more than", "exclusiveMinimum"))
        } else if bound("exclusiveMaximum").is_some_and(|most| number >= most) {
            Some(("less than", "exclusiveMaximum"))
        } else {
            None
        };
        if let Some((words, name)) = wrong {
            let limit = &schema[name];
            let message = format!("`{path}` is {number}, {words} {limit} is expected");
            self.problems
                .push(Diagnostic::error(&node.span, message).help_if(description(schema)));
        }
    }

    fn length(&mut self, node: &Node, length: usize, schema: &Json, path: &str) {
        let bound = |name: &str| {
            schema
                .get(name)
                .and_then(Json::as_u64)
                .and_then(|bound| usize::try_from(bound).ok())
        };
        let wrong = if bound("minItems").is_some_and(|least| length < least) {
            Some(("at least", "minItems"))
        } else if bound("maxItems").is_some_and(|most| length > most) {
            Some(("at most", "maxItems"))
        } else {
            None
        };
        if let Some((words, name)) = wrong {
            let message = format!(
                "`{path}` has {length} items, {words} {} are expected",
                schema[name]
            );
            self.problems
                .push(Diagnostic::error(&node.span, message).help_if(description(schema)));
        }
    }

    fn object(&mut self, map: &Map, schema: &Json, anchor: &Span, path: &str, depth: usize) {
        let other = schema
            .get("additionalProperties")
            .filter(|other| other.is_object());
        for (key, node) in map {
            let known = schema.get("properties").and_then(|all| all.get(&key.name));
            if let Some(inner) = known.or(other) {
                self.value(node, inner, &join(path, &key.name), depth);
            } else if is_closed(schema) {
                self.unknown_key(&key.span, &key.name, schema, path);
            }
        }
        for name in schema
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
        {
            if yaml::get(map, name).is_none() {
                let what = description(&schema["properties"][name]).unwrap_or_default();
                let gap = if what.is_empty() { "" } else { ": " };
                let message = format!("`{}` needs the key `{}`", self.owner, join(path, name));
                self.problems
                    .push(Diagnostic::error(anchor, message).help(format!("add `{name}:`{gap}{what}")));
            }
        }
    }

    fn unknown_key(&mut self, span: &Span, name: &str, schema: &Json, path: &str) {
        let mut known: Vec<&str> = properties(schema).map(|(name, _)| name).collect();
        let own = known.len();
        if path.is_empty() {
            known.extend(crate::keys::ENTRY_KEYS.iter().map(|key| key.name));
        }
        let guess = nearest(name, known.iter().copied());
        let help = match guess {
            Some(guess) => format!("did you mean `{guess}`?"),
            None if own == 0 => "it has no keys of its own here".to_owned(),
            None => format!("its own keys here are `{}`", known[..own].join("`, `")),
        };
        let message = format!("`{}` has no key `{}`", self.owner, join(path, name));
        self.problems.push(Diagnostic::error(span, message).help(help));
    }

    /// Checks that one alternative fits; if none does, reports the nearest one.
    fn alternatives(&mut self, node: &Node, alternatives: &[Json], path: &str, depth: usize) {
        let mut best: Option<Diagnostics> = None;
        for schema in alternatives {
            let mut check = Self {
                root: self.root,
                owner: self.owner,
                problems: Diagnostics::default(),
            };
            check.value(node, schema, path, depth + 1);
            if check.problems.is_empty() {
                return;
            }
            if !is_null_type(schema) && best.as_ref().is_none_or(|best| check.problems.len() < best.len()) {
                best = Some(check.problems);
            }
        }
        let constants: Option<Vec<&Json>> = alternatives.iter().map(|schema| schema.get("const")).collect();
        match (constants, best) {
            (Some(constants), _) => self.not_a_choice(node, constants.into_iter(), path),
            (None, Some(best)) => best.into_iter().for_each(|problem| self.problems.push(problem)),
            (None, None) => {}
        }
    }
}

/// Returns whether a text is a boolean to YAML 1.1, and so to PyYAML.
pub(crate) fn is_yaml_1_1_boolean(text: &str) -> bool {
    ["yes", "no", "on", "off"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn words(kinds: &[&str]) -> String {
    let word = |kind: &str| match kind {
        "null" => "nothing",
        "boolean" => "`true` or `false`",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        "object" => "a map of keys",
        _ => "something else",
    };
    let words: Vec<&str> = kinds
        .iter()
        .filter(|kind| **kind != "null" || kinds.len() == 1)
        .map(|kind| word(kind))
        .collect();
    words.join(" or ")
}

/// Returns the first line of what a schema says for people.
fn description(schema: &Json) -> Option<String> {
    let text = schema.get("description").and_then(Json::as_str)?;
    text.lines()
        .next()
        .map(|line| line.trim_end_matches('.').to_owned())
        .filter(|line| !line.is_empty())
}
