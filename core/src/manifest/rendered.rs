//! A manifest that is layered, completed and checked.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::id::{EnvironmentId, ServiceId, ServiceName};
use crate::release::{self, Image, Spec};

use super::image::ImageReference;
use super::model::{File, Manifest};
use super::node::{Node, display_path};
use super::problem::{Errors, Problem};
use super::render::{self, Leaf, Origins};
use super::{check, foreign, lower, schema, shape};

/// A release is at most so many bytes, files included.
pub const MAX_RELEASE: usize = 256 * 1024;

/// Room for what a release holds beside the specification: fleet, counter, time, author.
const HEADER: usize = 2 * 1024;

/// A manifest with all layers and defaults applied, checked. It lacks only what must be fetched: the
/// image's digest and the content of files.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The service.
    pub service: ServiceName,
    /// The environment it is for.
    pub environment: EnvironmentId,
    /// The image it asks for.
    pub image: ImageReference,
    /// Allowed and surprising values.
    pub warnings: Vec<Problem>,
    manifest: Manifest,
    main_port: Option<String>,
    tree: Node,
}

impl Rendered {
    pub(super) fn new(tree: Node, environment: EnvironmentId) -> Result<Self, Errors> {
        let mut problems = Vec::new();
        let document = shape::check(&tree, schema::get(), &mut problems);
        let Some(document) = document.filter(|_| problems.is_empty()) else {
            // A document of another system is one mistake, however many of its keys are unknown.
            let whole = |problem: &Problem| problem.hint.as_deref().is_some_and(foreign::is_whole);
            if let Some(at) = problems.iter().position(whole).filter(|_| tree.get("service").is_none()) {
                return Err(problems.swap_remove(at).into());
            }
            return Err(Errors(problems));
        };
        let mut manifest: Manifest = serde_json::from_value(document).map_err(|error| {
            let at = tree.at.clone();
            // Cannot happen: the schema is made from these types. A property test watches that.
            let reason = format!("the schema and the types disagree: {error}");
            Problem { at, path: String::new(), reason, hint: None }
        })?;
        let main_port = tree.get("ports").and_then(|ports| Some(ports.entries().first()?.key.clone()));
        manifest.complete(main_port.as_deref());
        manifest.environment = Some(environment.clone());
        let findings = check::check(&manifest, &tree);
        let warnings = findings.warnings;
        let image = manifest.image.parse();
        match (Errors::unless_empty(findings.errors, ()), image) {
            (Err(errors), _) => Err(errors),
            (Ok(()), Ok(image)) => Ok(Self {
                service: manifest.service.clone(),
                environment,
                image,
                warnings,
                manifest,
                main_port,
                tree,
            }),
            (Ok(()), Err(error)) => {
                let at = tree.origin(&["image"]).clone();
                Err(Problem { at, path: "image".to_owned(), reason: error.to_string(), hint: None }.into())
            }
        }
    }

    /// *environment/name*.
    pub fn service_id(&self) -> ServiceId {
        ServiceId::new(self.environment.clone(), self.service.clone())
    }

    /// Host names with their paths under which it is to be reached.
    pub(super) fn route_names(&self) -> impl Iterator<Item = String> {
        let routes = self.manifest.routes().iter();
        routes.map(|route| format!("{}{}", route.host, release::prefix(route.path.as_deref().unwrap_or("/"))))
    }

    /// The specification to sign.
    ///
    /// `read_file` gets each path of a `files` entry's `from` and of a `tls.ca` as it is written (the caller resolves it beside the
    /// manifest) and answers with the content, or with what went wrong.
    pub fn into_spec(
        mut self,
        image: Image,
        read_file: impl Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Spec, Errors> {
        let mut problems = Vec::new();
        let mut files = BTreeMap::new();
        for (target, file) in &self.manifest.files {
            match content(file, &read_file) {
                Ok(content) => {
                    let content = STANDARD.encode(content);
                    files.insert(target.clone(), release::File { content, mode: file.mode.0 });
                }
                Err(reason) => problems.push(self.problem_at(&["files", target, "from"], reason)),
            }
        }
        let mut read = Vec::new();
        self.manifest.each_tls(|path, tls| {
            let Some(from) = &tls.ca else { return };
            match authorities(from, &read_file) {
                Ok(content) => tls.ca = Some(content),
                Err(reason) => read.push((path.to_vec(), reason)),
            }
        });
        for (mut path, reason) in read {
            path.extend(["tls".to_owned(), "ca".to_owned()]);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            problems.push(self.problem_at(&path, reason));
        }
        let spec = lower::lower(&self.manifest, self.main_port.as_deref(), image, files);
        let size = serde_json::to_vec(&spec).map_or(usize::MAX, |bytes| bytes.len());
        if size > MAX_RELEASE - HEADER {
            let reason = format!("make a release of {size} bytes, more than the {MAX_RELEASE} allowed");
            let mut problem = self.problem_at(&["files"], reason);
            problem.hint = Some("put large files into the image or a volume".to_owned());
            problems.push(problem);
        }
        Errors::unless_empty(problems, spec)
    }

    /// The finished manifest as YAML; reading it again gives the same.
    pub fn yaml(&self, origins: Origins) -> String {
        render::yaml(&self.document(), &self.tree, origins)
    }

    /// Each value of the finished manifest, and where it came from.
    pub fn leaves(&self) -> Vec<Leaf> {
        render::leaves(&self.document(), &self.tree)
    }

    fn document(&self) -> serde_json::Value {
        // A manifest has only text keys and finite numbers, so it always is JSON.
        serde_json::to_value(&self.manifest).unwrap_or_default()
    }

    pub(super) fn problem_at(&self, path: &[&str], reason: String) -> Problem {
        let at = self.tree.origin(path).clone();
        Problem { at, path: display_path(path), reason, hint: None }
    }
}

fn content(file: &File, read_file: &impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<Vec<u8>, String> {
    match (&file.content, &file.from) {
        (Some(content), _) => Ok(content.clone().into_bytes()),
        (None, Some(from)) => {
            let bytes = read_file(from)?;
            // Told here, where the file still has its name.
            if bytes.len() > MAX_RELEASE {
                return Err(format!(
                    "`{from}` has {} bytes, more than a whole release may have",
                    bytes.len()
                ));
            }
            Ok(bytes)
        }
        (None, None) => Ok(Vec::new()),
    }
}

/// The certificates of a file.
fn authorities(from: &str, read_file: &impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<String, String> {
    let bytes = read_file(from)?;
    let tls = release::Tls { ca: String::from_utf8(bytes).ok(), ..release::Tls::default() };
    let wrong = |what: &str| format!("`{from}` {what}");
    tls.check(true).map_err(|(_, what)| wrong(what))?;
    tls.ca.ok_or_else(|| wrong("is not text"))
}
