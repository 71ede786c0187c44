//! Values from the environment and the command line, laid over those of the file.

use serde_json::{Map, Value};
use tcs_wire::ServiceType;
use thiserror::Error;

/// One value from outside the configuration files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Override {
    /// The key, dots between the levels.
    pub(crate) key: String,
    text: String,
    /// What the user wrote, for messages.
    pub(crate) origin: String,
}

/// A value that has no place to go.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{origin}: there is no key `{key}`, known are {known}")]
pub(crate) struct UnknownKey {
    origin: String,
    key: String,
    known: String,
}

/// Picks the variables that are meant for a type: `TCS__TYPE__FIELD`, with `__` between levels (design decision 5).
pub(crate) fn from_environment(
    service_type: &ServiceType,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<Override> {
    let prefix = format!(
        "TCS__{}__",
        service_type.as_str().replace('.', "_").to_uppercase()
    );
    let mut found: Vec<Override> = variables
        .into_iter()
        .filter_map(|(name, text)| {
            let key = name.strip_prefix(&prefix)?.to_lowercase().replace("__", ".");
            (!key.is_empty()).then_some(Override {
                key,
                text,
                origin: name,
            })
        })
        .collect();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

/// Takes the values of `--set`.
pub(crate) fn from_arguments(set: &[(String, String)]) -> impl Iterator<Item = Override> + use<'_> {
    set.iter().map(|(key, text)| Override {
        key: key.clone(),
        text: text.clone(),
        origin: format!("--set {key}={text}"),
    })
}

/// Lays one value over `fields`, read as the type that `schema` has for it.
pub(crate) fn apply(
    fields: &mut Map<String, Value>,
    from: &Override,
    schema: &Value,
) -> Result<(), UnknownKey> {
    let mut wanted = schema;
    let mut place = fields;
    let mut parts = from.key.split('.').peekable();
    while let Some(part) = parts.next() {
        wanted = property(schema, wanted, part).map_err(|known| UnknownKey {
            origin: from.origin.clone(),
            key: from.key.clone(),
            known,
        })?;
        if parts.peek().is_none() {
            place.insert(part.to_owned(), read_as(&from.text, schema, wanted));
            break;
        }
        let inner = place.entry(part).or_insert_with(|| Value::Object(Map::new()));
        if !inner.is_object() {
            *inner = Value::Object(Map::new());
        }
        let Value::Object(map) = inner else { break };
        place = map;
    }
    Ok(())
}

/// Returns the schema of a property, or the known ones where it has none and none else is allowed.
fn property<'a>(root: &'a Value, schema: &'a Value, name: &str) -> Result<&'a Value, String> {
    let schema = resolve(root, schema);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(&Value::Null);
    };
    let open = schema
        .get("additionalProperties")
        .is_some_and(|more| *more != Value::Bool(false));
    match properties.get(name) {
        Some(found) => Ok(found),
        None if open => Ok(&Value::Null),
        None => Err(properties
            .keys()
            .map(|key| format!("`{key}`"))
            .collect::<Vec<_>>()
            .join(", ")),
    }
}

/// Follows `$ref`, and an alternative with null to what else it may be.
fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..32 {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .map(|at| at.trim_start_matches('#'));
        let alternatives = schema.get("anyOf").and_then(Value::as_array);
        let real = alternatives.and_then(|all| {
            all.iter()
                .find(|one| one.get("type").is_none_or(|kind| kind != "null"))
        });
        match (target, real) {
            (Some(target), _) => schema = root.pointer(target).unwrap_or(&Value::Null),
            (None, Some(real)) => schema = real,
            (None, None) => break,
        }
    }
    schema
}

/// A text stays text where only text is wanted; else it is read as JSON, so that numbers and lists can be given.
fn read_as(text: &str, root: &Value, schema: &Value) -> Value {
    let kinds = match resolve(root, schema).get("type") {
        Some(Value::String(kind)) => vec![kind.as_str()],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if kinds == ["string"] {
        return text.into();
    }
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "properties": {
                "message": {"type": "string"},
                "count": {"type": "integer"},
                "limits": {"$ref": "#/$defs/Limits"},
            },
            "$defs": {"Limits": {"properties": {"wind": {"type": ["number", "null"]}}}},
        })
    }

    fn set(key: &str, text: &str) -> Result<Value, UnknownKey> {
        let mut fields = Map::from_iter([("message".to_owned(), json!("from the file"))]);
        let from = from_arguments(&[(key.to_owned(), text.to_owned())])
            .next()
            .unwrap();
        apply(&mut fields, &from, &schema()).map(|()| fields.into())
    }

    #[test]
    fn values_take_the_type_that_the_key_has() {
        assert_eq!(set("message", "5").unwrap()["message"], "5");
        assert_eq!(set("count", "5").unwrap()["count"], 5);
        assert_eq!(set("limits.wind", "12.5").unwrap()["limits"]["wind"], 12.5);
        assert_eq!(
            set("count", "five").unwrap()["count"],
            "five",
            "refused later, with its reason"
        );
    }

    #[test]
    fn a_wrong_key_names_the_right_ones() {
        assert_eq!(
            set("mesage", "x").unwrap_err().to_string(),
            "--set mesage=x: there is no key `mesage`, known are `count`, `limits`, `message`"
        );
    }

    #[test]
    fn variables_of_other_types_are_left_alone() {
        let variables = [
            ("TCS__SKY_CAM__LIMITS__WIND", "3"),
            ("TCS__SKY__X", "1"),
            ("TCS_CONFIG", "f"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let found = from_environment(&ServiceType::parse("sky.cam").unwrap(), variables);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].key.as_str(), found[0].origin.as_str()),
            ("limits.wind", "TCS__SKY_CAM__LIMITS__WIND")
        );
    }
}
