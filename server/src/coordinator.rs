//! The parts of a running coordinator, as handlers see them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use windlass_certs::revocation::Revocations;
use windlass_certs::trust::TrustStore;
use windlass_core::HostId;

use crate::authority::Authority;
use crate::boards::Boards;
use crate::clock::Clock;
use crate::config::LivenessRules;
use crate::enrolment::Enrolment;
use crate::gates::Networks;
use crate::history::History;
use crate::ledger::{Ledger, LoadError, State, Topic, WriteBatch, WriteError, Writer};
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::plans::Plans;
use crate::proven::Proven;
use crate::recovery::Recoveries;
use crate::registry::Registry;
use crate::revoked::Published;
use crate::routes::Tables;
use crate::session::Readers;
use crate::store::Store;

/// Handles of every part.
pub(crate) struct Coordinator {
    /// The stored state.
    pub ledger: Ledger,
    /// The connected hosts.
    pub registry: Registry,
    /// The plans and releases that hosts have shown since the store was found to be set back.
    pub recoveries: Recoveries,
    /// The checkpoints that hosts have shown and that were verified.
    pub proven: Proven,
    /// CA and keys.
    pub authority: Authority,
    /// Joining and renewing.
    pub enrolment: Enrolment,
    /// Signed host plans.
    pub plans: Plans,
    /// Signed traffic tables.
    pub tables: Tables,
    /// Figures of hosts and services.
    pub history: History,
    /// Metrics for Prometheus.
    pub metrics: Metrics,
    /// Allowances of peers.
    pub peers: Peers,
    /// The revocation list in force.
    pub revoked: Published,
    /// Rows of the fleet, for those who watch it.
    pub boards: Boards,
    /// Readers of logs by host.
    pub readers: Readers,
    /// Networks at which gates may ask, beside public addresses.
    pub gates: Networks,
    /// Tripped when the coordinator stops: every stream ends then, or its connection would never.
    pub stopping: CancellationToken,
}

/// The parts of a coordinator.
pub(crate) struct Parts {
    /// Version 1 of the trust document.
    pub trust: TrustStore,
    /// CA and keys.
    pub authority: Authority,
    /// Identities whose certificates are revoked or superseded.
    pub revocations: Revocations,
    /// When a host counts as gone.
    pub liveness: LivenessRules,
    /// Networks at which gates may ask, beside public addresses.
    pub gates: Networks,
    /// The clock.
    pub clock: Clock,
    /// Tripped when the coordinator stops.
    pub stopping: CancellationToken,
}

impl Coordinator {
    /// Reads everything from `store`. The writer is to be run.
    pub(crate) async fn open(store: Arc<dyn Store>, parts: Parts) -> Result<(Arc<Self>, Writer), LoadError> {
        let Parts { trust, authority, revocations, liveness, gates, clock, stopping } = parts;
        let registry = Registry::new(liveness, clock.clone());
        let (ledger, writer) = Ledger::open(store, State::new(trust), clock).await?;
        ledger.read(|state| {
            state.observations.iter().for_each(|(host, seen)| registry.remember(host, seen.clone()));
        });
        let metrics = Metrics::default();
        let peers = Peers::new(metrics.clone());
        let enrolment = Enrolment::new(ledger.clone(), authority.clone(), revocations, peers.clone());
        enrolment.enforce_all();
        let plans = Plans::new(ledger.clone(), authority.clone());
        let tables = Tables::new(authority.clone());
        let (revoked, recoveries) = (Published::default(), Recoveries::default());
        let readers = Readers::default();
        let coordinator = Self {
            ledger,
            registry,
            recoveries,
            proven: Proven::default(),
            authority,
            enrolment,
            plans,
            tables,
            history: History::default(),
            metrics,
            peers,
            revoked,
            boards: Boards::default(),
            readers,
            gates,
            stopping,
        };
        Ok((Arc::new(coordinator), writer))
    }

    /// Decides on the state and stores what was drafted.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut WriteBatch<'_>) -> T + Send + 'static,
    ) -> Result<T, WriteError> {
        self.ledger.write(decide).await
    }

    /// Wakes whoever decides or shows something about `host`.
    pub(crate) fn host_changed(&self, host: &HostId) {
        self.ledger.signals().wake(vec![Topic::Observed(host.clone())]);
    }
}
