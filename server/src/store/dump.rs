//! `store export` and `store import`: one JSON object per line, the first one a header, the last one a
//! digest of all before, so that a backup that was cut is seen.

use std::io::{self, BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use windlass_core::Digest;

use super::{Entry, Store, StoreError, Transaction};

const FORMAT: &str = "windlass-store-1";
/// Records of one transaction of an import.
const BATCH: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Format(String),
    Record { key: String, value: String },
    End { records: u64, digest: Digest },
}

/// Why a backup was not written or read.
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
}

impl DumpError {
    /// What the operator can do next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) => error.hint(),
            Self::NotEmpty => Some("move the old `store` folder away, then import into a new one"),
            Self::Malformed(_) | Self::Damaged => Some("use another backup"),
            Self::Io(_) => None,
        }
    }
}

/// Writes every record. Answers how many. Nothing else may write to the store meanwhile.
pub async fn export(store: &dyn Store, out: &mut dyn Write) -> Result<u64, DumpError> {
    write(store.list("").await?, out)
}

/// Writes these records, which are all there are.
pub fn write(entries: Vec<Entry>, out: &mut dyn Write) -> Result<u64, DumpError> {
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
    out.flush()?;
    Ok(records)
}

/// Reads a backup into an empty store. It is checked whole before anything is written.
pub async fn import(store: &dyn Store, input: &mut dyn BufRead) -> Result<u64, DumpError> {
    if !store.list("").await?.is_empty() {
        return Err(DumpError::NotEmpty);
    }
    let records = read(input)?;
    let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
    for batch in records.chunks(BATCH) {
        let transaction = batch
            .iter()
            .fold(Transaction::default(), |transaction, (key, value)| transaction.put(key, value.clone()));
        store.commit(transaction).await?;
    }
    Ok(count)
}

fn read(input: &mut dyn BufRead) -> Result<Vec<(String, Vec<u8>)>, DumpError> {
    let mut hash = Sha256::new();
    let (mut records, mut text, mut number) = (Vec::new(), Vec::new(), 0_u64);
    loop {
        text.clear();
        if input.read_until(b'\n', &mut text)? == 0 {
            return Err(DumpError::Damaged);
        }
        number += 1;
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
                return if same && all { Ok(records) } else { Err(DumpError::Damaged) };
            }
            Line::Format(_) | Line::Record { .. } | Line::End { .. } => {
                return Err(DumpError::Malformed(number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

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
}
