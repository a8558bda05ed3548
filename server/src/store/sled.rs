//! The embedded store. Only this file, and `full` for errors, name sled.
//!
//! sled's `flush` writes back without waiting for the disk (`sync_file_range`), so an acknowledged
//! transaction is `flush` and then `fdatasync` on a handle of our own to `<folder>/db`. A batch of sled is
//! atomic over a crash. Everything here blocks and runs on the blocking pool.
//!
//! A marker file beside the database says that there was one. If it is there and the database is empty,
//! somebody lost it, and the coordinator must not take that for a new fleet. A damaged file is noticed by a seal over
//! all records and by a note of the newest transaction, since sled by itself goes back to an older state in silence:
//! see `seal`.

pub(super) mod full;
mod seal;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Entry, Revision, Store, StoreError, Transaction, Watch, Watchers};
use crate::crash::Point;
use seal::{Note, Seal};

/// The key of the last transaction's number. Sorts before every key of ours.
const REVISION: &[u8] = b"\0revision";
/// The key of the seal over all records.
const SEAL: &[u8] = b"\0seal";
/// Says that the folder holds a store.
const MARKER: &str = "WINDLASS-STORE";
/// The longest wait for the lock of another user.
const LOCK: Duration = Duration::from_secs(2);

/// A folder with a sled database in it.
pub struct SledStore {
    inner: Arc<Inner>,
}

struct Inner {
    db: sled::Db,
    /// For `fdatasync`; sled keeps its own handle to itself.
    file: File,
    /// Serialises transactions: the check of the guards and the batch belong together.
    last: Mutex<Last>,
    watchers: Watchers,
}

/// The state after the newest transaction.
struct Last {
    revision: Revision,
    seal: Seal,
    note: Note,
}

impl SledStore {
    /// Opens the store in `path`, or makes one if there never was any. Blocks.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // sled panics about a damaged file.
        catch_unwind(AssertUnwindSafe(|| Self::open_sealed(path))).unwrap_or_else(|_| {
            Err(StoreError::Unreadable { path: path.to_owned(), source: "the database is damaged".into() })
        })
    }

    fn open_sealed(path: &Path) -> Result<Self, StoreError> {
        let unreadable = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let known = path.join(MARKER).exists();
        let config = sled::Config::new().path(path).mode(sled::Mode::HighThroughput).cache_capacity(64 << 20);
        let db = unlocked(&config).map_err(|error| open_error(path, error))?;
        Point::StoreOpened.pass();
        let revision = db.get(REVISION).map_err(|error| unreadable(error.into()))?;
        let revision = match revision {
            Some(bytes) => decode_revision(&bytes).ok_or_else(|| unreadable("no revision".into()))?,
            None if known || !db.is_empty() => return Err(StoreError::Lost { path: path.to_owned() }),
            None => 0,
        };
        let file = File::open(path.join("db")).map_err(|error| unreadable(error.into()))?;
        let note = Note::open(path).map_err(|error| unreadable(error.into()))?;
        let seal = sealed(&db, revision, &note).map_err(unreadable)?;
        let last = Mutex::new(Last { revision, seal, note });
        let inner = Inner { db, file, last, watchers: Watchers::default() };
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
            if is_own(&key) {
                continue;
            }
            let key = String::from_utf8(key.to_vec()).map_err(failed)?;
            entries.push(unpack(key, &bytes)?);
        }
        Ok(entries)
    }

    fn commit(&self, transaction: &Transaction) -> Result<Revision, StoreError> {
        transaction.check()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, expected) in &transaction.guards {
            let found = self.get(key)?.map_or(0, |entry| entry.revision);
            if found != *expected {
                return Err(StoreError::Conflict { key: key.clone(), expected: *expected, found });
            }
        }
        let revision = last.revision + 1;
        let mut batch = sled::Batch::default();
        batch.insert(REVISION, &revision.to_be_bytes());
        let (mut seal, writes) = (last.seal, transaction.writes.iter());
        // Of two writes to one key the second counts.
        let writes: BTreeMap<_, _> = writes.map(|(key, value)| (key.as_str(), value)).collect();
        for (key, value) in writes {
            if let Some(old) = self.db.get(key).map_err(failed)? {
                seal.toggle(key.as_bytes(), &old);
            }
            match value {
                Some(value) => {
                    let new = pack(revision, value);
                    seal.toggle(key.as_bytes(), &new);
                    batch.insert(key, new);
                }
                None => batch.remove(key),
            }
        }
        batch.insert(SEAL, seal.as_bytes());
        Point::CommitBegun.pass();
        self.db.apply_batch(batch).map_err(failed)?;
        Point::CommitApplied.pass();
        self.db.flush().map_err(failed)?;
        Point::CommitFlushed.pass();
        self.file.sync_data().map_err(failed)?;
        Point::CommitSynced.pass();
        last.note.write(revision).map_err(failed)?;
        (last.revision, last.seal) = (revision, seal);
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
            inner.watchers.notify(&transaction, revision);
            Ok(revision)
        })
    }

    fn watch(&self, prefix: &str) -> Watch {
        self.inner.watchers.watch(prefix)
    }
}

