//! How the host does: processors, memory, disk, network, GPUs, and each container of ours.
//!
//! Read from `/proc` and the control groups (v1 and v2), never from the engine's statistics, which take a
//! second per container.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_core::host::HostStats;
use windlass_core::observation::Observation;

/// How often the host is measured.
pub const EVERY: Duration = Duration::from_secs(5);

/// What connects the collector with the other tasks of the agent.
#[derive(Debug)]
pub struct Wires {
    /// What the reconciler saw: whose containers are measured.
    pub observation: watch::Receiver<Arc<Observation>>,
    /// Where measurements are published.
    pub stats: watch::Sender<Arc<HostStats>>,
    /// Asks the task to end.
    pub cancel: CancellationToken,
}
