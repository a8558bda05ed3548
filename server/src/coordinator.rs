//! The parts of a running coordinator, as handlers see them.

use tokio_util::sync::CancellationToken;
use windlass_core::HostId;

use crate::authority::Authority;
use crate::enrolment::Enrolment;
use crate::ledger::{Draft, Ledger, Topic, WriteError};
use crate::metrics::Metrics;
use crate::plans::Plans;
use crate::registry::Registry;

/// Handles of every part.
pub(crate) struct Coordinator {
    /// What is stored.
    pub ledger: Ledger,
    /// Who is connected.
    pub registry: Registry,
    /// CA and keys.
    pub authority: Authority,
    /// Joining and renewing.
    pub enrolment: Enrolment,
    /// Signed host plans.
    pub plans: Plans,
    /// What Prometheus reads.
    pub metrics: Metrics,
    /// Tripped when the coordinator stops: every stream ends then, or its connection would never.
    pub stopping: CancellationToken,
}

impl Coordinator {
    /// Decides on the state and stores what was drafted.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut Draft<'_>) -> T + Send + 'static,
    ) -> Result<T, tonic::Status> {
        self.ledger.write(decide).await.map_err(crate::grpc::status::refused::<WriteError>)
    }

    /// Wakes whoever decides or shows something about `host`.
    pub(crate) fn host_changed(&self, host: &HostId) {
        self.ledger.signals().tell(vec![Topic::Observed(host.clone())]);
    }
}
