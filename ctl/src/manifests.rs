//! Manifests from disk: the files, the overlays beside them, the files they name.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use windlass_core::EnvironmentId;
use windlass_core::manifest::{
    self, Environment, Errors, MAX_INPUT, MAX_RELEASE, Problem, Rendered, Source, Sources,
};
use windlass_core::release::{Image, Spec};

use crate::args::ManifestArgs;

/// Entries of a folder that are compared with the name of a missing file.
const BESIDE: usize = 1000;
/// The folder of overlays, beside a manifest.
const OVERLAYS: &str = "environments";

/// Manifests, layered and checked, and the folder that the paths in them begin at.
pub(crate) struct Manifests {
    /// One per document, in order.
    pub(crate) documents: Vec<Rendered>,
    folder: PathBuf,
}

/// The reason why no manifest was loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("no manifest was named")]
    NoFile,
    #[error("failed to read `{path}`")]
    Read {
        path: PathBuf,
        /// A file beside it whose name is close.
        near: Option<PathBuf>,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no `*.yaml` in `{path}`")]
    EmptyFolder { path: PathBuf },
    #[error("`{path}` is longer than the {MAX_INPUT} bytes a manifest may have")]
    TooLong { path: PathBuf },
    #[error("the manifests lie in different folders: `{one}` and `{other}`")]
    Folders { one: PathBuf, other: PathBuf },
    #[error("the manifest is not valid")]
    Invalid(#[source] Errors),
}

/// A mistake in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub(crate) struct Mistake {
    /// Its place: `web.yaml:3:1`, or the flag.
    pub(crate) at: String,
    /// The key; empty where the whole document is meant.
    pub(crate) path: String,
    /// The reason, in words.
    pub(crate) reason: String,
    /// The next step.
    pub(crate) hint: Option<String>,
}

impl ManifestError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoFile => Some("name one: `web.yaml`, or a folder of them".to_owned()),
            Self::EmptyFolder { .. } => {
                Some("name a folder with manifests; folders below it are not looked into".to_owned())
            }
            Self::Folders { .. } => Some(
                "overlays and files are looked for beside the manifest: deploy one folder at a time"
                    .to_owned(),
            ),
            // Each of several problems has a hint of its own; none is for all.
            Self::Invalid(Errors(problems)) => match problems.as_slice() {
                [problem] => problem.hint.clone(),
                _ => None,
            },
            Self::Read { near: Some(near), .. } => Some(format!("did you mean `{}`?", near.display())),
            Self::Read { near: None, .. } | Self::TooLong { .. } => None,
        }
    }

    /// Every problem of a manifest with its hint.
    pub(crate) fn mistakes(&self) -> Vec<Mistake> {
        let Self::Invalid(Errors(problems)) = self else { return Vec::new() };
        let mistake = |problem: &Problem| Mistake {
            at: problem.at.to_string(),
            path: problem.path.clone(),
            reason: problem.reason.clone(),
            hint: problem.hint.clone(),
        };
        problems.iter().map(mistake).collect()
    }

    /// The error and its causes: every problem of a manifest is one.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Invalid(Errors(problems)) => {
                let found = problems.iter().map(|problem| match problem.path.as_str() {
                    "" => format!("{}: {}", problem.at, problem.reason),
                    path => format!("{}: `{path}`: {}", problem.at, problem.reason),
                });
                std::iter::once(self.to_string()).chain(found).collect()
            }
            other => windlass_process::report::causes(other),
        }
    }
}

impl Manifests {
    /// Reads what the flags name.
    pub(crate) fn load(args: &ManifestArgs, environment: &Environment) -> Result<Self, ManifestError> {
        let mut files = Vec::new();
        for path in args.files.iter().chain(&args.manifests) {
            if path.is_dir() { files.extend(of_folder(path)?) } else { files.push(path.clone()) }
        }
        let folder = folder(&files)?;
        let mut sources = Sources { settings: args.settings.clone(), ..Sources::default() };
        for path in &files {
            sources.manifests.push(source(path)?);
        }
        sources.overlays = overlays(&folder.join(OVERLAYS))?;
        let documents = manifest::load(&sources, environment).map_err(ManifestError::Invalid)?;
        Ok(Self { documents, folder })
    }
}

