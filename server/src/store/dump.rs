//! `store export` and `store import`: one JSON object per line, the first one a header, the last one a
//! digest of all before, so that a backup that was cut is seen. After it stands the coordinator's signature, the seal.

mod seal;

use std::io::{self, BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use windlass_core::Digest;

use super::{Entry, Store, StoreError, Transaction};
use crate::crash::Point;

pub use seal::SealError;
pub(crate) use seal::Sealer;

/// Longer than any record: what is longer is none of ours.
const MAX_LINE: u64 = 64 << 20;
const FORMAT: &str = "windlass-store-1";
/// Records of one transaction of an import.
const BATCH: usize = 256;
/// Stands in a store from the first transaction of an import to the last: half a fleet must not be taken for a whole
/// one, or what is missing would be stopped.
pub(crate) const IMPORTING: &str = "importing";

/// A backup that is whole.
pub(crate) struct Backup {
    /// Its records, by key.
    pub records: Vec<(String, Vec<u8>)>,
    /// The digest of all lines before, in the last one.
    pub digest: Digest,
    /// The envelope of its seal, as it was read; a backup of an older version has none.
    pub seal: Option<String>,
}

impl Backup {
    /// Checks that the coordinator of `sealer` has signed it.
    pub(crate) fn check(&self, sealer: &Sealer) -> Result<(), SealError> {
        let records = u64::try_from(self.records.len()).unwrap_or(u64::MAX);
        sealer.check(self.seal.as_deref(), records, self.digest)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Format(String),
    Record { key: String, value: String },
    End { records: u64, digest: Digest },
    Sealed(String),
}

/// The next step about half a store.
pub(crate) const HALF_IMPORTED: &str =
    "move the `store` folder away and import the backup again: `windlass-server store import FILE`";

/// The reason for which a backup was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file.
    #[error("failed to read or write the backup")]
    Io(#[from] io::Error),
    /// Not a backup.
    #[error("line {0} of the backup is not one of ours")]
    Malformed(u64),
    /// Cut or changed.
    #[error("the backup is incomplete or was changed: its digest does not match")]
    Damaged,
    /// Importing would mix two fleets.
    #[error("the store is not empty")]
    NotEmpty,
    /// Nobody answers for it.
    #[error("the backup is not signed by this coordinator")]
    Seal(#[from] SealError),
    /// Nobody may take that for a backup.
    #[error("the import is incomplete: it was interrupted")]
    HalfImported,
}

impl DumpError {
    /// The next step of the operator.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) => error.hint(),
            Self::HalfImported => Some(HALF_IMPORTED),
            Self::NotEmpty => Some("move the old `store` folder away, then import into a new one"),
            Self::Seal(_) => Some(seal::UNSIGNED),
            Self::Malformed(_) | Self::Damaged => Some("use another backup"),
            Self::Io(_) => None,
        }
    }
}

/// Writes every record. Answers how many. Nothing else may write to the store meanwhile.
pub async fn export(store: &dyn Store, out: &mut dyn Write) -> Result<u64, DumpError> {
    let entries = store.list("").await?;
    if entries.iter().any(|entry| entry.key == IMPORTING) {
        return Err(DumpError::HalfImported);
    }
    write(entries, out, None)
}

/// The same, signed by the coordinator.
pub(crate) async fn export_sealed(
    store: &dyn Store,
    out: &mut dyn Write,
    sealer: &Sealer,
) -> Result<u64, DumpError> {
    let entries = store.list("").await?;
    if entries.iter().any(|entry| entry.key == IMPORTING) {
        return Err(DumpError::HalfImported);
    }
    write(entries, out, Some(sealer))
}

/// Writes these records, which are all there are.
pub(crate) fn write(
    entries: Vec<Entry>,
    out: &mut dyn Write,
    sealer: Option<&Sealer>,
) -> Result<u64, DumpError> {
    let mut hash = Sha256::new();
    let mut line = |line: &Line, hash: &mut Sha256| -> Result<(), DumpError> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::from)?;
        text.push(b'\n');
        hash.update(&text);
        Ok(out.write_all(&text)?)
    };
    line(&Line::Format(FORMAT.to_owned()), &mut hash)?;
    let mut records = 0;
    for entry in entries {
        line(&Line::Record { key: entry.key, value: STANDARD.encode(entry.value) }, &mut hash)?;
        records += 1;
    }
    let digest = Digest::from_bytes(hash.clone().finalize().into());
    line(&Line::End { records, digest }, &mut hash)?;
    if let Some(sealer) = sealer {
        line(&Line::Sealed(sealer.seal(records, digest)), &mut hash)?;
    }
    out.flush()?;
    Ok(records)
}

/// Reads a backup into an empty store, as it is; nothing says that it was restored. It is checked whole before
/// anything is written, and until all of it is there the store is good for nothing.
pub async fn import(store: &dyn Store, input: &mut dyn BufRead) -> Result<u64, DumpError> {
    fill(store, read(input)?.records, Transaction::default()).await
}

/// Writes records into an empty store, and `last` in the transaction that makes it whole.
pub(crate) async fn fill(
    store: &dyn Store,
    records: Vec<(String, Vec<u8>)>,
    last: Transaction,
) -> Result<u64, DumpError> {
    if !store.list("").await?.is_empty() {
        return Err(DumpError::NotEmpty);
    }
    let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
    store.commit(Transaction::default().put(IMPORTING, Vec::new())).await?;
    for batch in records.chunks(BATCH) {
        Point::ImportBatch.pass();
        let transaction = batch
            .iter()
            .fold(Transaction::default(), |transaction, (key, value)| transaction.put(key, value.clone()));
        store.commit(transaction).await?;
    }
    Point::ImportWritten.pass();
    store.commit(last.delete(IMPORTING)).await?;
    Point::ImportDone.pass();
    Ok(count)
}

