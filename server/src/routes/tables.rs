//! Signed tables, as sessions send them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use windlass_core::traffic::{Routes, Table};
use windlass_core::{Digest, EnvironmentId};

use crate::authority::Authority;

/// Envelopes of the newest tables. Clones share them.
#[derive(Clone)]
pub(crate) struct Tables {
    authority: Authority,
    signed: Arc<Mutex<BTreeMap<EnvironmentId, (Digest, Bytes)>>>,
}

impl Tables {
    /// With this key.
    pub(crate) fn new(authority: Authority) -> Self {
        Self { authority, signed: Arc::default() }
    }

    /// The envelope of a table that is stored. Thousands of sessions ask for the same one, so it is signed once.
    pub(crate) fn envelope(&self, table: &Table) -> Bytes {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = signed.get(&table.routes.environment).filter(|(digest, _)| *digest == table.digest);
        if let Some((_, envelope)) = known {
            return envelope.clone();
        }
        let envelope: Bytes = self.authority.sign_routes(payload(&table.routes)).to_bytes().into();
        signed.insert(table.routes.environment.clone(), (table.digest, envelope.clone()));
        envelope
    }
}

/// The bytes of a table that are signed.
pub(super) fn payload(routes: &Routes) -> Vec<u8> {
    serde_json::to_vec(routes).expect("a table has only string keys, so it is JSON")
}
