//! The answers of the coordinator that are no views.

use windlass_core::view::VolumeView;
use windlass_core::{Counter, FleetId, RolloutId};

/// The facts that make the next release of a service.
pub(crate) struct ServiceInfo {
    /// The fleet that the coordinator serves.
    pub(crate) fleet: FleetId,
    /// The last counter that was used.
    pub(crate) last_counter: u64,
}

/// The result of submitting or rolling back.
#[derive(Debug, Clone)]
pub(crate) struct Submitted {
    /// The rollout; none if there was nothing to do.
    pub(crate) rollout: Option<RolloutId>,
    /// The release that the service has or moves to.
    pub(crate) release: Counter,
    /// Warnings about the release.
    pub(crate) warnings: Vec<String>,
}

/// The result of a command to a service.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// It was so already.
    pub(crate) unchanged: bool,
    /// The rollout of a restart.
    pub(crate) rollout: Option<RolloutId>,
    /// The release that the service is at, or was at.
    pub(crate) release: Option<Counter>,
    /// Named volumes that stay.
    pub(crate) volumes: Vec<VolumeView>,
}
