//! `import`: manifests from the files of other systems.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::args::ImportCommand;
use crate::compose::{self, ComposeError, Found, Imported, ImportedManifest, Note};
use crate::error::{CtlError, Failure};
use crate::exit::Exit;
use crate::printer::Printer;

/// A compose file is at most so long.
const MAX_FILE: u64 = 1 << 20;

/// The reason why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("failed to read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` cannot be imported")]
    Compose {
        path: PathBuf,
        #[source]
        source: ComposeError,
    },
    #[error("no manifest could be made of {} of `{path}`", .services.join(", "))]
    Failed { path: PathBuf, services: Vec<String> },
    #[error("failed to write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Failure for ImportError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Compose { source: ComposeError::NoServices, .. } => {
                Some("a compose file has `services:` at its top".to_owned())
            }
            Self::Write { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Some("move it away, or name another folder with --out".to_owned())
            }
            Self::Failed { .. } => {
                Some("the notes above say why: mend the compose file, and run it again".to_owned())
            }
            Self::Read { .. } | Self::Compose { .. } | Self::Write { .. } => None,
        }
    }
}

pub(super) fn run(command: &ImportCommand, printer: &Printer) -> Result<Exit, CtlError> {
    let ImportCommand::Compose { file, out } = command;
    let text = read(file).map_err(|source| ImportError::Read { path: file.clone(), source })?;
    let folder =
        file.parent().filter(|_| file.as_os_str() != "-").unwrap_or_else(|| Path::new("")).to_owned();
    // A manifest that lies elsewhere names the whole path.
    let files = |path: &str| {
        let whole = folder.join(path);
        match out {
            _ if whole.is_dir() => Found::Folder,
            _ if !whole.exists() => Found::Missing,
            Some(_) => Found::File(std::path::absolute(&whole).unwrap_or(whole).display().to_string()),
            None => Found::File(path.to_owned()),
        }
    };
    let imported = compose::import(&text, &files);
    let imported = imported.map_err(|source| ImportError::Compose { path: file.clone(), source })?;
    match out {
        Some(out) => {
            write(&imported.manifests, out)?;
            printer.document(&imported, |_| {
                let names = imported.manifests.iter().map(|one| out.join(format!("{}.yaml\n", one.service)));
                names.map(|path| path.display().to_string()).collect()
            });
        }
        None => printer.document(&imported, |_| {
            let texts: Vec<&str> = imported.manifests.iter().map(|one| one.text.as_str()).collect();
            texts.join("---\n")
        }),
    }
    printer.note(&notes(&imported));
    if imported.failed.is_empty() {
        return Ok(Exit::Done);
    }
    // Programs find them in the document.
    if printer.is_structured() {
        return Ok(Exit::Refused);
    }
    Err(ImportError::Failed { path: file.clone(), services: imported.failed }.into())
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let from: Box<dyn std::io::Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file)?)
    };
    // One byte more than is taken, which then says that it is too long.
    from.take(MAX_FILE + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file for each, none over one that is there.
fn write(manifests: &[ImportedManifest], out: &Path) -> Result<(), ImportError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| ImportError::Write { path, source }
    };
    std::fs::create_dir_all(out).map_err(failed(out))?;
    for manifest in manifests {
        let path = out.join(format!("{}.yaml", manifest.service));
        let made =
            std::fs::File::create_new(&path).and_then(|mut file| file.write_all(manifest.text.as_bytes()));
        made.map_err(failed(&path))?;
    }
    Ok(())
}

fn notes(imported: &Imported) -> String {
    let count = match imported.manifests.len() {
        1 => "1 manifest".to_owned(),
        count => format!("{count} manifests"),
    };
    if imported.notes.is_empty() {
        return format!("{count}; everything was carried over");
    }
    let mut text = format!("{count}; not carried over, or different:");
    // The same about several keys is said once.
    let mut said: Vec<(&Note, Vec<&str>)> = Vec::new();
    for note in &imported.notes {
        match said.iter_mut().find(|(first, _)| first.reason == note.reason && first.hint == note.hint) {
            Some((_, keys)) => keys.push(&note.key),
            None => said.push((note, vec![&note.key])),
        }
    }
    for (note, keys) in said {
        text.push_str(&format!("\n  {}: {}\n    hint: {}", keys.join(", "), note.reason, note.hint));
    }
    text
}
