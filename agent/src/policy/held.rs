//! Whether somebody else than root could put something else in the place of a path of the host.
//!
//! An engine mounts by path, at every start anew. A path is held if only root (or the agent's own user) can change any
//! part of the way to it: then it leads to the same place whenever the engine follows it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, open, openat};

/// File systems whose entries somebody else than this host's root decides: a server, or a program of a user.
const REMOTE: [i128; 8] = [
    0x6573_5546, // FUSE
    0x6969,      // NFS
    0x517B,      // SMB
    0xFF53_4D42, // CIFS
    0xFE53_4D42, // SMB2
    0x00C3_6400, // Ceph
    0x5346_414F, // AFS
    0x7375_7245, // Coda
];
/// Writable by the group, or by everybody.
const OTHERS_WRITE: u32 = 0o022;
/// In such a folder an entry is removed by its owner, the folder's, or root.
const STICKY: u32 = 0o1000;

/// A file or folder, whatever its name: device and number of the inode.
type Identity = (u64, u64);

/// One part of the way from `/` to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    path: PathBuf,
    owner: u32,
    /// Kind and permission bits.
    mode: u32,
    is_remote: bool,
    identity: Identity,
}

/// Checks `path`, which has no links, from `/` down. It must be a folder or a file, must not be one of `never` under
/// another name, and nobody but root may be able to put something else in its place.
pub(super) fn check(path: &Path, never: &[String]) -> Result<(), String> {
    let parts = walk(path)?;
    for part in &parts {
        if let Some(forbidden) = never.iter().find(|never| identity(never) == Some(part.identity)) {
            let path = part.path.display();
            return Err(format!("`{path}` is `{forbidden}` under another name, which may never be bound"));
        }
    }
    let trusted = trusted();
    parts.windows(2).try_for_each(|pair| holds(&pair[0], &pair[1], trusted))?;
    parts.last().map_or(Ok(()), is_bindable)
}

/// Checks that nobody but root can put something else in the place of what lies in `folder`.
pub(super) fn check_inside(folder: &Path) -> Result<(), String> {
    let mut parts = walk(folder)?;
    let trusted = trusted();
    if let Some(last) = parts.last() {
        parts.push(Part { path: last.path.join("*"), owner: trusted[0], ..last.clone() });
    }
    parts.windows(2).try_for_each(|pair| holds(&pair[0], &pair[1], trusted))
}

/// Root and the agent's own user, who has the engine and so is root too.
fn trusted() -> [u32; 2] {
    [0, rustix::process::geteuid().as_raw()]
}

fn identity(path: &str) -> Option<Identity> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Opens each part in the one before, without following links, and looks at what is open.
fn walk(path: &Path) -> Result<Vec<Part>, String> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = PathBuf::from("/");
    let failed = |at: &Path, error: rustix::io::Errno| match error {
        rustix::io::Errno::NOENT => {
            let at = at.display();
            format!("`{at}` does not exist on this host; make it first: `mkdir -p {}`", path.display())
        }
        _ => format!("`{}` cannot be looked at: {error}", at.display()),
    };
    let mut here = open("/", flags, Mode::empty()).map_err(|error| failed(&at, error))?;
    let mut parts = Vec::new();
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let mut names = names.peekable();
    loop {
        let seen = fstat(&here).map_err(|error| failed(&at, error))?;
        let system = fstatfs(&here).map_err(|error| failed(&at, error))?;
        parts.push(Part {
            path: at.clone(),
            owner: seen.st_uid,
            mode: seen.st_mode,
            is_remote: REMOTE.contains(&i128::from(system.f_type)),
            identity: (seen.st_dev, seen.st_ino),
        });
        let Some(name) = names.next() else { return Ok(parts) };
        if FileType::from_raw_mode(seen.st_mode) == FileType::Symlink {
            return Err(format!("`{}` became a symbolic link", at.display()));
        }
        at.push(name);
        here = openat(&here, name, flags, Mode::empty()).map_err(|error| failed(&at, error))?;
    }
}

/// Whether only those `trusted` can put something else in the place of `entry`, which lies in `folder`.
fn holds(folder: &Part, entry: &Part, trusted: [u32; 2]) -> Result<(), String> {
    let (at, below) = (folder.path.display(), entry.path.display());
    if folder.is_remote {
        return Err(format!(
            "`{at}` lies on a network or FUSE file system, where others than this host's root could put a link in \
             the place of `{below}`; mount the folder itself below a folder of root, and bind that"
        ));
    }
    if !trusted.contains(&folder.owner) {
        return Err(format!(
            "`{at}` belongs to user {}, who could put a link in the place of `{below}`; give the folder to root \
             (`chown root {at}`), or bind `{at}` itself",
            folder.owner
        ));
    }
    let is_sticky = folder.mode & STICKY != 0 && trusted.contains(&entry.owner);
    if folder.mode & OTHERS_WRITE != 0 && !is_sticky {
        return Err(format!(
            "`{at}` has mode {:04o}, so that others than root could put a link in the place of `{below}`; run \
             `chmod go-w {at}`, or bind `{at}` itself",
            folder.mode & 0o7777
        ));
    }
    Ok(())
}

/// A socket or a device opens more than itself.
fn is_bindable(part: &Part) -> Result<(), String> {
    match FileType::from_raw_mode(part.mode) {
        FileType::Directory | FileType::RegularFile => Ok(()),
        FileType::Symlink => Err(format!("`{}` became a symbolic link", part.path.display())),
        _ => Err(format!("`{}` is neither a folder nor a file", part.path.display())),
    }
}

#[cfg(test)]
mod tests;
