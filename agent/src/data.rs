//! The agent's folder: who we are and what we accepted. Mode 0700; one agent at a time.
//!
//! ```text
//! identity.pem    TLS key and certificate, replaced as a whole (0600)
//! receipt.key     signs receipts (0600)
//! joining.key     TLS key of a join that has not been answered yet
//! member.json     fleet, host, address, coordinator; written last, so its presence means "joined"
//! trust.json      trust document in force
//! revocations.json  certificates that no longer count, the newest list
//! journal         state, checksummed, replaced as a whole
//! trusts/         trust documents by version, for an ingress that walks from one to the next
//! routes/         the newest traffic table of each environment
//! ingress.sock    the ingress beside the agent connects here
//! ingress/        what the ingress keeps, if it is not told another folder
//! releases/       envelopes of verified releases, by digest
//! files/          files of releases, laid down for their containers
//! status.json     what a running agent says of itself, for `inventory`
//! lock            held while an agent runs
//! ```

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use windlass_certs::files::{self, FileError};
use windlass_process::report;

/// The folder, made and checked.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

/// Held while an agent runs; the kernel gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The reason that the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It could not be made.
    #[error(transparent)]
    Make(#[from] FileError),
    /// Others may enter it.
    #[error("`{path}` has mode {mode:04o}, the agent's folder must have 0700")]
    TooOpen {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not there.
    #[error("failed to open the agent's folder `{path}`")]
    Open {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent holds it.
    #[error("another agent runs with `{path}`")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
}

impl DataError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Make(error) => error.hint(),
            Self::TooOpen { path, .. } => Some(format!("run `chmod 700 {}`", path.display())),
            Self::Open { .. } => {
                Some("join first: `windlass-agent join --server … --token … --data DIR`".to_owned())
            }
            Self::Busy { .. } => Some("stop it first, or give each agent a folder of its own".to_owned()),
        }
    }
}

impl DataDir {
    /// Makes the folder if it is missing, and refuses one that others may enter.
    pub fn create(root: &Path) -> Result<Self, DataError> {
        files::create_private_dir(root)?;
        Self::open(root)
    }

