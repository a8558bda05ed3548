//! The store of the coordinator: a small key-value contract that an embedded database, etcd and a test
//! can all keep.
//!
//! Keys are text, `host/web-1`; values are versioned JSON (see [`record`]). A [`Transaction`] is applied
//! whole or not at all, survives a crash once it is acknowledged, and is refused when a key it guards has
//! moved. One suite of tests runs against every backend (`store/contract.rs`).

pub mod dump;
pub mod memory;
pub mod record;
pub mod sled;
mod watch;

#[cfg(test)]
mod contract;

use std::path::PathBuf;

use futures_util::future::BoxFuture;

pub use watch::{Watch, Watchers};

/// Counts acknowledged transactions. A key carries the revision that last wrote it; 0 is "never".
pub type Revision = u64;

/// Most bytes of one value: a plan, a release or an observation fits several times.
pub const MAX_VALUE: usize = 16 << 20;

/// A key, its value, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The transaction that wrote it.
    pub revision: Revision,
}

/// Writes that belong together, and what must be true for them.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// Each key must be at this revision; 0: it must not exist.
    pub guards: Vec<(String, Revision)>,
    /// New values; `None` removes the key.
    pub writes: Vec<(String, Option<Vec<u8>>)>,
}

impl Transaction {
    /// Demands that `key` is still as it was read.
    pub fn guard(mut self, key: impl Into<String>, revision: Revision) -> Self {
        self.guards.push((key.into(), revision));
        self
    }

    /// Writes `value` under `key`.
    pub fn put(mut self, key: impl Into<String>, value: Vec<u8>) -> Self {
        self.writes.push((key.into(), Some(value)));
        self
    }

    /// Removes `key`; nothing happens if it is not there.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push((key.into(), None));
        self
    }

    /// The checks that no backend needs to look at its data for.
    fn check(&self) -> Result<(), StoreError> {
        for (key, value) in &self.writes {
            let len = value.as_ref().map_or(0, Vec::len);
            if len > MAX_VALUE {
                return Err(StoreError::TooLarge { key: key.clone(), len });
            }
        }
        Ok(())
    }
}

/// The reason for which the store did not answer, or refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody wrote a guarded key in between.
    #[error("`{key}` was changed by somebody else (revision {found}, expected {expected})")]
    Conflict {
        /// Which key.
        key: String,
        /// The expected revision.
        expected: Revision,
        /// The revision found.
        found: Revision,
    },
    /// More than [`MAX_VALUE`].
    #[error("the value of `{key}` has {len} bytes, more than {MAX_VALUE}")]
    TooLarge {
        /// Which key.
        key: String,
        /// Its length.
        len: usize,
    },
    /// It cannot be opened. Never taken for an empty one.
    #[error("the store in `{path}` cannot be read")]
    Unreadable {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has it open.
    #[error("the store in `{path}` is in use by another process")]
    InUse {
        /// Its folder.
        path: PathBuf,
    },
    /// There was a store here, and what is left of it is empty.
    #[error("the store in `{path}` was in use before and is empty now")]
    Lost {
        /// Its folder.
        path: PathBuf,
    },
    /// Reading or writing failed. Whether the write happened is unknown.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A record is not what its key says.
    #[error("the record `{key}` is damaged or of a newer version")]
    Record {
        /// Which key.
        key: String,
        /// Why.
        #[source]
        source: record::RecordError,
    },
}

impl StoreError {
    /// The next step of the coordinator's operator.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable { source, .. } | Self::Failed(source) if is_full(&**source) => {
                Some("the disk is full: make room, and start again; nothing that was acknowledged is lost")
            }
            Self::Unreadable { .. } | Self::Lost { .. } => Some(
                "move the folder away and restore the newest backup with `windlass-server store import FILE`; \
                 hosts keep running meanwhile",
            ),
            Self::InUse { .. } => Some("stop the other windlass-server first"),
            Self::Record { .. } => {
                Some("start the version of windlass-server that wrote it, or restore a backup")
            }
            Self::Failed(_) => Some(
                "`windlass-server check` says whether the store can be read; if not, move the folder away and restore \
                 the newest backup with `windlass-server store import FILE`",
            ),
            Self::Conflict { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// Whether the disk is full. Then nothing is damaged, and restoring a backup would be the wrong advice.
fn is_full(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if kind == Some(std::io::ErrorKind::StorageFull) || self::sled::is_full(error) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The contract.
pub trait Store: Send + Sync + 'static {
    /// One key.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>>;

    /// All keys that begin with `prefix`, in byte order.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>>;

    /// Applies a transaction whole or not at all. Once it answers, the writes survive a crash.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, StoreError>>;

    /// Tells about transactions from now on that touch a key beginning with `prefix`.
    fn watch(&self, prefix: &str) -> Watch;
}
