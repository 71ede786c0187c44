//! `${VAR}` and `${VAR:-default}` in configuration values.

use serde_json::{Map, Number, Value};
use thiserror::Error;

/// Why a value cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpandError {
    /// The variable has no value and the reference no default.
    #[error(
        "`{key}` refers to ${{{variable}}}, which is not set: set it in /etc/tcs/env, or write ${{{variable}:-default}}"
    )]
    Unset {
        /// The key, dots between the levels.
        key: String,
        /// The variable.
        variable: String,
    },
    /// A reference without its closing brace, or without a name.
    #[error(
        "`{key}` has a `${{` that is not a reference: write ${{NAME}} or ${{NAME:-default}}, or $${{ for the signs themselves"
    )]
    Malformed {
        /// The key, dots between the levels.
        key: String,
    },
}

/// Expands every text in a service's own fields, as the service does at its start.
///
/// A text that is one reference as a whole becomes a number or a boolean where `schema` asks for one.
///
/// # Errors
/// The first variable that is not set, with its key.
pub fn expand(
    fields: &Map<String, Value>,
    schema: &Value,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Map<String, Value>, ExpandError> {
    let mut expanded = Map::new();
    for (key, value) in fields {
        let wanted = schema.pointer(&format!(
            "/properties/{}",
            key.replace('~', "~0").replace('/', "~1")
        ));
        let wanted = crate::schema::resolve(schema, wanted.unwrap_or(&Value::Null));
        expanded.insert(key.clone(), expand_value(value, schema, wanted, key, lookup)?);
    }
    Ok(expanded)
}

fn expand_value(
    value: &Value,
    root: &Value,
    schema: &Value,
    key: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Value, ExpandError> {
    match value {
        Value::String(text) if has_reference(text) => {
            let expanded = expand_text(text, lookup).map_err(|error| error.at(key))?;
            Ok(if is_one_reference(text) {
                as_wanted(expanded, root, schema)
            } else {
                expanded.into()
            })
        }
        Value::Array(items) => {
            let inner = crate::schema::resolve(root, schema.get("items").unwrap_or(&Value::Null));
            let expand = |(index, item)| expand_value(item, root, inner, &format!("{key}.{index}"), lookup);
            items.iter().enumerate().map(expand).collect()
        }
        Value::Object(map) => {
            let mut expanded = Map::new();
            for (name, value) in map {
                let inner = schema
                    .get("properties")
                    .and_then(|all| all.get(name))
                    .unwrap_or(&Value::Null);
                let inner = crate::schema::resolve(root, inner);
                expanded.insert(
                    name.clone(),
                    expand_value(value, root, inner, &format!("{key}.{name}"), lookup)?,
                );
            }
            Ok(expanded.into())
        }
        other => Ok(other.clone()),
    }
}

/// Returns whether a text holds something for [`expand_text`] to do.
pub(crate) fn has_reference(text: &str) -> bool {
    text.contains("${")
}

fn is_one_reference(text: &str) -> bool {
    text.starts_with("${") && text.find('}') == Some(text.len() - 1)
}

/// Reads a text as what the schema asks for; what does not fit stays a text, for the service to refuse.
fn as_wanted(text: String, root: &Value, schema: &Value) -> Value {
    let wants = |name: &str| crate::schema::allows_type(root, schema, name);
    if wants("string") {
        return text.into();
    }
    if (wants("integer") || wants("number"))
        && let Ok(number) = text.parse::<i64>()
    {
        return number.into();
    }
    if wants("number")
        && let Some(number) = text.parse::<f64>().ok().and_then(Number::from_f64)
    {
        return number.into();
    }
    match text.as_str() {
        "true" if wants("boolean") => true.into(),
        "false" if wants("boolean") => false.into(),
        _ => text.into(),
    }
}

/// What is wrong with a text, before it is known in which key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TextError {
    Unset(String),
    Malformed,
}

impl TextError {
    fn at(self, key: &str) -> ExpandError {
        let key = key.to_owned();
        match self {
            Self::Unset(variable) => ExpandError::Unset { key, variable },
            Self::Malformed => ExpandError::Malformed { key },
        }
    }
}

/// Expands one text; `$${` stands for the signs themselves.
pub(crate) fn expand_text(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, TextError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            expanded.push_str(&rest[..at - 1]);
            expanded.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        expanded.push_str(&rest[..at]);
        let (reference, tail) = rest[at + 2..].split_once('}').ok_or(TextError::Malformed)?;
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        if !is_name(name) {
            return Err(TextError::Malformed);
        }
        let value = lookup(name).filter(|value| default.is_none() || !value.is_empty());
        let value = value
            .or_else(|| default.map(str::to_owned))
            .ok_or_else(|| TextError::Unset(name.to_owned()))?;
        expanded.push_str(&value);
        rest = tail;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Returns whether a text can name an environment variable.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "SITE" => Some("oca".to_owned()),
            "PORT" => Some("1110".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn references_defaults_and_escapes() {
        let text = |text| expand_text(text, &lookup).unwrap();
        assert_eq!(text("${SITE}/${NONE:-x}/$HOME $${SITE}"), "oca/x/$HOME ${SITE}");
        assert_eq!(text("[${EMPTY}] [${EMPTY:-default}]"), "[] [default]");
    }

    #[test]
    fn the_schema_decides_whether_a_number_is_meant() {
        let schema = json!({"properties": {"port": {"type": "integer"}, "name": {"type": "string"},
            "peer": {"anyOf": [{"$ref": "#/$defs/Peer"}, {"type": "null"}]}},
            "$defs": {"Peer": {"properties": {"port": {"type": ["integer", "null"]}}}}});
        let fields =
            json!({"port": "${PORT}", "name": "${PORT}", "peer": {"port": "${PORT}"}, "free": ["${PORT}"]});
        let Value::Object(fields) = fields else {
            unreachable!()
        };
        let expanded = expand(&fields, &schema, &lookup).unwrap();
        assert_eq!(
            Value::Object(expanded),
            json!({"port": 1110, "name": "1110", "peer": {"port": 1110}, "free": ["1110"]})
        );
    }

    #[test]
    fn an_unset_variable_is_named_with_its_key() {
        let Value::Object(fields) = json!({"a": {"b": ["${MISSING}"]}}) else {
            unreachable!()
        };
        let error = expand(&fields, &Value::Null, &lookup).unwrap_err();
        assert_eq!(
            error,
            ExpandError::Unset {
                key: "a.b.0".to_owned(),
                variable: "MISSING".to_owned()
            }
        );
    }

    proptest! {
        #[test]
        fn text_without_references_stays_as_it_is(text in "[^$]{0,40}") {
            prop_assert_eq!(expand_text(&text, &lookup), Ok(text.clone()));
        }

        #[test]
        fn no_text_panics(text in "[${}:a-zA-Z-]{0,40}") {
            let _ = expand_text(&text, &lookup);
        }
    }
}
