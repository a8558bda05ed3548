//! Files that have to be in a volume of a release. Only the volume is looked into: a link that leads out of it is not followed.

use std::path::Path;
use std::sync::LazyLock;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;
use windlass_core::Span;
use windlass_core::release::{Release, volume_name};
use windlass_process::aside::Aside;

use crate::runtime::{Runtime, Source};

/// Folders that are looked into at a time. One on a mount whose server is gone is looked into for as long as that is.
static FOLDERS: LazyLock<Aside> = LazyLock::new(|| Aside::new("files", 4));
/// Look-ups of a path while somebody renames a folder in it.
const TRIES: u32 = 16;

/// Whether all files are there; else those that are missing, each by its name.
pub(super) async fn exist<R: Runtime>(
    name: &str,
    paths: &[String],
    limit: Span,
    release: &Release,
    runtime: &R,
) -> Result<(), String> {
    let Some(volume) = release.spec.volumes.get(name) else {
        return Err("the release has no such volume".to_owned());
    };
    let engine_name = volume_name(&release.service_id(), name);
    let source = match &volume.host_path {
        Some(path) => Source::Bind(path),
        None => Source::Volume(&engine_name),
    };
    let folder = runtime.folder(source).await.map_err(|error| windlass_process::report::chain(&error))?;
    let Some(folder) = folder else {
        return Err(format!("the volume is not on this host yet, so {} missing", listed(paths)));
    };
    let (key, wanted) = (folder.to_string_lossy().into_owned(), paths.to_vec());
    let looked = FOLDERS.call(&key, limit.duration(), move || missing(&folder, &wanted)).await;
    let missing = looked.map_err(|error| format!("{error}; is it on a mount whose server is gone?"))??;
    if missing.is_empty() { Ok(()) } else { Err(format!("{} missing", listed(&missing))) }
}

fn listed(paths: &[String]) -> String {
    let verb = if paths.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", paths.join(", "))
}

/// The paths at which no file is, below `folder`.
fn missing(folder: &Path, paths: &[String]) -> Result<Vec<String>, String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = match open(folder, flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(paths.to_vec()),
        Err(error) => return Err(format!("the volume cannot be looked into: {error}")),
    };
    let mut missing = Vec::new();
    for path in paths {
        match is_file(&root, path) {
            Ok(true) => {}
            Ok(false) => missing.push(path.clone()),
            Err(error) => return Err(format!("{path} cannot be looked at: {error}")),
        }
    }
    Ok(missing)
}

fn is_file(root: &impl std::os::fd::AsFd, path: &str) -> Result<bool, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(root, path, flags, Mode::empty(), within) {
            Ok(file) => return Ok(FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile),
            // A link that leads out of the volume is no file in it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP) => return Ok(false),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_files_inside_of_the_folder_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("models"), dir.path().join("secret"));
        fs::create_dir_all(inside.join("gpt")).unwrap();
        fs::write(&outside, "x").unwrap();
        fs::write(inside.join("bert.bin"), "x").unwrap();
        fs::write(inside.join("gpt/weights"), "x").unwrap();
        symlink("bert.bin", inside.join("latest")).unwrap();
        symlink(&outside, inside.join("out")).unwrap();
        symlink("../secret", inside.join("up")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        let paths = ["bert.bin", "gpt/weights", "latest", "out", "up", "loop", "gpt", "none", "bert.bin/x"];
        let paths = paths.map(str::to_owned);
        assert_eq!(missing(&inside, &paths).unwrap(), ["out", "up", "loop", "gpt", "none", "bert.bin/x"]);
        assert_eq!(missing(&dir.path().join("gone"), &paths).unwrap(), paths);
        assert!(missing(&outside, &paths).unwrap_err().contains("cannot be looked into"));
    }
}
