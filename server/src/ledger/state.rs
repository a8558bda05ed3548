//! Everything that is stored, in memory. Only the writer changes it, and only after the store has it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use windlass_certs::trust::TrustStore;
use windlass_core::audit::Head;
use windlass_core::capacity::Taken;
use windlass_core::observation::Observation;
use windlass_core::release::Release;
use windlass_core::rollout::Rollout;
use windlass_core::service::{Releases, Service, Slots};
use windlass_core::slot::Slot;
use windlass_core::{Digest, EnvironmentId, FleetId, HostId, OperatorName, RolloutId, ServiceId, SlotId};

use super::Change;
use super::release::ReleaseEntry;
use crate::store::record::{
    ClosedRecord, EventRecord, HostRecord, OperatorRecord, OperatorTokenRecord, PlanRecord, RecoveryRecord,
    RoutesRecord, TokenRecord,
};

/// Events that are remembered.
pub(super) const EVENTS_KEPT: u64 = 2000;

/// The coordinator's certain knowledge.
#[derive(Debug)]
pub(crate) struct State {
    /// The fleet.
    pub fleet: FleetId,
    /// The trust document in force.
    pub trust: TrustStore,
    /// Every version of it from 1 on, as envelopes.
    pub trust_chain: Vec<Vec<u8>>,
    /// The end of the audit log.
    pub head: Head,
    /// The newest checkpoint: how many entries, and its envelope.
    pub checkpoint: Option<(u64, Vec<u8>)>,
    /// Hosts, those that were evicted or banned too.
    pub hosts: BTreeMap<HostId, HostRecord>,
    /// Tokens that were not used yet.
    pub tokens: BTreeMap<Digest, TokenRecord>,
    /// Operators, those that were revoked too.
    pub operators: BTreeMap<OperatorName, OperatorRecord>,
    /// Tokens for operators that were not used yet.
    pub operator_tokens: BTreeMap<Digest, OperatorTokenRecord>,
    /// Releases as they were signed.
    pub entries: BTreeMap<Digest, ReleaseEntry>,
    /// Releases, decoded.
    pub releases: Releases,
    /// Services.
    pub services: BTreeMap<ServiceId, Service>,
    /// Slots by service.
    pub slots: BTreeMap<ServiceId, Slots>,
    /// Slots by host.
    pub by_host: BTreeMap<HostId, BTreeSet<SlotId>>,
    /// The resources that all slots on a host take of it; a host without slots is not in here.
    pub taken: BTreeMap<HostId, Taken>,
    /// Rollouts, the finished ones too.
    pub rollouts: BTreeMap<RolloutId, Rollout>,
    /// The newest plan of each host.
    pub plans: BTreeMap<HostId, PlanRecord>,
    /// The newest traffic table of each environment.
    pub routes: BTreeMap<EnvironmentId, RoutesRecord>,
    /// The restore of a store that nobody had signed, if there was one.
    pub closed: Option<ClosedRecord>,
    /// The record of a recovery, if the store was set back once.
    pub recovery: Option<RecoveryRecord>,
    /// The last report of each host, as it is stored; the present one is the registry's.
    pub observations: BTreeMap<HostId, Arc<Observation>>,
    /// The newest events, the oldest first.
    pub events: VecDeque<EventRecord>,
    /// The number of the next event.
    pub next_event: u64,
}

impl State {
    /// A fleet that has nothing yet but its trust document.
    pub(crate) fn new(trust: TrustStore) -> Self {
        Self {
            fleet: trust.document().fleet.clone(),
            trust_chain: vec![trust.envelope().to_vec()],
            trust,
            head: Head::default(),
            checkpoint: None,
            hosts: BTreeMap::new(),
            tokens: BTreeMap::new(),
            operators: BTreeMap::new(),
            operator_tokens: BTreeMap::new(),
            entries: BTreeMap::new(),
            releases: Releases::new(),
            services: BTreeMap::new(),
            slots: BTreeMap::new(),
            by_host: BTreeMap::new(),
            taken: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            plans: BTreeMap::new(),
            routes: BTreeMap::new(),
            closed: None,
            recovery: None,
            observations: BTreeMap::new(),
            events: VecDeque::new(),
            next_event: 0,
        }
    }

    /// The rollout that moves `service` now.
    pub(crate) fn active_rollout(&self, service: &ServiceId) -> Option<&Rollout> {
        self.rollouts.get(self.services.get(service)?.rollout.as_ref()?)
    }

    /// The newest rollout of `service` that is remembered. Version 7: the order of ids is that of time.
    pub(crate) fn newest_rollout(&self, service: &ServiceId) -> Option<&Rollout> {
        self.rollouts.values().rev().find(|rollout| &rollout.service == service)
    }

    /// The segment of the audit log that is written now.
    pub(crate) fn segment(&self) -> u64 {
        self.recovery.as_ref().map_or(0, |recovery| recovery.segment)
    }

    /// Returns whether decisions wait, because the store is older than its fleet and recovery is pending.
    pub(crate) fn is_recovering(&self) -> bool {
        self.recovery.as_ref().is_some_and(RecoveryRecord::is_open)
    }

    /// Whether the plan that `host` holds is still to be found out, or to be decided. It gets no plan until then.
    pub(crate) fn awaits(&self, host: &HostId) -> bool {
        self.hosts.get(host).is_some_and(|record| self.awaits_that(record))
    }

    /// The same for the record of a host.
    pub(crate) fn awaits_that(&self, record: &HostRecord) -> bool {
        record.compared < self.segment()
    }

