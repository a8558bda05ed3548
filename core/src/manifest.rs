//! Manifests: what a person writes, checked, layered and turned into the signed specification.
//!
//! ```text
//!  file ──parse──▶ tree ──merge overlay, --set──▶ tree ──shape──▶ model ──check──▶ Rendered
//!                 (every value knows its file, line and column)                    │ + pinned image
//!                                                                                  ▼ + files
//!                                                                            release::Spec
//! ```
//!
//! Nothing here reads a file or asks a registry: the caller hands in texts, the content of files and
//! the pinned image. Everything wrong is reported at once, each with position, reason and hint.

mod check;
mod closest;
pub mod defaults;
mod foreign;
mod image;
mod lower;
mod merge;
mod model;
mod node;
mod parse;
mod problem;
mod render;
mod rendered;
mod schema;
mod setting;
mod shape;
pub mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::id::EnvironmentId;

pub use closest::closest;
pub use foreign::split_words;
pub use image::{ImageReference, InvalidImage};
pub use parse::MAX_INPUT;
pub use problem::{Errors, Origin, Problem};
pub use render::{Leaf, Origins};
pub use rendered::{MAX_RELEASE, Rendered};
pub use schema::schema;
pub use setting::{InvalidSetting, Setting};

pub use node::display_path;
use node::{Entry, Kind, Node};

/// The words to write instead of a key of another system, if `key` is one: `healthcheck`, `depends_on`, `livenessProbe`.
pub fn foreign_key(key: &str) -> Option<&'static str> {
    foreign::hint(&[key.to_owned()])
}

/// A scalar as YAML: plain where no reader could take it for anything but text, else in double quotes.
pub fn yaml_text(text: &str) -> String {
    render::scalar(text)
}

/// A text and the name its errors are reported under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Like `web.yaml`, as the person named it.
    pub name: String,
    /// YAML, one or several documents.
    pub text: String,
}

/// The layers, lowest first: manifests, the overlay of the environment, settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sources {
    /// The manifests.
    pub manifests: Vec<Source>,
    /// Overlays (`environments/<name>.yaml`) by environment. A document that names a `service`
    /// changes that one, a document that names none changes all. Only those that are used are parsed.
    pub overlays: BTreeMap<EnvironmentId, Source>,
    /// Settings, later ones over earlier ones.
    pub settings: Vec<Setting>,
}

/// Which environment is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environment {
    /// This one, whatever a manifest says (`-e`).
    Given(EnvironmentId),
    /// The environment of the manifest, else this one (that of the context).
    Default(EnvironmentId),
}

/// Reads, layers and checks manifests: one [`Rendered`] per document, in order.
pub fn load(sources: &Sources, environment: &Environment) -> Result<Vec<Rendered>, Errors> {
    let mut problems = Vec::new();
    let mut documents = Vec::new();
    for source in &sources.manifests {
        match parse::documents(&source.name, &source.text) {
            Ok(found) if found.is_empty() => {
                problems.push(whole(
                    &source.name,
                    "there is no manifest in it",
                    "begin with `service:` and `image:`",
                ));
            }
            Ok(found) => documents.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    unmatched_settings(&documents, &sources.settings, &mut problems);
    let mut loaded = Vec::new();
    for document in documents {
        match one(document, sources, environment) {
            Ok(rendered) => loaded.push(rendered),
            Err(Errors(found)) => problems.extend(found),
        }
    }
    twice(&loaded, &mut problems);
    same_names(&loaded, &mut problems);
    // One broken overlay is one problem, however many documents it would have changed.
    let mut seen = BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.to_string()));
    Errors::unless_empty(problems, loaded)
}

fn whole(file: &str, reason: &str, hint: &str) -> Problem {
    let at = Origin::File { file: file.into(), line: 1, column: 1 };
    Problem { at, path: String::new(), reason: reason.to_owned(), hint: Some(hint.to_owned()) }
}

