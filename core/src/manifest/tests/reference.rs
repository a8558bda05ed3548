//! docs/manifest.md against the schema: the same keys, and the same defaults.

use std::collections::BTreeMap;

use super::*;

use serde_json::Value;

const REFERENCE: &str = include_str!("../../../../docs/manifest.md");

/// The backquoted texts of a piece of markdown.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The keys of the page by path, each with its default as written. A line that begins with `Below` names where the keys of the
/// tables under it stand.
fn written() -> BTreeMap<String, String> {
    let (mut keys, mut below) = (BTreeMap::new(), vec![String::new()]);
    for line in REFERENCE.lines() {
        if line.starts_with('#') {
            below = vec![String::new()];
        }
        if let Some((_, places)) = line.split_once("Below ") {
            below = quoted(places).into_iter().map(|place| format!("{place}.")).collect();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if !(line.starts_with("| `") && cells.len() == 8) {
            continue;
        }
        for (place, key) in
            below.iter().flat_map(|place| quoted(cells[1]).into_iter().map(move |key| (place, key)))
        {
            let path = format!("{place}{key}");
            assert!(keys.insert(path.clone(), cells[3].to_owned()).is_none(), "`{path}` stands there twice");
            assert!(
                cells[2..].iter().take(2).all(|cell| !cell.is_empty()),
                "`{path}` lacks a type or a default"
            );
            assert!(
                !cells[5].is_empty() && !cells[6].is_empty(),
                "`{path}` lacks an example or a description"
            );
        }
    }
    keys
}

/// The keys of a schema by path, each with its default.
fn known(schema: &Value, path: &str, keys: &mut BTreeMap<String, Option<Value>>) {
    for (key, below) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        keys.insert(path.clone(), below.get("default").cloned());
        value(below, &path, keys);
    }
}

fn value(schema: &Value, path: &str, keys: &mut BTreeMap<String, Option<Value>>) {
    known(schema, path, keys);
    if let Some(items) = schema.get("items") {
        value(items, &format!("{path}[]"), keys);
    }
    if let Some(entries @ Value::Object(_)) = schema.get("additionalProperties") {
        value(entries, &format!("{path}.NAME"), keys);
    }
    for choice in ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten() {
        value(choice, path, keys);
    }
}

#[test]
fn manifest_reference_has_each_key_of_the_schema() {
    let mut keys = BTreeMap::new();
    known(&schema(), "", &mut keys);
    let written = written();
    let missing: Vec<&String> = keys.keys().filter(|key| !written.contains_key(*key)).collect();
    let invented: Vec<&String> = written.keys().filter(|key| !keys.contains_key(*key)).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:?}\nin no schema: {invented:?}");
}

#[test]
fn manifest_reference_has_the_defaults_of_the_schema() {
    let mut keys = BTreeMap::new();
    known(&schema(), "", &mut keys);
    let mut compared = 0;
    for (key, default) in written() {
        let said = match keys.get(&key).cloned().flatten() {
            Some(Value::String(text)) => text,
            Some(Value::Number(number)) => number.to_string().trim_end_matches(".0").to_owned(),
            Some(Value::Bool(yes)) => yes.to_string(),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => continue,
        };
        assert_eq!(default, format!("`{said}`"), "the default of `{key}`");
        compared += 1;
    }
    assert!(compared > 40, "{compared} defaults");
}

#[test]
fn manifest_reference_says_what_is_required() {
    fn required(schema: &Value, path: &str, found: &mut Vec<String>) {
        for key in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let key = key.as_str().unwrap_or_default();
            found.push(if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") });
        }
        for (key, below) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            choices(below, &path, found);
        }
    }
    fn choices(schema: &Value, path: &str, found: &mut Vec<String>) {
        required(schema, path, found);
        if let Some(items) = schema.get("items") {
            choices(items, &format!("{path}[]"), found);
        }
        if let Some(entries @ Value::Object(_)) = schema.get("additionalProperties") {
            choices(entries, &format!("{path}.NAME"), found);
        }
        for choice in ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten() {
            choices(choice, path, found);
        }
    }
    let mut found = Vec::new();
    required(&schema(), "", &mut found);
    found.sort();
    found.dedup();
    let said: Vec<String> =
        written().into_iter().filter(|(_, default)| default == "required").map(|(key, _)| key).collect();
    assert_eq!(said, found);
}
