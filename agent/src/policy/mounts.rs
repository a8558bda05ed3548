//! Host paths that a release wants to bind: what they really are, after links.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use windlass_core::policy::{FORBIDDEN_MOUNTS, check_mount, normalise_path};
use windlass_process::aside::Aside;

/// The longest time to resolve a path.
const PATIENCE: Duration = Duration::from_millis(500);

/// Paths that are followed at a time. One on a mount whose server is gone is followed for as long as that is.
static PATHS: LazyLock<Aside> = LazyLock::new(|| Aside::new("path", 8));

use super::held;

/// Folders that may be bound on this host, and those that never may.
#[derive(Debug, Clone, Default)]
pub struct Mounts {
    /// Prefixes from the policy.
    pub allowed: Vec<String>,
    /// The agent's folder, the policy's file, the engine's socket.
    pub own: Vec<String>,
}

/// Resolves `path` to its real place, if it may be bound: to be given to the engine instead of `path`, so that a link
/// that is changed afterwards changes nothing. It must exist, and be held: nobody but root may be able to put something
/// else in its place.
///
/// Both the written path and the real one must be allowed; prefixes of the policy count as written and resolved.
///
/// A folder that may never be bound counts as written and resolved too: an engine's folder that was moved to a larger disk, with
/// a link in its old place, is still the engine's.
pub fn resolve(mounts: &Mounts, path: &str) -> Result<PathBuf, String> {
    resolve_beside(mounts, path, &FORBIDDEN_MOUNTS)
}

/// [`resolve`], where `forbidden` are the folders that no host lets anybody bind.
pub(super) fn resolve_beside(mounts: &Mounts, path: &str, forbidden: &[&str]) -> Result<PathBuf, String> {
    check_mount(&mounts.allowed, path, &mounts.own)?;
    let written = normalise_path(path).map_err(|error| error.to_string())?;
    let real = follow(Path::new(&written))?;
    let text = real.to_str().ok_or_else(|| format!("`{path}` leads to a path that is not text"))?;
    let real_of = |list: &[String]| -> Vec<String> {
        let resolved = list.iter().filter_map(|one| follow(Path::new(one)).ok());
        let texts = resolved.filter_map(|one| one.to_str().map(str::to_owned));
        texts.chain(list.iter().cloned()).collect()
    };
    let never: Vec<String> =
        forbidden.iter().map(|one| (*one).to_owned()).chain(mounts.own.clone()).collect();
    let never = real_of(&never);
    check_mount(&real_of(&mounts.allowed), text, &never)
        .and_then(|()| held::check(&real, &never))
        .map_err(|why| if text == written { why } else { format!("`{path}` leads elsewhere: {why}") })?;
    Ok(real)
}

/// Checks a path that a container was made with, before it starts again: it must be what it was, without a link.
pub fn check_again(mounts: &Mounts, path: &str) -> Result<(), String> {
    let real = resolve(mounts, path)?;
    if real == Path::new(path) {
        Ok(())
    } else {
        Err(format!("`{path}` became a link and leads to `{}` now", real.display()))
    }
}

/// The path without links, as far as it exists; as written if it cannot be resolved.
pub fn real_path(path: &str) -> String {
    let real = follow(Path::new(path)).ok().and_then(|real| real.to_str().map(str::to_owned));
    real.unwrap_or_else(|| path.to_owned())
}

/// Checks the folder that files of releases are laid down in.
pub fn check_files(folder: &Path) -> Result<(), String> {
    held::check_inside(folder)
}

/// Resolves links of the part that exists; the rest stays as written.
fn follow(path: &Path) -> Result<PathBuf, String> {
    let (name, sought) = (path.to_string_lossy().into_owned(), path.to_owned());
    let followed = PATHS.call_here(&name, PATIENCE, move || walk(&sought));
    followed.unwrap_or_else(|error| {
        Err(format!("`{name}` cannot be resolved: {error}; is it on a mount whose server is gone?"))
    })
}

fn walk(path: &Path) -> Result<PathBuf, String> {
    let mut missing = Vec::new();
    let mut at = path;
    loop {
        match fs::canonicalize(at) {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |real, part| real.join(part))),
            // A link that leads nowhere exists, and could lead somewhere a moment later.
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(at).is_err() => {
                let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
                    return Err(format!("`{}` cannot be resolved", path.display()));
                };
                missing.push(name);
                at = parent;
            }
            Err(error) => return Err(format!("`{}` cannot be resolved: {error}", path.display())),
        }
    }
}
