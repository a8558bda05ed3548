//! The JSON Schema of a manifest, made from the types in `model`. Editors complete and check with it,
//! and so does `shape`: what an editor underlines and what `windlass` refuses is the same.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::model::Manifest;

/// Marks a key that is known and not built yet; its text says what works instead.
pub(super) const NOT_YET: &str = "x-not-yet";

/// Marks such a key as refused even where it asks for nothing.
pub(super) const EVEN_EMPTY: &str = "x-even-empty";

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    // Draft 7 without references is what every editor plug-in understands.
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Manifest>().to_value();
    tidy(&mut schema);
    schema
});

/// The JSON Schema of a manifest document.
pub fn schema() -> Value {
    SCHEMA.clone()
}

pub(super) fn get() -> &'static Value {
    &SCHEMA
}

/// Takes `null` away (an absent key is absent, and only an overlay may say `null`), and tells editors'
/// users what is not built yet.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            without_null(object);
            for value in object.values_mut() {
                tidy(value);
            }
            if let Some(Value::String(instead)) = object.get(NOT_YET) {
                let about = object.get("description").and_then(Value::as_str).unwrap_or_default();
                let text = format!("Not supported yet: {instead}. {about}");
                object.insert("description".to_owned(), Value::String(text));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn without_null(object: &mut Map<String, Value>) {
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    for key in ["anyOf", "oneOf"] {
        let Some(Value::Array(choices)) = object.get_mut(key) else { continue };
        choices.retain(|choice| *choice != json!({ "type": "null" }));
        if let [Value::Object(only)] = choices.as_mut_slice() {
            let only = std::mem::take(only);
            object.remove(key);
            for (name, value) in only {
                object.entry(name).or_insert(value);
            }
        }
    }
}