/// The specification to sign. Paths in a manifest begin at its folder.
pub(crate) fn into_spec(rendered: Rendered, image: Image, folder: &Path) -> Result<Spec, ManifestError> {
    let read = |path: &str| {
        // `./a.conf` in this folder is `a.conf`.
        let path: PathBuf =
            folder.join(path).components().filter(|part| *part != Component::CurDir).collect();
        let read = std::fs::File::open(&path).and_then(|file| bounded(file, MAX_RELEASE));
        read.map_err(|error| format!("failed to read `{}`: {error}", path.display()))
    };
    rendered.into_spec(image, read).map_err(ManifestError::Invalid)
}

impl Manifests {
    /// The documents and the folder that the paths in them begin at.
    pub(crate) fn into_parts(self) -> (Vec<Rendered>, PathBuf) {
        (self.documents, self.folder)
    }
}

/// The manifests of a folder, by name. Hidden files are not among them.
fn of_folder(path: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    let failed = |source| ManifestError::Read { path: path.to_owned(), near: None, source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let is_hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_yaml(&file) && !is_hidden && file.is_file() {
            found.push(file);
        }
    }
    found.sort();
    if found.is_empty() { Err(ManifestError::EmptyFolder { path: path.to_owned() }) } else { Ok(found) }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The one folder that all files lie in; stdin lies here.
fn folder(files: &[PathBuf]) -> Result<PathBuf, ManifestError> {
    let of = |path: &PathBuf| match path.parent() {
        Some(parent) if path.as_os_str() != "-" && !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut folders = files.iter().map(of);
    let one = folders.next().ok_or(ManifestError::NoFile)?;
    match folders.find(|other| *other != one) {
        Some(other) => Err(ManifestError::Folders { one, other }),
        None => Ok(one),
    }
}

fn source(path: &Path) -> Result<Source, ManifestError> {
    let failed = |source: std::io::Error| {
        let near = if source.kind() == std::io::ErrorKind::NotFound { beside(path) } else { None };
        ManifestError::Read { path: path.to_owned(), near, source }
    };
    let (name, bytes) = if path.as_os_str() == "-" {
        ("stdin".to_owned(), bounded(std::io::stdin().lock(), MAX_INPUT).map_err(failed)?)
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        (path.display().to_string(), bounded(file, MAX_INPUT).map_err(failed)?)
    };
    if bytes.len() > MAX_INPUT {
        return Err(ManifestError::TooLong { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|error| failed(std::io::Error::other(error)))?;
    Ok(Source { name, text })
}

/// The manifest beside `path` whose name is closest to its own, if one is close.
fn beside(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let there = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let files = there.flatten().take(BESIDE).map(|entry| entry.path()).filter(|path| is_yaml(path));
    let named = |path: PathBuf| path.file_name()?.to_str().map(str::to_owned);
    let mut names: Vec<String> = files.filter_map(named).collect();
    names.sort();
    let wanted = path.file_name()?.to_str()?;
    let near = manifest::closest(wanted, names.iter().map(String::as_str))?;
    Some(folder.map_or_else(|| PathBuf::from(near), |folder| folder.join(near)))
}

/// Reads at most one byte more than `limit`, so that the caller sees that there was more.
fn bounded(from: impl std::io::Read, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The files `environments/<name>.yaml`. Skips files whose name can be no environment's.
fn overlays(folder: &Path) -> Result<BTreeMap<EnvironmentId, Source>, ManifestError> {
    let mut overlays = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(overlays) };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (true, Some(name)) = (is_yaml(&path), name) {
            overlays.insert(name, source(&path)?);
        }
    }
    Ok(overlays)
}
