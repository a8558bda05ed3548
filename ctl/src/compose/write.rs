//! The manifest as text, checked as `windlass plan` checks it.

use serde_json::{Map, Value};
use windlass_core::manifest::{self, Environment, Problem, Source, Sources, display_path, yaml_text};

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

/// More rounds than a draft has keys that can be wrong one after the other.
const ROUNDS: usize = 64;

/// Keys of a manifest without which it is none.
const NEEDED: [&str; 2] = ["service", "image"];

/// Stands for an image with a variable while the rest is checked.
const SOME_IMAGE: &str = "registry.example.com/image:1";

/// The text, without the keys that a manifest does not take: each of them is noted. Else what is wrong with it.
pub(super) fn manifest(draft: &mut Draft<'_>) -> Result<String, Vec<Note>> {
    let mut dropped: Vec<Vec<String>> = Vec::new();
    for _ in 0..ROUNDS {
        let Err(problems) = check(draft) else { break };
        let mut is_better = false;
        for problem in &problems {
            let Some(path) = place(&draft.keys, &problem.path) else { continue };
            if path.first().is_none_or(|key| NEEDED.contains(&key.as_str())) {
                continue;
            }
            draft.remove(&path);
            is_better = true;
            // A key that is missing because another was left out needs no note of its own.
            if !dropped.iter().any(|known| known.starts_with(&path)) {
                let reason = format!("`{}` {}; it is left out", problem.path, problem.reason);
                let hint = problem.hint.as_deref().unwrap_or("write it into the manifest by hand");
                draft.say(&theirs(&path), &reason, hint);
            }
            dropped.push(path);
        }
        if !is_better {
            break;
        }
    }
    match check(draft) {
        Ok(text) => Ok(text),
        Err(problems) => Err(problems
            .into_iter()
            .map(|problem| {
                let reason = format!("no manifest can be made: `{}` {}", problem.path, problem.reason);
                draft.note("", &reason, problem.hint.as_deref().unwrap_or("mend it in the compose file"))
            })
            .collect()),
    }
}

/// The keys of the draft that a problem is about, or the nearest above them.
fn place(keys: &Map<String, Value>, problem: &str) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let mut map = Some(keys);
    while let Some(found) = map.and_then(|map| {
        map.iter().find(|(key, _)| {
            let mut below = path.clone();
            below.push((*key).clone());
            let shown = display_path(&below);
            problem.strip_prefix(&shown).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }) {
        path.push(found.0.clone());
        map = found.1.as_object();
    }
    (!path.is_empty()).then_some(path)
}

/// The key of the compose file that a key of the manifest was made of.
fn theirs(path: &[String]) -> String {
    let first = match path[0].as_str() {
        "env" => "environment",
        "health" => return "healthcheck".to_owned(),
        "strategy" | "soak" | "on_failure" => return "deploy.update_config".to_owned(),
        "placement" => return "deploy.placement".to_owned(),
        "resources" => return "deploy.resources".to_owned(),
        "security" | "files" | "volumes" | "ports" => return path[0].clone(),
        "workdir" => "working_dir",
        "stop_timeout" => "stop_grace_period",
        "command" => "entrypoint",
        "args" => "command",
        same => same,
    };
    std::iter::once(first).chain(path[1..].iter().map(String::as_str)).collect::<Vec<_>>().join(".")
}

/// The text of the draft as it is; or what is wrong with it.
fn check(draft: &Draft<'_>) -> Result<String, Vec<Problem>> {
    let text = yaml(&draft.keys);
    // An image with a variable stays as it is, and `plan` asks for it.
    let image = draft.keys.get("image").and_then(Value::as_str).unwrap_or_default();
    let checked = if image.contains("${") {
        let mut keys = draft.keys.clone();
        keys.insert("image".to_owned(), Value::String(SOME_IMAGE.to_owned()));
        yaml(&keys)
    } else {
        text.clone()
    };
    let source = Source { name: format!("{}.yaml", draft.service), text: checked };
    let sources = Sources { manifests: vec![source], ..Sources::default() };
    let environment = "default".parse().expect("it is a name");
    match manifest::load(&sources, &Environment::Default(environment)) {
        Ok(_) => Ok(text),
        Err(manifest::Errors(problems)) => Err(problems),
    }
}

fn yaml(keys: &Map<String, Value>) -> String {
    let mut text = String::new();
    let rest = keys.keys().map(String::as_str).filter(|key| !ORDER.contains(key));
    for key in ORDER.into_iter().chain(rest) {
        if let Some(value) = keys.get(key) {
            block(key, value, 0, &mut text);
        }
    }
    text
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
