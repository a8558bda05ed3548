//! The values that a store holds, and the writes that change them.

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
}
