//! Documents on disk: read bounded, written whole.

use std::path::{Path, PathBuf};

use serde::Serialize;
use windlass_certs::files::FileError;

use crate::error::Failure;

/// The most bytes a document of ours has on disk.
const MAX_FILE: u64 = 8 << 20;

/// The reason why a document on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("failed to read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is longer than any document of ours")]
    TooLong { path: PathBuf },
    #[error("failed to write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is not a plan that this program wrote")]
    NotAPlan {
        path: PathBuf,
        #[source]
        source: Option<serde_json::Error>,
    },
}

impl Failure for DocumentError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAPlan { .. } => Some("make one with `windlass plan -f FILE --save PLAN`".to_owned()),
            Self::Read { source, path } if source.kind() == std::io::ErrorKind::NotFound => Some(format!(
                "is the path right? It is looked for from this folder: `ls {}`",
                crate::shell::quote(&folder(path))
            )),
            Self::Read { .. } | Self::TooLong { .. } | Self::Write { .. } => None,
        }
    }
}

/// The folder that a path leads into.
fn folder(path: &Path) -> String {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| ".".to_owned(), |parent| parent.display().to_string())
}

/// Reads a document, bounded.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, DocumentError> {
    let failed = |source| DocumentError::Read { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE {
        return Err(DocumentError::TooLong { path: path.to_owned() });
    }
    std::fs::read(path).map_err(failed)
}

/// Writes a document, whole or not at all.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DocumentError> {
    windlass_certs::files::replace_secret(path, bytes).map_err(|error| {
        let source = match error {
            FileError::Write { source, .. } => source,
            other => std::io::Error::other(other),
        };
        DocumentError::Write { path: path.to_owned(), source }
    })
}

/// Writes a value as a JSON document.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), DocumentError> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    write_file(path, &bytes)
}
