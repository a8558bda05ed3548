//! Files of keys and certificates: secrets have mode 0600, are written whole or not at all, and are refused when
//! others may read them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::random;

/// No key, chain or trust file is longer; a file that is, is something else.
const MAX_LEN: u64 = 1024 * 1024;
/// Random bytes in the name of a file that is being written.
const SUFFIX: usize = 6;

/// The reason for which a secret file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading failed.
    #[error("failed to read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Writing failed.
    #[error("failed to write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Someone else than the owner may read it.
    #[error("`{path}` has mode {mode:04o}, a key file must have 0600 or stricter")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Someone else may put files into the folder, or rename them.
    #[error("others may write to `{path}`: it has mode {mode:04o}")]
    FolderWritable {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The folder belongs to someone else.
    #[error("`{path}` belongs to user {owner}, who may put other files there")]
    FolderOwner {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// There is a file already, and a key is never overwritten.
    #[error("`{path}` exists already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Longer than any key.
    #[error("`{path}` is too long to be a key")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

impl FileError {
    /// The next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooOpen { path, .. } => Some(format!(
                "run `chmod 600 {}`; if others could read it, replace the key instead",
                path.display()
            )),
            Self::Exists { path } => {
                Some(format!("move `{}` away first, if it is really no longer needed", path.display()))
            }
            Self::FolderWritable { path, .. } => Some(format!(
                "run `chmod go-w {}`, and look whether anything in it is not yours",
                path.display()
            )),
            Self::FolderOwner { path, .. } => Some(format!(
                "run it as that user, like `runuser -u windlass -- COMMAND`, or give `{}` to yours with `chown`",
                path.display()
            )),
            Self::Read { .. } | Self::Write { .. } | Self::TooLong { .. } => None,
        }
    }
}

/// The stages of a file on its way to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was done yet.
    Begun,
    /// All bytes are in a file beside.
    Written,
    /// They are on the disk.
    Synced,
    /// The file has its name.
    Placed,
    /// The name is on the disk.
    Done,
}

/// Reads a file that only its owner may read.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // The mode of the file that is open, not of whatever the name means a moment later.
    let meta = file.metadata().map_err(failed)?;
    let mode = meta.mode() & 0o7777;
    if mode & 0o177 != 0 {
        return Err(FileError::TooOpen { path: path.to_owned(), mode });
    }
    if !meta.is_file() || meta.len() > MAX_LEN {
        return Err(FileError::TooLong { path: path.to_owned() });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_LEN).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Reads a file that anyone may read, a certificate or an envelope, up to the length a key file may have.
pub fn read_public(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_LEN {
        return Err(FileError::TooLong { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Writes a new file with mode 0600; refuses if there is one already.
pub fn create_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    create_secret_telling(path, bytes, &|_| {})
}

/// The same, and says how far it is.
pub fn create_secret_telling(path: &Path, bytes: &[u8], tell: &dyn Fn(Stage)) -> Result<(), FileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
        _ => FileError::Write { path: path.to_owned(), source },
    };
    let temporary = write_beside(path, bytes, tell)?;
    // A link fails where a rename would replace: two `init`s at once cannot both win.
    let linked = fs::hard_link(&temporary, path);
    if linked.is_ok() {
        tell(Stage::Placed);
    }
    let removed = fs::remove_file(&temporary);
    linked.and(removed).and_then(|()| sync_parent(path)).map_err(failed)?;
    tell(Stage::Done);
    Ok(())
}

/// Replaces a file, or makes it, with mode 0600: after a crash it is the old one or the new one.
pub fn replace_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace_secret_telling(path, bytes, &|_| {})
}

/// The same, and says how far it is.
pub fn replace_secret_telling(path: &Path, bytes: &[u8], tell: &dyn Fn(Stage)) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    let temporary = write_beside(path, bytes, tell)?;
    fs::rename(&temporary, path).map_err(failed)?;
    tell(Stage::Placed);
    sync_parent(path).map_err(failed)?;
    tell(Stage::Done);
    Ok(())
}

