//! The embedded store. The only file that names sled.
//!
//! sled's `flush` writes back without waiting for the disk (`sync_file_range`), so an acknowledged
//! transaction is `flush` and then `fdatasync` on a handle of our own to `<folder>/db`. A batch of sled is
//! atomic over a crash. Everything here blocks and runs on the blocking pool.
//!
//! A marker file beside the database says that there was one. If it is there and the database is empty,
//! somebody lost it, and the coordinator must not take that for a new fleet.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Entry, Revision, Store, StoreError, Transaction, Watch, Watchers};
use crate::crash::Point;

/// Where the number of the last transaction stands. Sorts before every key of ours.
const REVISION: &[u8] = b"\0revision";
/// Says that the folder holds a store.
const MARKER: &str = "WINDLASS-STORE";

/// A folder with a sled database in it.
pub struct SledStore {
    inner: Arc<Inner>,
}

struct Inner {
    db: sled::Db,
    /// For `fdatasync`; sled keeps its own handle to itself.
    file: File,
    /// Serialises transactions: the check of the guards and the batch belong together.
    revision: Mutex<Revision>,
    watchers: Watchers,
}

impl SledStore {
    /// Opens the store in `path`, or makes one if there never was any. Blocks.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let unreadable = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let known = path.join(MARKER).exists();
        let db = sled::Config::new()
            .path(path)
            .mode(sled::Mode::HighThroughput)
            .cache_capacity(64 << 20)
            .open()
            .map_err(|error| open_error(path, error))?;
        Point::StoreOpened.pass();
        let revision = db.get(REVISION).map_err(|error| unreadable(error.into()))?;
        let revision = match revision {
            Some(bytes) => decode_revision(&bytes).ok_or_else(|| unreadable("no revision".into()))?,
            None if known || !db.is_empty() => return Err(StoreError::Lost { path: path.to_owned() }),
            None => 0,
        };
        let file = File::open(path.join("db")).map_err(|error| unreadable(error.into()))?;
        let inner = Inner { db, file, revision: Mutex::new(revision), watchers: Watchers::default() };
        if revision == 0 {
            inner.commit(&Transaction::default())?;
        }
        if !known {
            Point::StoreNumbered.pass();
            mark(path).map_err(|error| unreadable(error.into()))?;
            Point::StoreMarked.pass();
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let inner = self.inner.clone();
        async move { tokio::task::spawn_blocking(move || work(&inner)).await.map_err(failed)? }.boxed()
    }
}

impl Inner {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        match self.db.get(key).map_err(failed)? {
            Some(bytes) => unpack(key.to_owned(), &bytes).map(Some),
            None => Ok(None),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for item in self.db.scan_prefix(prefix) {
            let (key, bytes) = item.map_err(failed)?;
            if key.as_ref() == REVISION {
                continue;
            }
            let key = String::from_utf8(key.to_vec()).map_err(failed)?;
            entries.push(unpack(key, &bytes)?);
        }
        Ok(entries)
    }

    fn commit(&self, transaction: &Transaction) -> Result<Revision, StoreError> {
        transaction.check()?;
        let mut last = self.revision.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, expected) in &transaction.guards {
            let found = self.get(key)?.map_or(0, |entry| entry.revision);
            if found != *expected {
                return Err(StoreError::Conflict { key: key.clone(), expected: *expected, found });
            }
        }
        let revision = *last + 1;
        let mut batch = sled::Batch::default();
        batch.insert(REVISION, &revision.to_be_bytes());
        for (key, value) in &transaction.writes {
            match value {
                Some(value) => batch.insert(key.as_str(), pack(revision, value)),
                None => batch.remove(key.as_str()),
            }
        }
        Point::CommitBegun.pass();
        self.db.apply_batch(batch).map_err(failed)?;
        Point::CommitApplied.pass();
        self.db.flush().map_err(failed)?;
        Point::CommitFlushed.pass();
        self.file.sync_data().map_err(failed)?;
        Point::CommitSynced.pass();
        *last = revision;
        Ok(revision)
    }
}

impl Store for SledStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        let key = key.to_owned();
        self.run(move |inner| inner.get(&key))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        let prefix = prefix.to_owned();
        self.run(move |inner| inner.list(&prefix))
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.run(move |inner| {
            let revision = inner.commit(&transaction)?;
            inner.watchers.tell(&transaction, revision);
            Ok(revision)
        })
    }

    fn watch(&self, prefix: &str) -> Watch {
        self.inner.watchers.watch(prefix)
    }
}

fn open_error(path: &Path, error: sled::Error) -> StoreError {
    let path = path.to_owned();
    match &error {
        // sled wraps the failed lock in text of its own.
        sled::Error::Io(io) if io.to_string().contains("could not acquire lock") => {
            StoreError::InUse { path }
        }
        _ => StoreError::Unreadable { path, source: error.into() },
    }
}

fn mark(path: &Path) -> std::io::Result<()> {
    let marker: PathBuf = path.join(MARKER);
    let mut file = File::create(marker)?;
    file.write_all(b"This folder is the memory of a Windlass coordinator. Back up with `windlass-server store export`.\n")?;
    file.sync_all()?;
    fs::File::open(path)?.sync_all()
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Failed(error.into())
}

fn decode_revision(bytes: &[u8]) -> Option<Revision> {
    Some(Revision::from_be_bytes(bytes.try_into().ok()?))
}

/// A stored value is its revision (8 bytes) and the value.
fn pack(revision: Revision, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + value.len());
    bytes.extend_from_slice(&revision.to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

fn unpack(key: String, bytes: &[u8]) -> Result<Entry, StoreError> {
    let (revision, value) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| failed(format!("the value of `{key}` is shorter than its header")))?;
    Ok(Entry { key, value: value.to_vec(), revision: Revision::from_be_bytes(*revision) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_acknowledged_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = SledStore::open(&path).unwrap();
        let revision = store.commit(Transaction::default().put("a", b"1".to_vec())).await.unwrap();
        drop(store);
        let store = SledStore::open(&path).unwrap();
        assert_eq!(store.get("a").await.unwrap().unwrap().revision, revision);
        assert!(store.commit(Transaction::default().put("b", Vec::new())).await.unwrap() > revision);
    }

    #[test]
    fn a_store_in_use_and_a_lost_one_are_refused_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = SledStore::open(&path).unwrap();
        let error = SledStore::open(&path).err().unwrap();
        assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
        drop(store);
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != MARKER {
                let gone = entry.path();
                if gone.is_dir() { fs::remove_dir_all(gone).unwrap() } else { fs::remove_file(gone).unwrap() }
            }
        }
        let error = SledStore::open(&path).err().unwrap();
        assert!(matches!(error, StoreError::Lost { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("store import"));
    }

    #[test]
    fn damage_is_an_error_and_never_an_empty_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = SledStore::open(&path).unwrap();
        let value = vec![7; 100_000];
        store.inner.commit(&Transaction::default().put("a", value)).unwrap();
        drop(store);
        let db = path.join("db");
        let mut bytes = fs::read(&db).unwrap();
        for byte in &mut bytes {
            *byte ^= 0x5a;
        }
        fs::write(&db, bytes).unwrap();
        assert!(SledStore::open(&path).is_err());
    }
}
