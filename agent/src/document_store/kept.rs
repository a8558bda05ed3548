//! Documents of a host beside its journal: traffic tables, and the trust documents on the way to the one in force.

use std::sync::Arc;

use tokio::sync::watch;
use windlass_certs::files::{self, FileError};
use windlass_certs::trust::{Advance, TrustStore};
use windlass_process::report;

use crate::data::DataDir;
use crate::traffic::tables::{TableStore, Tables};

/// The tables that a host keeps.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) store: Option<TableStore>,
    pub(super) newest: watch::Sender<Arc<Tables>>,
}

impl Kept {
    /// Reads what was written. A folder that cannot be read takes no tables, and all else goes on.
    pub(super) fn open(data: &DataDir) -> Self {
        let opened = TableStore::open(&data.routes()).and_then(|store| Ok((store.load()?, store)));
        let (tables, store) = match opened {
            Ok((tables, store)) => (tables, Some(store)),
            Err(error) => {
                tracing::error!(error = %report::chain(&error), "this host takes no traffic tables");
                (Default::default(), None)
            }
        };
        let tables = tables.into_iter().map(|(environment, (table, _))| (environment, table)).collect();
        Self { store, newest: watch::Sender::new(Arc::new(tables)) }
    }
}

/// Keeps a trust document in force by its version, so that an ingress that was away can walk from one to the next.
pub(super) fn keep_version(data: &DataDir, trust: &TrustStore) -> Result<(), FileError> {
    files::create_private_dir(&data.trust_versions())?;
    files::replace_secret(&data.trust_version(trust.version()), trust.envelope())
}

/// The versions on the way from `trust` that are believed.
pub(super) fn believed(trust: &TrustStore, envelopes: &[Vec<u8>]) -> Vec<TrustStore> {
    let mut at = trust.clone();
    let taken = envelopes.iter().filter_map(|bytes| match at.advance(bytes) {
        Ok(Advance::Taken { .. }) => Some(at.clone()),
        Ok(Advance::Unchanged) | Err(_) => None,
    });
    taken.collect()
}
