//! What a coordinator knows, for whoever checks it.

use std::collections::BTreeMap;

use windlass_core::fleet::Scheduling;
use windlass_core::host::Liveness;
use windlass_core::rollout::{Advance, Rollout};
use windlass_core::service::{Releases, Service, Slots};
use windlass_core::{HostId, RolloutId, ServiceId, Timestamp};

use crate::engine;
use crate::ledger::State;
use crate::registry::Registry;

/// What is stored, and what is known of hosts.
#[derive(Clone, Copy)]
pub struct View<'a> {
    state: &'a State,
    registry: &'a Registry,
}

impl<'a> View<'a> {
    pub(super) const fn new(state: &'a State, registry: &'a Registry) -> Self {
        Self { state, registry }
    }

    /// Services.
    pub const fn services(&self) -> &'a BTreeMap<ServiceId, Service> {
        &self.state.services
    }

    /// Slots, by service.
    pub const fn slots(&self) -> &'a BTreeMap<ServiceId, Slots> {
        &self.state.slots
    }

    /// Rollouts that are remembered.
    pub const fn rollouts(&self) -> &'a BTreeMap<RolloutId, Rollout> {
        &self.state.rollouts
    }

    /// Releases that are remembered.
    pub const fn releases(&self) -> &'a Releases {
        &self.state.releases
    }

    /// The rollout that moves a service.
    pub fn active(&self, service: &ServiceId) -> Option<&'a Rollout> {
        self.state.active_rollout(service)
    }

    /// The number of the newest plan made for a host.
    pub fn issued(&self, host: &HostId) -> u64 {
        self.state.plans.get(host).map_or(0, |plan| plan.seq)
    }

    /// Is the host a member, and may it get slots? `None` if it is not in the fleet.
    pub fn scheduling(&self, host: &HostId) -> Option<Scheduling> {
        self.state.hosts.get(host).filter(|record| record.is_member()).map(|record| record.scheduling)
    }

    /// Is the host there?
    pub fn liveness(&self, host: &HostId, now: Timestamp) -> Liveness {
        self.registry.liveness(host, now)
    }

    /// Does the host hold a plan that is not known here?
    pub fn is_recovering(&self, host: &HostId) -> bool {
        self.state.awaits(host)
    }

    /// Is nothing decided, because the store is older than its fleet?
    pub fn is_set_back(&self) -> bool {
        self.state.is_recovering()
    }

    /// What the engine would do with a service now.
    pub fn advance(&self, service: &ServiceId, now: Timestamp) -> Option<Advance> {
        engine::advance(self.state, self.registry, service, now)
    }

    /// Would a look at the service change nothing?
    pub fn is_idle(&self, service: &ServiceId, now: Timestamp) -> bool {
        self.advance(service, now).is_none_or(|advance| engine::is_idle(self.state, service, &advance))
    }
}