    /// Takes a folder that is there, and refuses one that others may enter.
    pub fn open(root: &Path) -> Result<Self, DataError> {
        let failed = |source| DataError::Open { path: root.to_owned(), source };
        // Absolute, so that policy can compare it with what a release wants to bind.
        let root = fs::canonicalize(root).map_err(failed)?;
        let mode = fs::metadata(&root).map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(DataError::TooOpen { path: root, mode });
        }
        Ok(Self { root })
    }

    /// Keeps other agents out until the answer is dropped. Waits a moment, as [`DataDir::is_running`] holds it for one.
    pub fn lock(&self) -> Result<Lock, DataError> {
        for _ in 0..10 {
            match self.try_lock() {
                Err(DataError::Busy { .. }) => std::thread::sleep(Duration::from_millis(50)),
                decided => return decided,
            }
        }
        self.try_lock()
    }

    /// Whether an agent runs with this folder.
    pub fn is_running(&self) -> bool {
        matches!(self.try_lock(), Err(DataError::Busy { .. }))
    }

    /// Removes what a crash left of files that were being written: keys, releases, a state about to be. Only for
    /// whoever holds the lock. What cannot be removed stays, as it harms nobody but a reader of the disk.
    pub fn tidy(&self) {
        for folder in [self.root.clone(), self.releases(), self.routes(), self.trust_versions()] {
            match files::remove_unfinished(&folder) {
                Ok(0) => {}
                Ok(count) => tracing::info!(folder = %folder.display(), count, "removed unfinished files"),
                Err(error) if folder.exists() => {
                    tracing::warn!(error = %report::chain(&error), "unfinished files stay");
                }
                Err(_) => {}
            }
        }
        if self.member().exists() {
            self.forget_joining_key();
        }
    }

    /// Removes the key of a join that is done: it is in the identity now.
    pub fn forget_joining_key(&self) {
        match fs::remove_file(self.joining_key()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.joining_key().display(), %error, "the key of the join stays");
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn try_lock(&self) -> Result<Lock, DataError> {
        let path = self.root.join("lock");
        let failed = |source| DataError::Open { path: path.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(DataError::Busy { path: self.root.clone() }),
            Err(fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// TLS key and certificate.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity.pem")
    }

    /// The key that signs receipts.
    pub fn receipt_key(&self) -> PathBuf {
        self.root.join("receipt.key")
    }

    /// TLS key of a join under way.
    pub fn joining_key(&self) -> PathBuf {
        self.root.join("joining.key")
    }

    /// The membership file.
    pub fn member(&self) -> PathBuf {
        self.root.join("member.json")
    }

    /// The trust document.
    pub fn trust(&self) -> PathBuf {
        self.root.join("trust.json")
    }

    /// The newest revocation list.
    pub fn revocations(&self) -> PathBuf {
        self.root.join("revocations.json")
    }

    /// The state.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The status file of a running agent.
    pub fn status(&self) -> PathBuf {
        self.root.join("status.json")
    }

    /// The lease of instances that may never run twice.
    pub fn lease(&self) -> PathBuf {
        self.root.join("lease.json")
    }

    /// Files of releases, laid down for their containers.
    pub fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// The newest traffic tables.
    pub fn routes(&self) -> PathBuf {
        self.root.join("routes")
    }

    /// Trust documents by version.
    pub fn trust_versions(&self) -> PathBuf {
        self.root.join("trusts")
    }

    /// One of them.
    pub fn trust_version(&self, version: u64) -> PathBuf {
        self.trust_versions().join(format!("{version}.json"))
    }

    /// Verified releases.
    pub fn releases(&self) -> PathBuf {
        self.root.join("releases")
    }
}

/// Does something in the agent's folder on another thread: its disk may be slow, or hang.
pub async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    aside(work).await
}

/// Does on another thread what takes the processor for long: a document may have four megabytes, and the heartbeat waits for
/// none.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await, // the runtime ends, and whoever waits with it
        },
    }
}

/// Reads a file of at most `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_agent_per_folder() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("agent")).unwrap();
        let held = data.lock().unwrap();
        assert!(matches!(data.lock(), Err(DataError::Busy { .. })) && data.is_running());
        drop(held);
        assert!(!data.is_running() && data.lock().is_ok());
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("agent");
        DataDir::create(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o750)).unwrap();
        let error = DataDir::open(&root).unwrap_err();
        assert!(error.hint().unwrap().starts_with("run `chmod 700"));
    }

    #[test]
    fn what_a_crash_left_of_keys_and_releases_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("agent")).unwrap();
        files::create_private_dir(&data.releases()).unwrap();
        let unfinished =
            ["identity.pem.0123456789ab.tmp", "joining.key.aabbccddeeff.tmp", "journal.00ff00ff00ff.tmp"];
        let left = unfinished.map(|name| data.root().join(name));
        let release = data.releases().join("00.json.0123456789ab.tmp");
        let kept = data.releases().join("00.json");
        for path in left.iter().chain([&release, &kept, &data.joining_key()]) {
            fs::write(path, b"x").unwrap();
        }
        data.tidy();
        assert!(left.iter().chain([&release]).all(|path| !path.exists()));
        assert!(kept.exists() && data.joining_key().exists(), "a join that was cut off goes on with its key");
        fs::write(data.member(), b"{}").unwrap();
        data.tidy();
        assert!(!data.joining_key().exists(), "it has joined, and the key is in the identity");
    }

    #[test]
    fn long_files_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, [0; 11]).unwrap();
        assert!(read_bounded(&path, 10).is_err());
        assert_eq!(read_bounded(&path, 11).unwrap().len(), 11);
    }
}
