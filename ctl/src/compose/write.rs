//! The manifest as text, checked as `windlass plan` checks it.

use serde_json::Value;
use windlass_core::manifest::{self, Environment, Source, Sources, yaml_text};

use super::draft::Draft;
use super::note::Note;

/// The order in which keys are written.
const ORDER: [&str; 17] = [
    "service",
    "image",
    "command",
    "args",
    "workdir",
    "replicas",
    "per_host",
    "placement",
    "ports",
    "env",
    "files",
    "volumes",
    "resources",
    "security",
    "health",
    "strategy",
    "soak",
];

/// Longer maps stand on lines of their own.
const WIDE: usize = 100;

/// The text; or what is wrong with it.
pub(super) fn manifest(draft: &Draft<'_>) -> Result<String, Vec<Note>> {
    let mut text = String::new();
    let rest = draft.keys.keys().map(String::as_str).filter(|key| !ORDER.contains(key));
    for key in ORDER.into_iter().chain(rest) {
        if let Some(value) = draft.keys.get(key) {
            block(key, value, 0, &mut text);
        }
    }
    let source = Source { name: format!("{}.yaml", draft.service), text: text.clone() };
    let sources = Sources { manifests: vec![source], ..Sources::default() };
    let environment = "default".parse().expect("it is a name");
    match manifest::load(&sources, &Environment::Default(environment)) {
        Ok(_) => Ok(text),
        Err(manifest::Errors(problems)) => Err(problems
            .into_iter()
            .map(|problem| {
                let reason = format!("no manifest can be made: `{}` {}", problem.path, problem.reason);
                draft.note("", &reason, problem.hint.as_deref().unwrap_or("mend it in the compose file"))
            })
            .collect()),
    }
}

fn block(key: &str, value: &Value, indent: usize, text: &mut String) {
    text.push_str(&format!("{:indent$}{}:", "", yaml_text(key)));
    match value {
        Value::Object(map)
            if map.values().any(Value::is_object) || indent == 0 || flow(value).len() > WIDE =>
        {
            text.push('\n');
            for (key, value) in map {
                block(key, value, indent + 2, text);
            }
        }
        other => text.push_str(&format!(" {}\n", flow(other))),
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => yaml_text(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", yaml_text(key), flow(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