    /// The slots on `host`, in order.
    pub(crate) fn slots_on<'a>(&'a self, host: &HostId) -> impl Iterator<Item = (&'a SlotId, &'a Slot)> {
        let slots = self.by_host.get(host).into_iter().flatten();
        slots.filter_map(|slot| self.slots.get(&slot.service)?.get_key_value(slot))
    }

    /// Applies what was stored.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Host(host) => drop(self.hosts.insert(host.name.clone(), *host)),
            Change::Token(token) => drop(self.tokens.insert(token.hash, token)),
            Change::TokenGone(hash) => drop(self.tokens.remove(&hash)),
            Change::Operator(operator) => drop(self.operators.insert(operator.name.clone(), *operator)),
            Change::OperatorToken(token) => drop(self.operator_tokens.insert(token.hash, *token)),
            Change::OperatorTokenGone(hash) => drop(self.operator_tokens.remove(&hash)),
            Change::Trust(_, envelope) => self.advance_trust(envelope),
            Change::Release(record) => {
                if let Some((entry, release)) = ReleaseEntry::open(*record) {
                    self.add_release(entry, release);
                }
            }
            Change::ReleaseGone(digest) => {
                self.entries.remove(&digest);
                self.releases.remove(&digest);
            }
            Change::Service(service) => drop(self.services.insert(service.id.clone(), *service)),
            Change::Slot(slot, assignment) => self.put_slot(slot, *assignment),
            Change::SlotGone(slot) => self.remove_slot(&slot),
            Change::Rollout(rollout) => drop(self.rollouts.insert(rollout.id.clone(), *rollout)),
            Change::RolloutGone(id) => drop(self.rollouts.remove(&id)),
            Change::Plan(host, plan) => drop(self.plans.insert(host, plan)),
            Change::Routes(environment, routes) => drop(self.routes.insert(environment, *routes)),
            Change::Recovery(recovery) => self.recovery = Some(recovery),
            Change::Observation(host, seen) => drop(self.observations.insert(host, seen)),
            // Not kept in memory.
            Change::Audit(..) | Change::EventGone(_) | Change::Decision(..) | Change::DecisionGone(..) => {}
            Change::Checkpoint(size, envelope) => self.checkpoint = Some((size, envelope)),
            Change::Event(event) => self.push_event(event),
        }
    }

    pub(super) fn add_release(&mut self, entry: ReleaseEntry, release: Release) {
        let digest = entry.name.digest;
        self.releases.insert(digest, release);
        // The need of its slots was not known before, if there are any already.
        let slots = self.slots.get(&entry.service).into_iter().flat_map(BTreeMap::values);
        let hosts: BTreeSet<HostId> = slots.filter(|a| a.names(&digest)).map(|a| a.host().clone()).collect();
        hosts.iter().for_each(|host| self.take(host));
        self.entries.insert(digest, entry);
    }

    pub(crate) fn put_slot(&mut self, slot: SlotId, assignment: Slot) {
        self.remove_slot(&slot);
        let host = assignment.host().clone();
        self.by_host.entry(host.clone()).or_default().insert(slot.clone());
        self.slots.entry(slot.service.clone()).or_default().insert(slot, assignment);
        self.take(&host);
    }

    /// The resources that slots of services other than `service` take of `host`.
    pub(crate) fn taken_beside(&self, host: &HostId, service: Option<&ServiceId>) -> Taken {
        let on_host = self.by_host.get(host);
        let shares = |service: &ServiceId| on_host.into_iter().flatten().any(|slot| &slot.service == service);
        match service {
            Some(service) if shares(service) => self.sum(on_host, |slot| &slot.service != service),
            Some(_) | None => self.taken.get(host).cloned().unwrap_or_default(),
        }
    }

    /// Ports and devices cannot be taken from a sum, so it is made again: a host has tens of slots.
    fn take(&mut self, host: &HostId) {
        match self.by_host.get(host) {
            Some(slots) => drop(self.taken.insert(host.clone(), self.sum(Some(slots), |_| true))),
            None => drop(self.taken.remove(host)),
        }
    }

    /// The resources that those of a host's slots take which count.
    fn sum(&self, on_host: Option<&BTreeSet<SlotId>>, counts: impl Fn(&SlotId) -> bool) -> Taken {
        let mut taken = Taken::default();
        for slot in on_host.into_iter().flatten().filter(|slot| counts(slot)) {
            if let Some(slot) = self.slots.get(&slot.service).and_then(|slots| slots.get(slot)) {
                taken.add(slot, &self.releases);
            }
        }
        taken
    }

    pub(super) fn push_event(&mut self, event: EventRecord) {
        self.next_event = self.next_event.max(event.n + 1);
        self.events.push_back(event);
        while self.events.len() as u64 > EVENTS_KEPT {
            self.events.pop_front();
        }
    }

    fn remove_slot(&mut self, slot: &SlotId) {
        let Some(slots) = self.slots.get_mut(&slot.service) else { return };
        let Some(old) = slots.remove(slot) else { return };
        if slots.is_empty() {
            self.slots.remove(&slot.service);
        }
        if let Some(on_host) = self.by_host.get_mut(old.host()) {
            on_host.remove(slot);
            if on_host.is_empty() {
                self.by_host.remove(old.host());
            }
        }
        self.take(old.host());
    }

    fn advance_trust(&mut self, envelope: Vec<u8>) {
        // It was checked against this very state before it was stored.
        match self.trust.advance(&envelope) {
            Ok(_) => self.trust_chain.push(envelope),
            Err(error) => tracing::error!(%error, "a trust document that was stored does not apply"),
        }
    }
}
