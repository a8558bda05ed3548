//! A store that dies at a write: before it was stored, or after and before anybody heard of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use windlass_server::store::{Entry, Revision, Store, StoreError, Transaction, Watch};

/// At which write it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// So many writes from now on; 1 is the next.
    pub writes: i64,
    /// Whether the last one is stored.
    pub stored: bool,
}

/// The store of one life of the coordinator.
pub struct Mortal {
    inner: Arc<dyn Store>,
    /// Writes until it dies, the one it dies at included; negative if it is dead. Far away unless it was told.
    left: AtomicI64,
    /// Whether the last write is stored: 0 or 1.
    stored: AtomicI64,
    /// The number of asked writes.
    pub written: AtomicU64,
}

impl Mortal {
    /// Lives until it is told when to die.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, left: AtomicI64::new(i64::MAX), stored: AtomicI64::new(0), written: AtomicU64::new(0) }
    }

    /// Says when it dies.
    pub fn doom(&self, death: Death) {
        self.stored.store(i64::from(death.stored), Ordering::Relaxed);
        self.left.store(death.writes, Ordering::Relaxed);
    }
}

impl Store for Mortal {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        self.inner.get(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        self.inner.list(prefix)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let left = self.left.fetch_sub(1, Ordering::Relaxed);
        self.written.fetch_add(1, Ordering::Relaxed);
        async move {
            if left > 1 {
                return self.inner.commit(transaction).await;
            }
            if left == 1 && self.stored.load(Ordering::Relaxed) == 1 {
                self.inner.commit(transaction).await?;
            }
            Err(StoreError::Failed("killed".into()))
        }
        .boxed()
    }

    fn watch(&self, prefix: &str) -> Watch {
        self.inner.watch(prefix)
    }
}
