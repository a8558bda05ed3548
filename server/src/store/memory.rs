//! A store that forgets: for tests and for `windlass dev` in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Entry, Revision, Store, StoreError, Transaction, Watch, Watchers};

/// Everything in one map.
#[derive(Debug, Default)]
pub struct MemoryStore {
    data: Mutex<Data>,
    watchers: Watchers,
}

#[derive(Debug, Default)]
struct Data {
    entries: BTreeMap<String, (Vec<u8>, Revision)>,
    revision: Revision,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Data) -> T) -> T {
        work(&mut self.data.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Data {
    fn commit(&mut self, transaction: &Transaction) -> Result<Revision, StoreError> {
        transaction.check()?;
        for (key, expected) in &transaction.guards {
            let found = self.entries.get(key).map_or(0, |(_, revision)| *revision);
            if found != *expected {
                return Err(StoreError::Conflict { key: key.clone(), expected: *expected, found });
            }
        }
        self.revision += 1;
        for (key, value) in &transaction.writes {
            match value {
                Some(value) => self.entries.insert(key.clone(), (value.clone(), self.revision)),
                None => self.entries.remove(key),
            };
        }
        Ok(self.revision)
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        let entry = self.with(|data| {
            let (value, revision) = data.entries.get(key)?;
            Some(Entry { key: key.to_owned(), value: value.clone(), revision: *revision })
        });
        async { Ok(entry) }.boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        let entries = self.with(|data| {
            data.entries
                .range(prefix.to_owned()..)
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, (value, revision))| Entry {
                    key: key.clone(),
                    value: value.clone(),
                    revision: *revision,
                })
                .collect()
        });
        async { Ok(entries) }.boxed()
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let committed = self.with(|data| data.commit(&transaction));
        if let Ok(revision) = committed {
            self.watchers.notify(&transaction, revision);
        }
        async { committed }.boxed()
    }

    fn watch(&self, prefix: &str) -> Watch {
        self.watchers.watch(prefix)
    }
}
