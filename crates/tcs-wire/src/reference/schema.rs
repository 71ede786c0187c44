//! Tables out of JSON schemas: the words of the reference are those of the types' own comments.

use std::fmt::Write;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The JSON schema of a type, with what it refers to under `$defs`.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// The words of an enum with what they mean, in their order.
pub(super) fn words<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = schema_of::<T>();
    let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
    variants
        .iter()
        .map(|variant| (text(&variant["const"]), meaning(&text(&variant["description"]))))
        .collect()
}

/// A table of the fields of a type.
pub(super) fn fields<T: JsonSchema>() -> String {
    let schema = schema_of::<T>();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut table = String::from("| key | type | | meaning |\n| --- | --- | --- | --- |\n");
    for (name, field) in schema["properties"].as_object().unwrap_or(&Map::new()) {
        let presence = if required.iter().any(|key| key == name) {
            "always"
        } else {
            ""
        };
        let description = text(&field["description"]);
        let _ = writeln!(
            table,
            "| `{name}` | {} | {presence} | {description} |",
            type_of(field)
        );
    }
    table
}

/// What a type's own comment says, as the start of a table cell.
fn meaning(description: &str) -> String {
    let text = description.trim_end_matches('.');
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('\n', " ")
}

fn type_of(field: &Value) -> String {
    if let Some(reference) = field["$ref"].as_str() {
        return named(reference);
    }
    if let Some(variants) = field["anyOf"].as_array() {
        let types = variants.iter().map(type_of).filter(|name| name != "null");
        return types.collect::<Vec<_>>().join(" or ");
    }
    let of = |name: &str| match name {
        "array" => format!("list of {}", type_of(&field["items"])),
        other => other.to_owned(),
    };
    match &field["type"] {
        Value::String(name) => of(name),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str);
            names
                .filter(|name| *name != "null")
                .map(of)
                .collect::<Vec<_>>()
                .join(" or ")
        }
        _ => "any".to_owned(),
    }
}

fn named(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    match name {
        "WireTime" => "time".to_owned(),
        "Status" | "State" | "Kind" | "RestartPolicy" => format!("word of {name}"),
        other => other.to_owned(),
    }
}
