//! The changes that `host recover` would store, and their view. Pure: computed twice, once to show
//! it and once to do it.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::plan::HostPlan;
use windlass_core::recovery::{self, Merged, Others, Shown, Stored, differences};
use windlass_core::service::Releases;
use windlass_core::view::{RecoveringHost, RecoveringService, RecoveringState, RecoveryView};
use windlass_core::{Counter, Digest, HostId, ServiceId, Timestamp};

use super::memory::{Held, Memory};
use crate::ledger::{Change, State};
use crate::plans::{self, Overlay};
use crate::store::record::{HostRecord, ReleaseRecord};

/// The proposed changes.
pub(super) struct Proposal {
    /// The changes for people.
    pub(super) view: RecoveryView,
    /// The changes to store, in an order in which a part of them does no harm: the plan of a host last, so that it is held
    /// again until everything before that is there.
    pub(super) changes: Vec<Change>,
    /// Hosts whose recovery ends with it.
    pub(super) settled: BTreeSet<HostId>,
}

/// The hosts to recover, and those whose plan does not count.
#[derive(Debug, Clone, Default)]
pub(super) struct Choice {
    /// Only these hosts; all if absent.
    pub(super) only: Option<BTreeSet<HostId>>,
    /// Hosts whose plan does not count.
    pub(super) keep_store: BTreeSet<HostId>,
}

struct Builder<'a> {
    state: &'a State,
    memory: &'a Memory,
    choice: &'a Choice,
    now: Timestamp,
    releases: Releases,
    /// Hosts that are ahead, and asked about.
    held: BTreeMap<&'a HostId, &'a Held>,
    obstacles: BTreeMap<HostId, Vec<String>>,
}

/// The proposal for `memory` on top of `state`.
pub(super) fn propose(state: &State, memory: &Memory, choice: &Choice, now: Timestamp) -> Proposal {
    let asked = |host: &HostId| choice.only.as_ref().is_none_or(|only| only.contains(host));
    let member = |host: &HostId| state.hosts.get(host).is_some_and(HostRecord::is_member);
    let held = memory
        .hosts
        .iter()
        .filter(|(host, held)| held.ahead && member(host) && state.awaits(host) && asked(host));
    let mut releases = state.releases.clone();
    releases.extend(memory.releases.iter().map(|(digest, kept)| (*digest, kept.release.clone())));
    let held = held.collect();
    let mut builder = Builder { state, memory, choice, now, releases, held, obstacles: BTreeMap::new() };
    builder.find_obstacles();
    builder.build()
}

