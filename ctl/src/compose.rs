//! Compose files into manifests. Pure: text in, manifests and notes out; a closure says which paths are files.
//!
//! ```text
//! text ──read: YAML, ${NAME:-value}──▶ services ──order: depends_on──▶ one Draft each ──write──▶ manifest, checked
//!                                                                          └──▶ notes: what a manifest cannot carry
//! ```

mod draft;
mod health;
mod interpolate;
mod keys;
mod note;
mod order;
mod ports;
mod read;
mod rollout;
mod runs;
mod scalar;
#[cfg(test)]
mod tests;
mod values;
mod volumes;
mod write;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use draft::Draft;
pub(crate) use note::{Files, Found, Note};
pub(crate) use read::ComposeError;

/// The manifests made of a compose file.
#[derive(Debug, Default, Serialize, schemars::JsonSchema)]
pub(crate) struct Imported {
    /// The manifests, in the order in which they are to be deployed.
    pub(crate) manifests: Vec<ImportedManifest>,
    /// Services of the compose file of which no manifest could be made; their notes come first.
    pub(crate) failed: Vec<String>,
    /// The parts that they do not carry over.
    pub(crate) notes: Vec<Note>,
}

/// A manifest.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct ImportedManifest {
    /// Its service.
    pub(crate) service: String,
    /// The manifest, YAML.
    pub(crate) text: String,
}

/// Keys at the top that need no word.
const SILENT: [&str; 4] = ["version", "name", "services", "volumes"];

/// Makes manifests of a compose file.
///
/// # Errors
/// It is not YAML, or has no services.
pub(crate) fn import(text: &str, files: &Files<'_>) -> Result<Imported, ComposeError> {
    let (file, scalars) = read::file(text)?;
    let services = file.get("services").and_then(Value::as_object).filter(|services| !services.is_empty());
    let services = services.ok_or(ComposeError::NoServices)?;
    let mut notes = Vec::new();
    top(&file, &mut notes);
    let (mut manifests, mut failed, mut first) = (Vec::new(), Vec::new(), Vec::new());
    let mut taken = BTreeSet::new();
    for name in order::by_dependency(services) {
        let Some(service) = services.get(name).and_then(Value::as_object) else {
            first.push(Note {
                key: format!("services.{name}"),
                reason: "no manifest can be made: it is no map".to_owned(),
                hint: "`image: registry.example.com/web:1` below it".to_owned(),
            });
            failed.push(name.to_owned());
            continue;
        };
        let mut draft = Draft::new(name, &file, files);
        if let Some(note) = child(&draft, service) {
            first.push(note);
            failed.push(name.to_owned());
            continue;
        }
        fill(&mut draft, service, services);
        let (service, mut said) = (draft.service.clone(), std::mem::take(&mut draft.notes));
        if !taken.insert(service.clone()) {
            first.push(draft.note(
                "",
                &format!("no manifest can be made: another service is called `{service}` already"),
                "rename one",
            ));
            failed.push(name.to_owned());
            notes.append(&mut said);
            continue;
        }
        match write::manifest(&mut draft) {
            Ok(text) => manifests.push(ImportedManifest { service, text }),
            Err(problems) => {
                first.extend(problems);
                failed.push(name.to_owned());
            }
        }
        said.append(&mut draft.notes);
        notes.append(&mut said);
    }
    first.append(&mut notes);
    first.extend(scalars.into_iter().filter(|note| is_of_a_service(&note.key)));
    Ok(Imported { manifests, failed, notes: first })
}

fn fill(draft: &mut Draft<'_>, service: &Map<String, Value>, all: &Map<String, Value>) {
    runs::fill(draft, service, all);
    ports::fill(draft, service);
    volumes::fill(draft, service);
    health::fill(draft, service);
    rollout::fill(draft, service);
    keys::rest(draft, service);
}

/// The reason why no manifest is made of a service that extends another one: half of its keys are not here.
fn child(draft: &Draft<'_>, service: &Map<String, Value>) -> Option<Note> {
    let parent = draft::take(service, "extends")?;
    let of = |key: &str| parent.get(key).and_then(values::text);
    let name = of("service").or_else(|| values::text(parent)).unwrap_or_default();
    let file = of("file").map_or_else(String::new, |file| format!(" of {file}"));
    Some(draft.note(
        "extends",
        &format!("no manifest can be made: its other keys stand in the service `{name}`{file}"),
        "`docker compose config > whole.yml` writes them in; import that file",
    ))
}

/// Returns whether a key stands in a service, and not where only anchors are kept. A mode is written in octal digits anyway.
fn is_of_a_service(key: &str) -> bool {
    let is_mode = key.contains(".configs.") && key.ends_with(".mode");
    key.starts_with("services.") && !key.contains(".x-") && !is_mode
}

/// Keys beside the services.
fn top(file: &Map<String, Value>, notes: &mut Vec<Note>) {
    for key in file.keys().filter(|key| !SILENT.contains(&key.as_str()) && !key.starts_with("x-")) {
        let (reason, hint) = match key.as_str() {
            "networks" => (
                "services do not find each other by sharing a network",
                "`uses: [db]` calls another service by its name; clients come by `route`",
            ),
            "secrets" => (
                "sealed secrets come later",
                "a folder of the host works: `volumes: { secrets: { mount: /run/secrets, host_path: /srv/secrets, read_only: true } }`",
            ),
            "include" => ("other files are not read", "import each of them"),
            "configs" => continue,
            "models" => ("models are not run beside a service", "run it as a service of its own"),
            _ => ("the key is not known", "look whether a manifest needs it: `windlass schema`"),
        };
        notes.push(Note { key: key.clone(), reason: reason.to_owned(), hint: hint.to_owned() });
    }
    let volumes = file.get("volumes").and_then(Value::as_object).into_iter().flatten();
    for (name, volume) in volumes {
        let keys = volume.as_object().into_iter().flatten().map(|(key, _)| key);
        for key in keys.filter(|key| !matches!(key.as_str(), "name" | "labels") && !key.starts_with("x-")) {
            notes.push(Note {
                key: format!("volumes.{name}.{key}"),
                reason: "a named volume is made by the agent on its host, empty".to_owned(),
                hint: "copy the data, or name a folder of the host: `host_path`".to_owned(),
            });
        }
    }
}
