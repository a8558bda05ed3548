//! Traffic tables: verified, written down, then shown to the ingress; and the trust documents that an ingress verifies
//! them by.

use std::sync::Arc;

use tokio::sync::watch;
use windlass_certs::dsse::PayloadType;
use windlass_core::EnvironmentId;
use windlass_core::observation::Refusal;
use windlass_core::traffic::Reach;
use windlass_core::verify::{AcceptedRoutes, PlanOrder};
use windlass_proto::limits::MAX_ROUTES_POSITIONS;

use super::DocumentStore;
use crate::data::{aside, on_disk, read_bounded};
use crate::traffic::tables::{Table, TableStoreError, Tables};
use crate::verify;

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
