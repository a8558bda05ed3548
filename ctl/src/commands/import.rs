//! `import`: manifests from the files of other systems.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::args::ImportCommand;
use crate::compose::{self, ComposeError, Imported, ImportedManifest};
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
    #[error("no manifest could be made of `{0}`")]
    Nothing(PathBuf),
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
            Self::Nothing(_) => Some("the notes above say why".to_owned()),
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
            _ if !whole.is_file() => None,
            Some(_) => Some(std::path::absolute(&whole).unwrap_or(whole).display().to_string()),
            None => Some(path.to_owned()),
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
    if imported.manifests.is_empty() {
        Err(ImportError::Nothing(file.clone()).into())
    } else {
        Ok(Exit::Done)
    }
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
    if imported.notes.is_empty() {
        return format!("{} manifests; everything was carried over", imported.manifests.len());
    }
    let mut text = format!("{} manifests; not carried over, or different:", imported.manifests.len());
    for note in &imported.notes {
        text.push_str(&format!("\n  {}: {}\n    hint: {}", note.key, note.reason, note.hint));
    }
    text
}
