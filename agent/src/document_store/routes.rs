//! Traffic tables: verified, written down, then shown to the ingress; and the trust documents that an ingress verifies
//! them by.

use std::sync::Arc;

use tokio::sync::watch;
use windlass_certs::dsse::PayloadType;
use windlass_certs::files::{self, FileError};
use windlass_certs::trust::{Advance, TrustStore};
use windlass_core::EnvironmentId;
use windlass_core::observation::Refusal;
use windlass_core::traffic::Reach;
use windlass_core::verify::{AcceptedRoutes, PlanOrder};
use windlass_process::report;
use windlass_proto::limits::MAX_ROUTES_POSITIONS;

use super::DocumentStore;
use crate::data::{DataDir, aside, on_disk, read_bounded};
use crate::traffic::tables::{Table, TableStore, TableStoreError, Tables};
use crate::verify;

/// The tables that a host keeps.
#[derive(Debug)]
pub(super) struct Kept {
    store: Option<TableStore>,
    newest: watch::Sender<Arc<Tables>>,
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

/// The fate of an offered table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is the newest, and written down.
    Newest,
    /// It was refused.
    Refused(Refusal),
}

impl DocumentStore {
    /// The newest table of each environment.
    pub fn tables(&self) -> watch::Receiver<Arc<Tables>> {
        self.routes.newest.subscribe()
    }

    /// Takes a traffic table, or refuses it, which is counted and changes nothing.
    ///
    /// # Errors
    /// It could not be written: offer it again.
    pub async fn take_routes(&self, envelope: &[u8]) -> Result<Taken, TableStoreError> {
        let _one_at_a_time = self.accepting.lock().await;
        let tables = self.routes.newest.borrow().clone();
        let trust = self.trust();
        let now = self.now(&self.state());
        let bytes: Arc<[u8]> = envelope.into();
        let (offered, accepted, fleet) = (bytes.clone(), tables.clone(), self.member.fleet.clone());
        let verified = aside(move || {
            let last = |environment: &EnvironmentId| -> Option<AcceptedRoutes> {
                accepted.get(environment).map(|table| table.accepted)
            };
            verify::routes(&offered, trust.document(), &fleet, last, now)
        });
        let verified = match verified.await {
            Ok(verified) => verified,
            Err(refusal) => {
                self.counters.refused("routes", self.member.host.as_str(), &refusal);
                return Ok(Taken::Refused(refusal));
            }
        };
        if verified.order == PlanOrder::Same {
            return Ok(Taken::Newest);
        }
        let environment = verified.routes.environment.clone();
        if tables.len() >= MAX_ROUTES_POSITIONS && !tables.contains_key(&environment) {
            return Err(TableStoreError::TooMany);
        }
        let Some(store) = self.routes.store.clone() else {
            return Err(TableStoreError::Read(std::io::ErrorKind::NotFound.into()));
        };
        let (name, written) = (environment.clone(), bytes.clone());
        on_disk(move || store.put(&name, &written)).await?;
        tracing::info!(%environment, seq = verified.routes.seq, "traffic table accepted");
        let table = Table { accepted: verified.accepted(), envelope: bytes };
        self.routes.newest.send_modify(|tables| {
            Arc::make_mut(tables).insert(environment, table);
        });
        Ok(Taken::Newest)
    }

    /// The addresses that an ingress of this host may lead requests to.
    pub fn reach(&self) -> Reach {
        Reach {
            host: Some(self.member.host.clone()),
            address: self.member.address.parse().ok(),
            networks: self.facts.borrow().policy.endpoint_networks.clone(),
        }
    }

    /// Trust documents after `version`, the oldest first, as far as this host has kept them, and the one in force.
    pub async fn trust_after(&self, version: u64, most: usize) -> Vec<Vec<u8>> {
        let trust = self.trust();
        let (newest, data) = (trust.version(), self.data.clone());
        let mut found = on_disk(move || {
            let between = version.saturating_add(1)..newest;
            let limit = 2 * PayloadType::Trust.max_len() as u64;
            // Without the first of them the others lead nowhere.
            let kept = between.map_while(|version| read_bounded(&data.trust_version(version), limit).ok());
            if version == 0 { Vec::new() } else { kept.take(most).collect::<Vec<_>>() }
        })
        .await;
        if version < newest && found.len() < most {
            found.push(trust.envelope().to_vec());
        }
        found
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
