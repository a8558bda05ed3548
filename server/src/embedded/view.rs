//! A coordinator's knowledge, for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_core::fleet::{Member, Scheduling};
use windlass_core::host::Liveness;
use windlass_core::observation::{EngineState, InstanceState, SlotStatus};
use windlass_core::plan::PlanSlot;
use windlass_core::rollout::{Advance, Rollout};
use windlass_core::service::{Releases, Service, Slots};
use windlass_core::traffic::{Table, Traffic};
use windlass_core::{Digest, HostId, RolloutId, ServiceId, Timestamp};

use crate::engine;
use crate::ledger::State;
use crate::registry::Registry;
use crate::routes;

/// The stored state, and the known hosts.
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

    /// Traffic tables, and the ingresses that count.
    pub fn traffic(&self) -> Traffic {
        routes::traffic(self.state, self.registry)
    }

    /// The newest traffic table of each environment.
    pub fn tables(&self) -> impl Iterator<Item = &'a Arc<Table>> {
        self.state.routes.values().filter_map(|record| record.table.as_ref())
    }

    /// Whether the ingress of a host counts.
    pub fn counts_ingress(&self, host: &HostId) -> bool {
        let record = self.state.hosts.get(host).filter(|record| record.is_member());
        record.is_some_and(|record| record.ingress_since.is_some())
    }

    /// The rollout that moves a service.
    pub fn active(&self, service: &ServiceId) -> Option<&'a Rollout> {
        self.state.active_rollout(service)
    }

    /// The slots that the newest report of a host is about, as decisions take it: the number of the plan that it was made
    /// under, and what the newest plan says of them.
    pub fn confirmed(&self, now: Timestamp) -> Vec<(HostId, u64, Vec<PlanSlot>)> {
        let of = |(host, member): (HostId, Member)| {
            let seq = member.observation.as_ref()?.seq;
            let parts = self.state.slots_on(&host).filter(|(slot, _)| member.part_since(slot) <= seq);
            let parts = parts.map(|(_, assignment)| assignment.plan()).collect();
            let counts = member.liveness == Liveness::Connected && !member.recovering;
            Some((host, seq, parts)).filter(|_| counts)
        };
        self.registry.fleet(self.state, None, now).members.into_iter().filter_map(of).collect()
    }

    /// Whether every slot of `release` was available when its host was last heard of, and none of these hosts is lost.
    pub fn was_available(&self, service: &ServiceId, release: &Digest, now: Timestamp) -> bool {
        let fleet = self.registry.fleet(self.state, Some(service), now);
        let mut slots = self
            .state
            .slots
            .get(service)
            .into_iter()
            .flatten()
            .filter(|(_, assignment)| &assignment.release() == release && !assignment.is_leaving());
        slots.all(|(slot, assignment)| {
            let member = fleet.members.get(assignment.host());
            let member = member.filter(|m| matches!(m.liveness, Liveness::Connected | Liveness::Suspect));
            let report = member.and_then(|m| Some((m.part_since(slot), m.last_report.as_ref()?)));
            let report = report.filter(|(since, report)| report.seq >= *since && report.unwritable.is_none());
            let report = report.filter(|(_, report)| report.engine == EngineState::Available);
            let seen = report.and_then(|(_, report)| report.slot(slot));
            let instance = seen.and_then(|seen| seen.current_of(release, assignment.target().generation));
            let failed =
                seen.is_some_and(|seen| !matches!(seen.status, SlotStatus::Settled | SlotStatus::Converging));
            !failed && instance.is_some_and(|i| i.available && i.state == InstanceState::Healthy)
        })
    }

    /// Since when deadlines count: a start of the coordinator, a clock that was set, a restore.
    pub fn counts_since(&self, now: Timestamp) -> Timestamp {
        self.registry.fleet(self.state, None, now).since
    }

    /// The number of the newest plan made for a host.
    pub fn issued(&self, host: &HostId) -> u64 {
        self.state.plans.get(host).map_or(0, |plan| plan.seq)
    }

    /// Whether the host, a member, may get slots. `None` if it is not in the fleet.
    pub fn scheduling(&self, host: &HostId) -> Option<Scheduling> {
        self.state.hosts.get(host).filter(|record| record.is_member()).map(|record| record.scheduling)
    }

    /// Whether the host is there.
    pub fn liveness(&self, host: &HostId, now: Timestamp) -> Liveness {
        self.registry.liveness(host, now)
    }

    /// Whether the host holds a plan that is not known here.
    pub fn is_recovering(&self, host: &HostId) -> bool {
        self.state.awaits(host)
    }

    /// Whether nothing is decided, because the store is older than its fleet.
    pub fn is_set_back(&self) -> bool {
        self.state.is_recovering()
    }

    /// The engine's next step for a service.
    pub fn advance(&self, service: &ServiceId, now: Timestamp) -> Option<Advance> {
        engine::advance(self.state, self.registry, service, now)
    }

    /// Whether a look at the service would change nothing.
    pub fn is_idle(&self, service: &ServiceId, now: Timestamp) -> bool {
        self.advance(service, now).is_none_or(|advance| engine::is_idle(self.state, service, &advance))
    }
}
