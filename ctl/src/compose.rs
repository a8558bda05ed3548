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
mod top;
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

/// Makes manifests of a compose file.
///
/// # Errors
/// It is not YAML, or has no services.
pub(crate) fn import(text: &str, files: &Files<'_>) -> Result<Imported, ComposeError> {
    let (file, scalars) = read::file(text)?;
    let services = file.get("services").and_then(Value::as_object).filter(|services| !services.is_empty());
    let services = services.ok_or(ComposeError::NoServices)?;
    let mut notes = Vec::new();
    top::fill(&file, &mut notes);
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
