//! The store of the coordinator: a small key-value contract that an embedded database, etcd and a test
//! can all keep.
//!
//! Keys are text, `host/web-1`; values are versioned JSON (see [`record`]). A [`Transaction`] is applied
//! whole or not at all, survives a crash once it is acknowledged, and is refused when a key it guards has
//! moved. One suite of tests runs against every backend (`store/contract.rs`).

pub mod dump;
mod error;
pub mod memory;
pub mod record;
pub mod sled;
mod transaction;
mod watch;

#[cfg(test)]
mod contract;

use futures_util::future::BoxFuture;

pub use error::StoreError;
pub use transaction::{Entry, MAX_VALUE, Revision, Transaction};
pub use watch::{Watch, Watchers};

impl Transaction {
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
