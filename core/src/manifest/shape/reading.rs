//! Reads JSON Schema: which alternative fits, what is allowed, what to call it.

use serde_json::Value;

use super::super::node::{Kind, Node};

/// The alternative of `schema` that takes what `node` holds.
pub(super) fn choose<'s>(node: &Node, schema: &'s Value) -> Option<&'s Value> {
    let fits = |schema: &Value| {
        let has_format = schema.get("format").is_some();
        types(schema).any(|t| match &node.kind {
            Kind::Null => false,
            Kind::Bool { .. } => t == "boolean",
            // `10` where a duration stands gets the duration's own error, with a unit as its hint.
            Kind::Number { .. } => t == "number" || t == "integer" || (t == "string" && has_format),
            Kind::Text(_) => t == "string",
            Kind::List(_) => t == "array",
            Kind::Map(_) => t == "object",
        })
    };
    // Alternatives that are words of one list stay together.
    if words(schema).is_empty()
        && let Some(choices) = alternatives(schema)
    {
        return choices.iter().find(|choice| fits(choice));
    }
    fits(schema).then_some(schema)
}

fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()
}

/// The words that a schema allows, if it is a list of words.
pub(super) fn words(schema: &Value) -> Vec<&str> {
    let of_enum =
        schema.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let of_const = alternatives(schema).into_iter().flatten().flat_map(|choice| {
        let listed = choice.get("enum").and_then(Value::as_array).into_iter().flatten();
        choice.get("const").into_iter().chain(listed).filter_map(Value::as_str)
    });
    let own = schema.get("const").and_then(Value::as_str);
    of_enum.chain(own).chain(of_const).collect()
}

/// The kinds of value that a schema accepts.
pub(super) fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let own = schema.get("type").into_iter().flat_map(|t| match t {
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            t.as_str().into_iter().collect()
        }
    });
    let below =
        alternatives(schema).into_iter().flatten().flat_map(|choice| types(choice).collect::<Vec<_>>());
    own.chain(below)
}

/// Returns whether a schema accepts this kind of value and no other.
pub(super) fn accepts_only(schema: &Value, kind: &str) -> bool {
    types(schema).all(|t| t == kind)
}

/// The keys that a schema knows.
pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// The schema of a key.
pub(super) fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    schema.get("properties")?.get(key)
}

/// The value that a schema asks for, in words.
pub(super) fn expected(schema: &Value) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    if types(schema).any(|t| t == "boolean") && types(schema).any(|t| t == "string") {
        return "text".to_owned();
    }
    for kind in types(schema) {
        let word = match (kind, schema.get("format").and_then(Value::as_str)) {
            ("string", Some("duration-text" | "after-text")) => "a duration (like `10s`)",
            ("string", Some("size-text")) => "a size (like `512MiB`)",
            ("string", Some("amount-text" | "percent-text")) => "a percentage",
            ("string", Some("cpu-text")) => continue,
            ("string", _) => "text",
            ("integer" | "number", _) => "a number",
            ("boolean", _) => "true or false",
            ("array", _) => "a list",
            _ => "a map",
        };
        if !kinds.contains(&word) {
            kinds.push(word);
        }
    }
    kinds.join(" or ")
}