/// The seal of the store as it is; an error if records are not what they were, or the newest ones are missing.
fn sealed(
    db: &sled::Db,
    revision: Revision,
    note: &Note,
) -> Result<Seal, Box<dyn std::error::Error + Send + Sync>> {
    let mut found = Seal::default();
    for item in db.iter() {
        let (key, value) = item?;
        if !is_own(&key) {
            found.toggle(&key, &value);
        }
    }
    match (db.get(SEAL)?, note.newest()) {
        (Some(seal), _) if seal.as_ref() != found.as_bytes() => {
            Err("the database is damaged: records are missing or have changed".into())
        }
        (_, Some(newest)) if newest > revision => {
            Err(format!("the database is damaged: it ends at transaction {revision} of {newest}").into())
        }
        (None, Some(_)) => Err("the database is damaged: its seal is missing".into()),
        // Made by a version that had no seal: the next transaction writes one.
        (Some(_) | None, _) => Ok(found),
    }
}

/// Whether the key is the backend's own.
fn is_own(key: &[u8]) -> bool {
    key == REVISION || key == SEAL
}

/// Opens the database once nobody has it open, waiting [`LOCK`] at most: a coordinator that is about to end, or threads of the
/// database after its last user has dropped it, hold the lock a moment longer.
fn unlocked(config: &sled::Config) -> Result<sled::Db, sled::Error> {
    let until = Instant::now() + LOCK;
    loop {
        match config.open() {
            Err(error) if is_locked(&error) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

/// sled wraps the failed lock in text of its own.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

fn open_error(path: &Path, error: sled::Error) -> StoreError {
    let path = path.to_owned();
    if is_locked(&error) {
        return StoreError::InUse { path };
    }
    StoreError::Unreadable { path, source: error.into() }
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
    use std::error::Error as _;

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
    fn any_single_bit_flip_is_an_error_or_harmless() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = SledStore::open(&path).unwrap();
        for n in 0..40_u64 {
            let transaction = Transaction::default()
                .put("head", n.to_string().into_bytes())
                .put(format!("audit/{n:020}"), vec![7; 300])
                .put(format!("host/h{}", n % 7), vec![9; 900]);
            store.inner.commit(&transaction).unwrap();
        }
        let whole = store.inner.list("").unwrap();
        drop(store);
        let good = fs::read(path.join("db")).unwrap();
        let end = good.iter().rposition(|byte| *byte != 0).unwrap();
        let (mut noticed, copy) = (0, folder.path().join("copy"));
        for at in (11..end).step_by(end / 60) {
            let _ = fs::remove_dir_all(&copy);
            fs::create_dir(&copy).unwrap();
            for entry in fs::read_dir(&path).unwrap().flatten().filter(|entry| entry.path().is_file()) {
                fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
            }
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(copy.join("db"), bad).unwrap();
            match SledStore::open(&copy) {
                Err(error) => {
                    noticed += 1;
                    assert!(error.hint().unwrap().contains("store import"), "bit of byte {at}: {error:?}");
                }
                Ok(store) => assert_eq!(store.inner.list("").unwrap(), whole, "bit of byte {at}"),
            }
        }
        assert!(noticed > 20, "only {noticed} were noticed: was anything damaged?");
    }

    #[test]
    fn truncated_or_grown_store_is_refused_unsealed_one_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let open = || SledStore::open(&path);
        let put = |store: &SledStore, key: &str| {
            store
                .inner
                .commit(&Transaction::default().put(key, b"1".to_vec()).put(key, b"2".to_vec()))
                .unwrap()
        };
        let store = open().unwrap();
        put(&store, "a");
        store.inner.db.remove(SEAL).unwrap();
        drop(store);
        assert!(open().err().unwrap().source().unwrap().to_string().contains("seal"));
        fs::remove_file(path.join(seal::NOTE)).unwrap(); // now it is as older versions left it
        let store = open().unwrap();
        put(&store, "b");
        let old = pack(1, b"3");
        let new = store.inner.db.insert("a", old).unwrap().unwrap();
        drop(store);
        assert!(open().err().unwrap().source().unwrap().to_string().contains("have changed"));
        let db = unlocked(&sled::Config::new().path(&path)).unwrap();
        db.insert("a", new).unwrap();
        drop(db);
        drop(open().unwrap());
        let (mut note, newest) = (Note::open(&path).unwrap(), Note::open(&path).unwrap().newest().unwrap());
        note.write(newest + 1).unwrap();
        assert!(open().err().unwrap().source().unwrap().to_string().contains("it ends at transaction"));
    }

    #[test]
    fn a_full_disk_is_no_damage_and_the_hint_says_so() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        for error in [failed(sled::Error::Io(full())), failed(full())] {
            assert!(error.hint().unwrap().contains("make room"), "{error:?}");
        }
        assert!(failed("something else").hint().unwrap().contains("store import"));
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
