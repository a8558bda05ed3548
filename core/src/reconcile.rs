//! What an agent does next: desired state, what was seen, what is remembered, and the time go in; steps,
//! the new memory and what to report come out.
//!
//! [`plan`] is pure, total and level-triggered. It never looks at what it answered before: it is asked
//! again after every change, and answers nothing when the host is as it should be. Whoever executes
//! writes [`Decision::memory`] to disk *before* it performs [`Decision::steps`], performs at most one step
//! per slot at a time, reports those under way in [`Observed::busy`], and hands the results of those that
//! ended to the next call in [`Observed::outcomes`].
//!
//! ```text
//!             image missing                 image here, room
//! (nothing) ───────────────▶ Pull ────────▶ [Stop previous] ─▶ Launch ─▶ starting
//!                                                                          │ ready
//!      ┌── exit, liveness, deadline: mark failed, CollectLog, Stop,  ◀─────┤
//!      ▼                             then the fallback runs                ▼ for min ready
//!   failed (kept for inspection)  ◀── restarts, unready: until good ── available: KeepRunning
//! ```

mod asks;
mod collect;
mod ended;
mod fate;
mod identity;
mod input;
mod judge;
mod memory;
mod outcome;
mod ports;
mod report;
pub mod room;
mod slot;
mod step;

use std::collections::{BTreeMap, BTreeSet};

pub use asks::{Answers, Ask, Checked, Question, Tested, WantedChecks};
pub use ended::{Outcome, PullFailure, StartFailure};
pub use input::{
    Container, ContainerState, Desired, GpuClaim, Health, Lease, Likeness, LocalHost, LocalImage, Observed,
    PlanNumber, RestartPolicy, VerifiedRelease,
};
pub(crate) use judge::health_deadline;
pub use memory::{
    FailedSlot, Forbidden, InstanceMemory, Memory, PulledImage, Quarantined, SlotMemory, StepTrouble,
    Volatile,
};
pub use step::{Decision, Launch, LaunchPort, Step, Target};

use crate::condition::{self, Condition};
use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::SlotStatus;
use crate::plan::PlanSlot;
use crate::release::Image;
use crate::time::Timestamp;

/// Decides what happens next. See the module.
pub fn plan(desired: &Desired, observed: &Observed, memory: &Memory, now: Timestamp) -> Decision {
    let mut memory = memory.clone();
    let (ours, conditions) = identity::ours(desired, observed, &mut memory);
    let observed = &ours;
    outcome::absorb(desired, observed, &mut memory, now);
    memory.adopt(observed);
    let mut turn = Turn::new(desired, observed, memory, now);
    turn.conditions = conditions;
    // A journal that was restored from an older copy knows less than the containers do. Going back to its plan would
    // stop what came after; the next plan that is accepted puts it right.
    let newest = observed.containers.iter().filter_map(|seen| seen.plan).max();
    let is_unconfirmed = desired.plan.is_some() && observed.from_journal == Some(turn.plan_number());
    let newer = newest.filter(|newest| *newest > turn.plan_number());
    turn.behind = newer.filter(|newer| is_unconfirmed && turn.memory.overruled < Some(*newer));
    if desired.plan.is_some() && turn.behind.is_none() {
        turn.memory.overruled = newer;
    }
    let Some(host_plan) = desired.plan.as_ref().filter(|_| turn.behind.is_none()) else {
        let slots = turn.by_slot.keys().map(|slot| (*slot).clone()).collect::<Vec<_>>();
        let reports =
            slots.iter().map(|slot| report::slot(&turn, slot, None, SlotStatus::Converging)).collect();
        return turn.finish(reports);
    };
    let wanted: BTreeMap<&SlotId, &PlanSlot> =
        host_plan.slots.iter().map(|slot| (&slot.slot, slot)).collect();
    let slots: BTreeSet<SlotId> =
        wanted.keys().copied().chain(turn.by_slot.keys().copied()).cloned().collect();
    let mut reports = Vec::new();
    for slot in &slots {
        let want = wanted.get(slot).copied();
        let status = slot::decide(&mut turn, slot, want);
        if want.is_some() || turn.by_slot.contains_key(slot) {
            reports.push(report::slot(&turn, slot, want, status));
        }
    }
    collect::images(&mut turn);
    turn.asks = asks::now(&mut turn);
    turn.memory.forget(observed, |slot| wanted.contains_key(slot));
    turn.finish(reports)
}

/// One call of [`plan`], while it goes from slot to slot.
struct Turn<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    memory: Memory,
    now: Timestamp,
    by_slot: BTreeMap<&'a SlotId, Vec<&'a Container>>,
    /// The slots of the plan in force.
    wanted: BTreeMap<&'a SlotId, &'a PlanSlot>,
    /// What each slot takes of the host, launches of this turn included.
    claims: BTreeMap<SlotId, room::Claim>,
    pulls: BTreeMap<Digest, Image>,
    steps: Vec<Step>,
    conditions: Vec<Condition>,
    /// Requests to be sent to instances now.
    asks: Vec<Ask>,
    /// Checks that starts wait for, or have waited for, by release.
    checks: BTreeMap<Digest, WantedChecks>,
    /// Slots that wait for them.
    checking: BTreeSet<SlotId>,
    behind: Option<PlanNumber>,
    wake_at: Option<Timestamp>,
}

impl<'a> Turn<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed, memory: Memory, now: Timestamp) -> Self {
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
                ((*slot).clone(), room::Claim::of_slot(containers, kept))
            })
            .collect();
        let wanted =
            desired.plan.iter().flat_map(|plan| &plan.slots).map(|want| (&want.slot, want)).collect();
        Self {
            desired,
            observed,
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
            behind: None,
            wake_at: None,
        }
    }

    /// The number of the plan in force; zero without one.
    fn plan_number(&self) -> PlanNumber {
        self.desired.plan.as_ref().map_or(PlanNumber { epoch: 0, seq: 0 }, |plan| PlanNumber::of(plan))
    }

    fn containers(&self, slot: &SlotId) -> Vec<&'a Container> {
        self.by_slot.get(slot).cloned().unwrap_or_default()
    }

    /// Asks to be called again at `at`, if nothing happens before.
    fn wake(&mut self, at: Timestamp) {
        // A deadline that has passed was dealt with; asking for it again would spin.
        let at = at.max(self.now + std::time::Duration::from_millis(1));
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn finish(self, slots: Vec<crate::observation::SlotObservation>) -> Decision {
        let pulls = self.pulls.into_values().map(|image| Step::Pull { image });
        let steps = pulls.chain(self.steps).collect();
        let conditions = condition::bounded(self.conditions);
        let (memory, wake_at, behind) = (self.memory, self.wake_at, self.behind);
        let (asks, checks) = (self.asks, self.checks.into_values().collect());
        Decision { steps, memory, wake_at, slots, conditions, asks, checks, behind }
    }
}