impl<'a> Builder<'a> {
    fn stored(&self) -> Stored<'a> {
        let State { services, slots, rollouts, .. } = self.state;
        Stored { services, slots, rollouts }
    }

    fn find_obstacles(&mut self) {
        let plans = self.held.iter().filter(|(host, _)| !self.choice.keep_store.contains(**host));
        let plans: BTreeMap<HostId, &HostPlan> =
            plans.map(|(host, held)| ((*host).clone(), &*held.plan)).collect();
        for (host, found) in recovery::obstacles(self.stored(), &plans, &self.releases) {
            let mut words: Vec<String> = found.iter().map(ToString::to_string).collect();
            words.extend(self.held[&host].complaints.iter().cloned());
            self.obstacles.insert(host, words);
        }
    }

    fn keeps_host(&self, host: &HostId) -> bool {
        !self.choice.keep_store.contains(host) && !self.obstacles.contains_key(host)
    }

    /// Members that have not reported, and may hold anything.
    fn unheard(&self) -> Vec<&'a HostRecord> {
        let awaits = |record: &&HostRecord| {
            record.is_member()
                && record.compared < self.state.segment()
                && !self.memory.hosts.get(&record.name).is_some_and(|held| held.ahead)
        };
        self.state.hosts.values().filter(awaits).collect()
    }

    fn shown(&'a self) -> Shown<'a> {
        let words = self.held.iter().filter(|(host, _)| self.keeps_host(host));
        let mut plans: BTreeMap<HostId, &HostPlan> =
            words.map(|(host, held)| ((*host).clone(), &*held.plan)).collect();
        let gone_on = !self.state.is_recovering() || self.choice.only.is_some();
        if !gone_on {
            let same = self.memory.hosts.iter().filter(|(_, held)| !held.ahead);
            plans.extend(same.map(|(host, held)| (host.clone(), &*held.plan)));
        }
        let others = match (gone_on, self.unheard().is_empty() && self.obstacles.is_empty()) {
            (true, _) => Others::GoneOn,
            (false, true) => Others::None,
            (false, false) => Others::Unheard,
        };
        let mut counters: BTreeMap<ServiceId, u64> = BTreeMap::new();
        for kept in self.memory.releases.values() {
            let highest = counters.entry(kept.release.service_id()).or_default();
            *highest = kept.release.counter.0.max(*highest);
        }
        let since = self.state.plans.iter().filter(|(host, _)| !self.state.awaits(host));
        let since = since.map(|(host, plan)| (host.clone(), plan.issued_at)).collect();
        Shown { plans, releases: &self.releases, counters, others, since }
    }

    fn build(&self) -> Proposal {
        let id = crate::releases::next_ids(self.state, self.now);
        let merged = recovery::merge(self.stored(), &self.shown(), id, self.now);
        let settled: BTreeSet<HostId> = self
            .held
            .keys()
            .filter(|host| !self.obstacles.contains_key(**host))
            .map(|h| (*h).clone())
            .collect();
        let view = self.view(&merged);
        let mut changes: Vec<Change> = self.new_releases();
        changes.extend(merged.services.values().map(|service| Change::Service(Box::new(service.clone()))));
        changes.extend(merged.rollouts.iter().map(|rollout| Change::Rollout(Box::new(rollout.clone()))));
        changes.extend(merged.slots.iter().map(|(slot, assignment)| match assignment {
            Some(assignment) => Change::Slot(slot.clone(), Box::new(assignment.clone())),
            None => Change::SlotGone(slot.clone()),
        }));
        changes.extend(self.plans(&merged, &settled));
        Proposal { view, changes, settled }
    }

    fn new_releases(&self) -> Vec<Change> {
        let new = self.memory.releases.iter().filter(|(digest, _)| !self.state.entries.contains_key(digest));
        new.map(|(digest, kept)| {
            Change::Release(Box::new(ReleaseRecord {
                digest: *digest,
                service: kept.release.service_id(),
                envelope: kept.envelope.clone(),
                submitted_at: self.now,
                submitted_by: format!("agent/{}", kept.shown_by),
            }))
        })
        .collect()
    }

    /// The records of plans, and of hosts whose recovery ends.
    fn plans(&self, merged: &Merged, settled: &BTreeSet<HostId>) -> Vec<Change> {
        let mut overlays: BTreeMap<HostId, Overlay> =
            settled.iter().map(|host| (host.clone(), Overlay::default())).collect();
        for (slot, assignment) in &merged.slots {
            let old = self.state.slots.get(&slot.service).and_then(|slots| slots.get(slot));
            let hosts = [old.map(|old| old.host()), assignment.as_ref().map(|new| new.host())];
            for host in hosts.into_iter().flatten().collect::<BTreeSet<_>>() {
                overlays.entry(host.clone()).or_default().set(slot.clone(), assignment.clone());
            }
        }
        let mut changes = Vec::new();
        for (host, overlay) in overlays {
            let slots = plans::slots_of(self.state, &host, &overlay);
            let record = match self.held.get(&host).filter(|_| settled.contains(&host)) {
                Some(held) if self.keeps_host(&host) => {
                    plans::resumed(self.state, &held.plan, held.digest, slots, self.now)
                }
                Some(held) => plans::overruled(self.state, &host, held.plan.seq, &slots, self.now),
                // It may hold a newer plan than is known: its next one is numbered when it comes.
                None if self.state.awaits(&host) => continue,
                None => plans::overruled(self.state, &host, 0, &slots, self.now),
            };
            changes.push(Change::Plan(host, record));
        }
        let segment = self.state.segment();
        for record in settled.iter().filter_map(|host| self.state.hosts.get(host)) {
            changes.push(Change::Host(Box::new(HostRecord { compared: segment, ..record.clone() })));
        }
        changes
    }

    fn view(&self, merged: &Merged) -> RecoveryView {
        let held = self.held.iter().map(|(host, held)| self.host(host, held));
        let unheard = self.unheard();
        let unheard = unheard.iter().filter(|_| self.choice.only.is_none()).map(|record| self.silent(record));
        let mut hosts: Vec<RecoveringHost> = held.chain(unheard).collect();
        hosts.sort_by(|one, other| one.host.cmp(&other.host));
        let recovery = self.state.recovery.as_ref();
        let mut view = RecoveryView {
            open: self.state.is_recovering(),
            cause: recovery.map(|recovery| recovery.cause.clone()),
            since: recovery.map(|recovery| recovery.begun_at),
            lost_audit_entries: self.lost(),
            hosts,
            services: merged.services.iter().map(|(id, service)| self.service(id, service)).collect(),
            digest: Digest::of(b""),
        };
        // An open question does not change the proposal; the proposal itself is in here.
        view.digest =
            Digest::of(&serde_json::to_vec(&view).expect("a view has only string keys, so it is JSON"));
        view
    }

    /// Entries that some host has seen a checkpoint of and this log does not have. The segment that is written now
    /// says nothing of that.
    fn lost(&self) -> u64 {
        let segment = self.state.segment();
        let seen = self.memory.witnessed.iter().filter(|(of, _)| **of < segment).map(|(_, size)| *size).max();
        let start = self.state.recovery.as_ref().map_or(u64::MAX, |recovery| recovery.start);
        seen.unwrap_or(0).saturating_sub(start)
    }

    fn host(&self, host: &HostId, held: &Held) -> RecoveringHost {
        let state = match () {
            () if self.choice.keep_store.contains(host) => RecoveringState::KeepStore,
            () if !held.is_complete() => RecoveringState::Asked,
            () if self.obstacles.contains_key(host) => RecoveringState::Stuck,
            () => RecoveringState::KeepHost,
        };
        RecoveringHost {
            host: host.clone(),
            state,
            seq: held.plan.seq,
            known_seq: self.state.plans.get(host).map_or(0, |plan| plan.seq),
            issued_at: Some(held.plan.issued_at),
            receipt: held.receipt,
            differences: differences(self.state.slots_on(host), &self.releases, &held.plan),
            obstacles: self.obstacles.get(host).cloned().unwrap_or_default(),
        }
    }

    fn silent(&self, record: &HostRecord) -> RecoveringHost {
        let known_seq = self.state.plans.get(&record.name).map_or(0, |plan| plan.seq);
        RecoveringHost {
            host: record.name.clone(),
            state: RecoveringState::Unheard,
            seq: 0,
            known_seq,
            issued_at: None,
            receipt: None,
            differences: Vec::new(),
            obstacles: Vec::new(),
        }
    }

    fn service(&self, id: &ServiceId, service: &windlass_core::service::Service) -> RecoveringService {
        let before = self.state.services.get(id).and_then(|before| before.current);
        RecoveringService {
            environment: id.environment.clone(),
            service: id.name.clone(),
            before: before.map(|before| before.counter),
            after: service.current.map(|current| current.counter),
            good: service.last_good().map(|good| good.counter),
            paused: service.rollout.is_some(),
            next: Counter(service.last_counter + 1),
        }
    }
}
