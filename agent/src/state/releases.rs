//! Envelopes of releases that this host has verified, one file per digest. What is in here was accepted once, so
//! that retired keys still count for it; nothing unverified is ever written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use windlass_certs::files::{self, FileError};
use windlass_core::Digest;
use windlass_proto::limits::MAX_RELEASE_ENVELOPE;

use crate::crash::Written;

/// More releases than any plan and its history name; the oldest goes first.
const MAX_KEPT: usize = 4096;

/// The folder of releases.
#[derive(Debug, Clone)]
pub struct ReleaseStore {
    folder: PathBuf,
}

/// The reason for which a release cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseStoreError {
    /// Writing failed.
    #[error("failed to keep a release")]
    Write(#[from] FileError),
    /// Reading failed.
    #[error("failed to read a release that was kept")]
    Read(#[source] io::Error),
}

impl ReleaseStore {
    /// Opens the folder; makes it if it is missing.
    pub fn open(folder: &Path) -> Result<Self, ReleaseStoreError> {
        files::create_private_dir(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Keeps the envelope of a release that was verified.
    pub fn put(&self, digest: &Digest, envelope: &[u8]) -> Result<(), ReleaseStoreError> {
        let tell = |stage| Written::Release.at(stage);
        Ok(files::replace_secret_telling(&self.path(digest), envelope, &tell)?)
    }

    /// The envelope, if it was kept.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ReleaseStoreError> {
        let limit = u64::try_from(MAX_RELEASE_ENVELOPE).unwrap_or(u64::MAX);
        match crate::data::read_bounded(&self.path(digest), limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ReleaseStoreError::Read(error)),
        }
    }

    /// Whether it was verified on this host before.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Every release that is kept.
    pub fn list(&self) -> Result<BTreeSet<Digest>, ReleaseStoreError> {
        Ok(self.entries()?.into_keys().collect())
    }

    /// Removes what is not `needed`: all but the newest `history` of it, and never more than a bound in all.
    pub fn collect(&self, needed: &BTreeSet<Digest>, history: usize) -> Result<usize, ReleaseStoreError> {
        let mut spare: Vec<_> =
            self.entries()?.into_iter().filter(|(digest, _)| !needed.contains(digest)).collect();
        spare.sort_by_key(|(_, modified)| std::cmp::Reverse(*modified));
        let keep = history.min(MAX_KEPT.saturating_sub(needed.len()));
        let gone = spare.split_off(keep.min(spare.len()));
        for (digest, _) in &gone {
            fs::remove_file(self.path(digest)).map_err(ReleaseStoreError::Read)?;
        }
        Ok(gone.len())
    }

    fn entries(&self) -> Result<BTreeMap<Digest, std::time::SystemTime>, ReleaseStoreError> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.folder).map_err(ReleaseStoreError::Read)? {
            let entry = entry.map_err(ReleaseStoreError::Read)?;
            let name = entry.file_name();
            let hex = name.to_str().and_then(|name| name.strip_suffix(".json"));
            let Some(digest) = hex.and_then(|hex| format!("sha256:{hex}").parse().ok()) else { continue };
            let modified = entry.metadata().and_then(|meta| meta.modified());
            found.insert(digest, modified.map_err(ReleaseStoreError::Read)?);
        }
        Ok(found)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{}.json", digest.to_hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_needed_and_some_history() {
        let dir = tempfile::tempdir().unwrap();
        let store = ReleaseStore::open(&dir.path().join("releases")).unwrap();
        let digests: Vec<Digest> = (0_u8..6).map(|n| Digest::of(&[n])).collect();
        for digest in &digests {
            store.put(digest, b"{}").unwrap();
        }
        assert!(store.contains(&digests[0]) && store.get(&Digest::of(b"other")).unwrap().is_none());
        let unreadable = Digest::of(b"a folder in its place");
        fs::create_dir(store.path(&unreadable)).unwrap();
        assert!(matches!(store.get(&unreadable), Err(ReleaseStoreError::Read(_))), "not taken for absent");
        fs::remove_dir(store.path(&unreadable)).unwrap();
        let needed = BTreeSet::from([digests[0], digests[3]]);
        assert_eq!(store.collect(&needed, 1).unwrap(), 3);
        let left = store.list().unwrap();
        assert_eq!(left.len(), 3);
        assert!(needed.is_subset(&left));
    }
}
