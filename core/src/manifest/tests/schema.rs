use super::*;

use serde_json::{Value, json};

fn at(pointer: &str) -> Value {
    schema().pointer(pointer).cloned().unwrap_or_else(|| panic!("nothing at {pointer}"))
}

#[test]
fn editors_find_descriptions_defaults_patterns_and_choices() {
    assert_eq!(at("/$schema"), "http://json-schema.org/draft-07/schema#");
    assert_eq!(at("/required"), json!(["service", "image"]));
    assert_eq!(at("/additionalProperties"), false);
    assert_eq!(at("/properties/soak/default"), "30s");
    assert_eq!(at("/properties/replicas/default"), 1);
    assert_eq!(at("/properties/strategy/properties/rolling/properties/batch/default"), "25%");
    assert_eq!(at("/properties/resources/properties/memory/default"), "512MiB");
    assert!(at("/properties/soak/pattern").as_str().unwrap().contains("[0-9]+s"));
    assert!(at("/properties/notify/description").as_str().unwrap().starts_with("Not supported yet: "));
    let text = schema().to_string();
    assert!(!text.contains("$ref"), "no references: every editor plug-in follows it");
    assert!(!text.contains("\"null\""), "nothing is null in a manifest");
}

#[test]
fn every_key_is_described() {
    fn walk(schema: &Value, path: &str) {
        for (key, below) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = format!("{path}/{key}");
            // A pattern is described by the key above it.
            assert!(below.get("description").is_some(), "{path} has no description");
            walk(below, &path);
            for inner in ["items", "additionalProperties"] {
                walk(below.get(inner).unwrap_or(&Value::Null), &format!("{path}/{inner}"));
            }
            for choice in ["anyOf", "oneOf"].iter().filter_map(|key| below.get(key)?.as_array()).flatten() {
                walk(choice, &path);
            }
        }
    }
    walk(&schema(), "");
}