/// Removes what a crash left of files that were being written in a folder: `NAME.<twelve hex digits>.tmp`. Only for
/// whoever knows that nobody writes there. Answers how many there were.
pub fn remove_unfinished(folder: &Path) -> Result<usize, FileError> {
    let failed = |path: &Path, source| FileError::Write { path: path.to_owned(), source };
    let mut removed = 0;
    for entry in fs::read_dir(folder).map_err(|source| failed(folder, source))? {
        let entry = entry.map_err(|source| failed(folder, source))?;
        if entry.file_name().to_str().is_some_and(is_unfinished) {
            fs::remove_file(entry.path()).map_err(|source| failed(&entry.path(), source))?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn is_unfinished(name: &str) -> bool {
    let digits = name.strip_suffix(".tmp").and_then(|name| name.rsplit_once('.'));
    digits.is_some_and(|(_, digits)| {
        digits.len() == 2 * SUFFIX && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Refuses a folder if somebody else than root or this user could put another file in its place: by the folder itself, or
/// by one above it. In a folder with the sticky bit everybody may write, and nobody touch what is another's.
pub fn check_way(folder: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::Read { path: folder.to_owned(), source };
    let owners = [0, own_user(), caller_of_sudo().unwrap_or(0)];
    for path in fs::canonicalize(folder).map_err(failed)?.ancestors() {
        let meta = fs::metadata(path).map_err(failed)?;
        let (owner, mode) = (meta.uid(), meta.mode() & 0o7777);
        if !owners.contains(&owner) {
            return Err(FileError::FolderOwner { path: path.to_owned(), owner });
        }
        if mode & 0o1000 == 0 && is_open(owner, meta.gid(), mode) {
            return Err(FileError::FolderWritable { path: path.to_owned(), mode });
        }
    }
    Ok(())
}

/// Closes a folder of secrets to others: one that others may write to is refused, one that they may read gets mode 0700.
/// Answers whether it was open.
pub fn close_dir(folder: &Path) -> Result<bool, FileError> {
    let failed = |source| FileError::Read { path: folder.to_owned(), source };
    let meta = fs::metadata(folder).map_err(failed)?;
    let mode = meta.mode() & 0o7777;
    if is_open(meta.uid(), meta.gid(), mode) {
        return Err(FileError::FolderWritable { path: folder.to_owned(), mode });
    }
    check_way(folder)?;
    let was_open = mode & 0o077 != 0 && meta.uid() == own_user();
    if was_open {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .map_err(|source| FileError::Write { path: folder.to_owned(), source })?;
    }
    Ok(was_open)
}

/// Whether a folder of this mode may be written to by somebody else than its owner. A group with the number of its owner is that
/// user's own, as most systems make one for each user, with a umask of 002.
const fn is_open(owner: u32, group: u32, mode: u32) -> bool {
    let is_private = owner != 0 && owner == group;
    mode & 0o002 != 0 || (mode & 0o020 != 0 && !is_private)
}

/// The user who became root by `sudo`, who may be root anyway.
fn caller_of_sudo() -> Option<u32> {
    let caller = || std::env::var("SUDO_UID").ok()?.parse().ok();
    if own_user() == 0 { caller() } else { None }
}

fn own_user() -> u32 {
    fs::metadata("/proc/self").map_or(0, |meta| meta.uid())
}

/// Begins a file of mode 0600 that gets its name later, see [`place_secret`]. A file of that name which a crash left, or a
/// link that somebody put there, is removed; a link is never followed.
pub fn begin_secret(path: &Path) -> Result<File, FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(file)
}

/// Gives a file that was begun its name, unless there is a file or a link of that name.
pub fn place_secret(begun: &Path, path: &Path) -> Result<(), FileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
        _ => FileError::Write { path: path.to_owned(), source },
    };
    fs::hard_link(begun, path).and_then(|()| fs::remove_file(begun)).map_err(failed)?;
    sync_parent(path).map_err(failed)
}

/// Makes a folder that only its owner may enter, with its parents; leaves one that exists alone.
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FileError::Write { path: path.to_owned(), source })
}

fn write_beside(path: &Path, bytes: &[u8], tell: &dyn Fn(Stage)) -> Result<PathBuf, FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    tell(Stage::Begun);
    let suffix: [u8; SUFFIX] = random::bytes().map_err(|error| failed(io::Error::other(error)))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", random::hex(&suffix)));
    let temporary = path.with_file_name(name);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(failed)?;
    // The umask can only have made it stricter; say exactly what we mean.
    let written = file
        .set_permissions(fs::Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(bytes))
        .inspect(|()| tell(Stage::Written))
        .and_then(|()| file.sync_all());
    if let Err(source) = written {
        drop(fs::remove_file(&temporary));
        return Err(failed(source));
    }
    tell(Stage::Synced);
    Ok(temporary)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests;
