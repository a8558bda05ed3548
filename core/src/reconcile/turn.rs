//! One call of a decision: what went in, and what has been decided so far.

use std::collections::{BTreeMap, BTreeSet};

use super::container::{Container, PlanNumber};
use super::input::{Desired, Observed};
use super::judge;
use super::memory::{self, Memory};
use super::questions::{Ask, WantedChecks};
use super::room;
use super::step::{Decision, Step};
use super::tasks::claims;
use crate::capacity::Need;
use crate::condition::{self, Condition};
use crate::digest::Digest;
use crate::id::{EnvironmentId, ServiceName, SlotId};
use crate::observation::{SlotObservation, TaskObservation};
use crate::plan::PlanSlot;
use crate::release::{Image, Spec};
use crate::time::Timestamp;
use crate::units::Span;

/// One call of [`super::plan`], while it goes from slot to slot.
pub(super) struct Turn<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) memory: Memory,
    pub(super) now: Timestamp,
    pub(super) by_slot: BTreeMap<&'a SlotId, Vec<&'a Container>>,
    /// The slots of the plan in force.
    pub(super) wanted: BTreeMap<&'a SlotId, &'a PlanSlot>,
    /// The need of each slot, launches of this turn included.
    pub(super) claims: BTreeMap<SlotId, Need>,
    /// The need of hooks, those begun in this turn included.
    pub(super) task_claims: Vec<Need>,
    pub(super) pulls: BTreeMap<Digest, Image>,
    pub(super) steps: Vec<Step>,
    pub(super) conditions: Vec<Condition>,
    /// Requests to be sent to instances now.
    pub(super) asks: Vec<Ask>,
    /// Checks that starts wait for, or have waited for, by release.
    pub(super) checks: BTreeMap<Digest, WantedChecks>,
    /// Slots that wait for them.
    pub(super) checking: BTreeSet<SlotId>,
    /// Services that something of an environment calls by name.
    pub(super) called: BTreeMap<EnvironmentId, BTreeSet<ServiceName>>,
    /// Inner networks of the engine that nothing is in.
    pub(super) unused_networks: Vec<EnvironmentId>,
    pub(super) behind: Option<PlanNumber>,
    pub(super) wake_at: Option<Timestamp>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(desired: &'a Desired, observed: &'a Observed, memory: Memory, now: Timestamp) -> Self {
        let mut by_slot: BTreeMap<&SlotId, Vec<&Container>> = BTreeMap::new();
        for container in &observed.containers {
            by_slot.entry(&container.slot).or_default().push(container);
        }
        for containers in by_slot.values_mut() {
            containers
                .sort_by_key(|seen| std::cmp::Reverse((seen.created_at, memory::serial(&seen.instance))));
        }
        let claims = by_slot
            .iter()
            .map(|(slot, containers)| {
                let kept = memory.slots.get(*slot).and_then(|known| known.kept.as_ref());
                ((*slot).clone(), room::of_slot(containers, kept))
            })
            .collect();
        let wanted =
            desired.plan.iter().flat_map(|plan| &plan.slots).map(|want| (&want.slot, want)).collect();
        let task_claims = claims::of_tasks(&memory);
        Self {
            desired,
            observed,
            task_claims,
            memory,
            now,
            by_slot,
            wanted,
            claims,
            pulls: BTreeMap::new(),
            steps: Vec::new(),
            conditions: Vec::new(),
            asks: Vec::new(),
            checks: BTreeMap::new(),
            checking: BTreeSet::new(),
            called: BTreeMap::new(),
            unused_networks: Vec::new(),
            behind: None,
            wake_at: None,
        }
    }

    /// The number of the plan in force; zero without one.
    pub(super) fn plan_number(&self) -> PlanNumber {
        self.desired.plan.as_ref().map_or(PlanNumber { epoch: 0, seq: 0 }, |plan| PlanNumber::of(plan))
    }

    /// The clocks by which an instance is judged.
    pub(super) const fn times(&self) -> judge::Times {
        let observed = self.observed;
        judge::Times {
            now: self.now,
            interrupted_before: observed.interrupted_before,
            watching_since: observed.watching_since,
            asked_since: observed.watching_since,
            clock_set_at: observed.clock_set_at,
            owes: judge::Owes::Nothing,
        }
    }

    /// The specification of a release, if that is here.
    pub(super) fn spec(&self, release: &Digest) -> Option<&'a Spec> {
        self.desired.releases.get(release).map(|release| &release.release.spec)
    }

    /// Whether the coordinator was not heard of for `limit`, if there is one.
    pub(super) fn is_alone_for(&self, limit: Option<Span>) -> bool {
        let silent = self.observed.coordinator_last_seen.map(|seen| self.now.since(seen));
        limit.zip(silent).is_some_and(|(limit, silent)| silent >= limit.duration())
    }

    /// The containers of a slot, the newest first.
    pub(super) fn containers(&self, slot: &SlotId) -> Vec<&'a Container> {
        self.by_slot.get(slot).cloned().unwrap_or_default()
    }

    /// Asks to be called again at `at`, if nothing happens before.
    pub(super) fn wake(&mut self, at: Timestamp) {
        // A deadline that has passed was dealt with; asking for it again would spin.
        let at = at.max(self.now + std::time::Duration::from_millis(1));
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn finish(self, slots: Vec<SlotObservation>, tasks: Vec<TaskObservation>) -> Decision {
        let pulls = self.pulls.into_values().map(|image| Step::Pull { image });
        let steps = pulls.chain(self.steps).collect();
        let conditions = condition::bounded(self.conditions);
        let (memory, wake_at, behind) = (self.memory, self.wake_at, self.behind);
        let (asks, checks) = (self.asks, self.checks.into_values().collect());
        // Without a plan in force nothing changes, for the ingress neither.
        let in_force = self.desired.plan.is_some() && behind.is_none();
        let networks = in_force.then(|| memory::told(&memory.networks, &self.called));
        let unused_networks = self.unused_networks;
        Decision {
            steps,
            memory,
            wake_at,
            slots,
            tasks,
            conditions,
            asks,
            checks,
            networks,
            unused_networks,
            behind,
        }
    }
}
