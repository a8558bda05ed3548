//! Telling readers that keys changed, for backends that live in this process.

use tokio::sync::broadcast;

use super::transaction::{Revision, Transaction};

/// Changes not yet read by the slowest watcher. Who falls behind hears [`Watch::next`] say `Lagged` once and
/// reads everything again.
const BACKLOG: usize = 1024;

/// A key that a transaction touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which key.
    pub key: String,
    /// By which transaction.
    pub revision: Revision,
}

/// A notice to a watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A key changed; read it.
    Changed(Changed),
    /// Some changes were missed: read all.
    Lagged,
}

/// The sending side.
#[derive(Debug)]
pub struct Watchers(broadcast::Sender<Changed>);

impl Default for Watchers {
    fn default() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }
}

impl Watchers {
    /// Tells everybody what `transaction` touched.
    pub fn notify(&self, transaction: &Transaction, revision: Revision) {
        for (key, _) in &transaction.writes {
            // An error means that nobody listens.
            drop(self.0.send(Changed { key: key.clone(), revision }));
        }
    }

    /// A new watcher.
    pub fn watch(&self, prefix: &str) -> Watch {
        Watch { prefix: prefix.to_owned(), receiver: self.0.subscribe() }
    }
}

/// Changes below one prefix.
#[derive(Debug)]
pub struct Watch {
    prefix: String,
    receiver: broadcast::Receiver<Changed>,
}

impl Watch {
    /// The next change; `None` when the store is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            match self.receiver.recv().await {
                Ok(change) if change.key.starts_with(&self.prefix) => return Some(Notice::Changed(change)),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return Some(Notice::Lagged),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
