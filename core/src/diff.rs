//! What differs between two releases of a service, field by field, for people who are about to deploy.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use crate::digest::Digest;
use crate::release::{Release, Spec};

/// Longer values are shown as digest and size.
const MAX_SHOWN: usize = 256;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// The field, like `image.digest` or `env.NODE_ENV`.
    pub path: String,
    /// What it was; absent if it was not there.
    pub old: Option<String>,
    /// What it becomes; absent if it goes.
    pub new: Option<String>,
}

/// The fields of `old` and `new` that differ, by path. Counter, time and author always differ, so they
/// are not compared.
pub fn diff(old: &Release, new: &Release) -> Vec<Change> {
    compare(fields_of(old), fields_of(new))
}

/// The same for two specifications, of which the first may not exist yet.
pub fn diff_spec(old: Option<&Spec>, new: &Spec) -> Vec<Change> {
    compare(old.map(fields).unwrap_or_default(), fields(new))
}

type Fields = BTreeMap<String, String>;

fn compare(mut old: Fields, new: Fields) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for (path, new) in new {
        let old = old.remove(&path);
        if old.as_ref() != Some(&new) {
            changes.push(Change { path, old, new: Some(new) });
        }
    }
    changes.extend(old.into_iter().map(|(path, old)| Change { path, old: Some(old), new: None }));
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

fn fields_of(release: &Release) -> Fields {
    let mut fields = fields(&release.spec);
    fields.insert("fleet".to_owned(), release.fleet.to_string());
    fields.insert("environment".to_owned(), release.environment.to_string());
    fields.insert("service".to_owned(), release.service.to_string());
    fields
}

fn fields(spec: &Spec) -> Fields {
    let mut fields = Fields::new();
    // A specification has only text keys and finite numbers, so it always is JSON.
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(files) = value.get_mut("files") {
        hide_contents(files);
    }
    flatten(&value, "", &mut fields);
    fields
}

/// The content of a file never belongs on a terminal; that it changed does.
fn hide_contents(files: &mut Value) {
    for file in files.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        if let Some(Value::String(content)) = file.get_mut("content") {
            // What is not base64 is no content a host would take; its text will do.
            *content = summary(&STANDARD.decode(&*content).unwrap_or_else(|_| content.clone().into_bytes()));
        }
    }
}

fn flatten(value: &Value, path: &str, fields: &mut Fields) {
    let Some(map) = value.as_object().filter(|map| !map.is_empty()) else {
        fields.insert(path.to_owned(), shown(value));
        return;
    };
    for (key, below) in map {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/');
        let key = if key.chars().all(plain) { key.clone() } else { format!("{key:?}") };
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        flatten(below, &path, fields);
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    if text.len() > MAX_SHOWN { summary(text.as_bytes()) } else { text }
}

fn summary(bytes: &[u8]) -> String {
    format!("sha256:{}… ({} B)", Digest::of(bytes).short(), bytes.len())
}