fn one(mut tree: Node, sources: &Sources, environment: &Environment) -> Result<Rendered, Errors> {
    if !matches!(tree.kind, Kind::Map(_)) {
        let reason = format!("expected a map that begins with `service:`, found {}", tree.kind.name());
        return Err(Problem { at: tree.at, path: String::new(), reason, hint: None }.into());
    }
    let declared = declared(&tree);
    let (environment, given) = match environment {
        Environment::Given(given) => (given.clone(), true),
        Environment::Default(default) => (declared.clone().unwrap_or_else(|| default.clone()), false),
    };
    let service = tree.get("service").and_then(Node::raw).map(str::to_owned);
    if let Some(source) = sources.overlays.get(&environment) {
        for layer in parse::documents(&source.name, &source.text)? {
            lay_over(&mut tree, layer, service.as_deref(), &environment)?;
        }
    }
    for setting in &sources.settings {
        if setting.service.as_ref().is_none_or(|name| Some(name.as_str()) == service.as_deref()) {
            merge::merge(&mut tree, setting.layer());
        }
    }
    if given {
        merge::merge(&mut tree, given_environment(&environment));
    }
    // Anchors for the rest of the document, as compose files have them.
    if let Kind::Map(entries) = &mut tree.kind {
        entries.retain(|entry| !entry.key.starts_with("x-"));
    }
    let mut rendered = Rendered::new(tree, environment)?;
    if let Some(declared) = declared.filter(|declared| *declared != rendered.environment) {
        let reason = format!("is `{}` as given, not `{declared}` as the manifest says", rendered.environment);
        rendered.warnings.push(rendered.problem_at(&["environment"], reason));
    }
    Ok(rendered)
}

/// The environment a document names. A name that is none is reported with the rest of the shape.
fn declared(tree: &Node) -> Option<EnvironmentId> {
    tree.get("environment")?.raw()?.parse().ok()
}

/// `-e production` as a layer of its own, so that it has an origin.
fn given_environment(environment: &EnvironmentId) -> Node {
    let at = Origin::Given(format!("-e {environment}").into());
    let value = Node { at: at.clone(), kind: Kind::Text(environment.to_string()) };
    let entry = Entry { key: "environment".to_owned(), at: at.clone(), value };
    Node { at, kind: Kind::Map(vec![entry]) }
}

/// Lays one document of an overlay over a manifest, if it is meant for it.
fn lay_over(
    tree: &mut Node,
    mut layer: Node,
    service: Option<&str>,
    environment: &EnvironmentId,
) -> Result<(), Errors> {
    let problem = |at: &Origin, path: &str, reason: String| {
        Errors::from(Problem { at: at.clone(), path: path.to_owned(), reason, hint: None })
    };
    let Kind::Map(entries) = &mut layer.kind else {
        return Err(problem(&layer.at, "", format!("an overlay is a map, found {}", layer.kind.name())));
    };
    if let Some(entry) = entries.iter().find(|entry| entry.key == "environment")
        && entry.value.raw() != Some(environment.as_str())
    {
        let reason = format!("this overlay is for `{environment}`; take the key away");
        return Err(problem(&entry.value.at, "environment", reason));
    }
    if let Some(entry) = entries.iter().find(|entry| entry.key == "service")
        && entry.value.raw() != service
    {
        return Ok(());
    }
    entries.retain(|entry| !matches!(entry.key.as_str(), "service" | "environment"));
    merge::merge(tree, layer);
    Ok(())
}

/// A setting must be for one service: the wrong image for all of them is an expensive slip.
fn unmatched_settings(documents: &[Node], settings: &[Setting], problems: &mut Vec<Problem>) {
    let names: Vec<&str> = documents.iter().filter_map(|tree| tree.get("service")?.raw()).collect();
    for setting in settings {
        let reason = match &setting.service {
            None if documents.len() > 1 => "does not say for which of the services".to_owned(),
            Some(service) if !names.contains(&service.as_str()) => format!("there is no service `{service}`"),
            None | Some(_) => continue,
        };
        let hint = names.first().map(|name| format!("`--set {name}:key=value`"));
        problems.push(Problem { at: setting.origin(), path: String::new(), reason, hint });
    }
}

/// Two services of one environment cannot be reached under one name.
fn same_names(loaded: &[Rendered], problems: &mut Vec<Problem>) {
    let mut seen = BTreeMap::new();
    for rendered in loaded {
        for name in rendered.route_names() {
            let key = (rendered.environment.clone(), name.clone());
            let Some(other) = seen.insert(key, &rendered.service) else { continue };
            if *other != rendered.service {
                let reason = format!("`{name}` leads to the service `{other}` already");
                problems.push(rendered.problem_at(&["route"], reason));
            }
        }
    }
}

fn twice(loaded: &[Rendered], problems: &mut Vec<Problem>) {
    let mut seen = BTreeMap::new();
    for rendered in loaded {
        let here = rendered.problem_at(&["service"], String::new());
        let Some(first) = seen.insert(rendered.service_id(), here.at.clone()) else { continue };
        let reason =
            format!("the service `{}` stands here a second time; first in {first}", rendered.service);
        problems.push(Problem { reason, ..here });
        seen.insert(rendered.service_id(), first);
    }
}