/// Reads a backup, and checks that it is whole.
pub(crate) fn read(input: &mut dyn BufRead) -> Result<Backup, DumpError> {
    let mut hash = Sha256::new();
    let (mut records, mut text, mut number) = (Vec::new(), Vec::new(), 0_u64);
    loop {
        number += 1;
        if !next_line(input, &mut text, number)? {
            return Err(DumpError::Damaged);
        }
        let before = hash.clone();
        hash.update(&text);
        let line = serde_json::from_slice(&text).map_err(|_| DumpError::Malformed(number))?;
        match line {
            Line::Format(format) if number == 1 && format == FORMAT => {}
            Line::Record { key, value } if number > 1 => {
                let value = STANDARD.decode(value).map_err(|_| DumpError::Malformed(number))?;
                records.push((key, value));
            }
            Line::End { records: count, digest } if number > 1 => {
                let same = digest == Digest::from_bytes(before.finalize().into());
                let all = u64::try_from(records.len()) == Ok(count);
                if !same || !all {
                    return Err(DumpError::Damaged);
                }
                return Ok(Backup { records, digest, seal: last_line(input, number + 1)? });
            }
            Line::Format(_) | Line::Record { .. } | Line::End { .. } | Line::Sealed(_) => {
                return Err(DumpError::Malformed(number));
            }
        }
    }
}

/// Reads one line into `text`. Answers false at the end of the file.
fn next_line(input: &mut dyn BufRead, text: &mut Vec<u8>, number: u64) -> Result<bool, DumpError> {
    text.clear();
    let read = io::Read::take(&mut *input, MAX_LINE).read_until(b'\n', text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) >= MAX_LINE {
        return Err(DumpError::Malformed(number));
    }
    Ok(read > 0)
}

/// The seal, if there is one, after which nothing comes.
fn last_line(input: &mut dyn BufRead, number: u64) -> Result<Option<String>, DumpError> {
    let mut text = Vec::new();
    if !next_line(input, &mut text, number)? {
        return Ok(None);
    }
    let Ok(Line::Sealed(seal)) = serde_json::from_slice(&text) else {
        return Err(DumpError::Malformed(number));
    };
    if next_line(input, &mut text, number + 1)? {
        Err(DumpError::Malformed(number + 1))
    } else {
        Ok(Some(seal))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Revision, Watch};

    async fn dump() -> Vec<u8> {
        let store = MemoryStore::new();
        let transaction = Transaction::default().put("a", vec![0, 255]).put("host/b", b"{}".to_vec());
        store.commit(transaction).await.unwrap();
        let mut out = Vec::new();
        assert_eq!(export(&store, &mut out).await.unwrap(), 2);
        out
    }

    #[tokio::test]
    async fn a_backup_comes_back_whole() {
        let out = dump().await;
        let store = MemoryStore::new();
        assert_eq!(import(&store, &mut out.as_slice()).await.unwrap(), 2);
        assert_eq!(store.get("a").await.unwrap().unwrap().value, [0, 255]);
        let again = import(&store, &mut out.as_slice()).await.unwrap_err();
        assert!(matches!(again, DumpError::NotEmpty));
    }

    #[tokio::test]
    async fn a_cut_or_changed_backup_writes_nothing() {
        let out = dump().await;
        let lines: Vec<&[u8]> = out.split_inclusive(|b| *b == b'\n').collect();
        let without = |skip: usize| -> Vec<u8> {
            lines.iter().enumerate().filter(|(at, _)| *at != skip).flat_map(|(_, l)| l.to_vec()).collect()
        };
        for skip in 0..lines.len() {
            let store = MemoryStore::new();
            assert!(import(&store, &mut without(skip).as_slice()).await.is_err(), "{skip}");
            assert!(store.list("").await.unwrap().is_empty());
        }
    }

    /// A store whose n-th transaction is the last.
    struct CutOff(MemoryStore, std::sync::atomic::AtomicI64);

    impl Store for CutOff {
        fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
            self.0.get(key)
        }

        fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
            self.0.list(prefix)
        }

        fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, StoreError>> {
            match self.1.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) {
                1.. => self.0.commit(transaction),
                _ => async { Err(StoreError::Failed("killed".into())) }.boxed(),
            }
        }

        fn watch(&self, prefix: &str) -> Watch {
            self.0.watch(prefix)
        }
    }

    #[tokio::test]
    async fn an_import_that_was_cut_off_is_never_taken_for_a_store() {
        let source = MemoryStore::new();
        let all = (0..3 * BATCH).fold(Transaction::default(), |all, n| all.put(format!("slot/{n}"), vec![1]));
        source.commit(all).await.unwrap();
        let mut backup = Vec::new();
        export(&source, &mut backup).await.unwrap();
        let transactions = 5; // the mark, three batches, and the mark's end
        for cut in 1..transactions {
            let store = CutOff(MemoryStore::new(), cut.into());
            import(&store, &mut backup.as_slice()).await.unwrap_err();
            assert!(matches!(export(&store, &mut Vec::new()).await, Err(DumpError::HalfImported)), "{cut}");
            let again = import(&store, &mut backup.as_slice()).await.unwrap_err();
            assert!(matches!(again, DumpError::NotEmpty) && again.hint().unwrap().contains("move"), "{cut}");
        }
        let store = CutOff(MemoryStore::new(), transactions.into());
        import(&store, &mut backup.as_slice()).await.unwrap();
        assert_eq!(export(&store, &mut Vec::new()).await.unwrap(), 3 * 256);
    }
}
