//! The working copy of one decision: what is stored so far, and what was changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::digest::Digest;
use crate::fleet::Member;
use crate::id::{HostId, SlotId};
use crate::release::Release;
use crate::service::{ReleaseRef, Service, Slots};
use crate::slot::{self, Slot, SlotFacts, Transition, Waiting};
use crate::time::Timestamp;

use super::decision::Chosen;
use super::decision_notes::gathered::DecisionNotes;
use super::model::{Advance, Begins, Rollout, SLOTS_PER_STEP, Snapshot, State};

/// The working copy of one decision.
pub(crate) struct Planner<'a> {
    pub(crate) snapshot: Snapshot<'a>,
    pub(crate) service: Service,
    pub(crate) slots: Slots,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) touched: BTreeSet<SlotId>,
    /// The slots of each host, once somebody asked.
    pub(super) by_host: Option<BTreeMap<HostId, Vec<SlotId>>>,
    pub(crate) begins: Option<Begins>,
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) waiting: Vec<Waiting>,
    /// The unwritten notes of this decision.
    pub(crate) notes: DecisionNotes,
    /// The slots in which something waits until it has drained, and how long that may take.
    pub(super) drains: BTreeMap<SlotId, Duration>,
    full: bool,
    is_exclusive: bool,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(snapshot: &Snapshot<'a>) -> Self {
        Self {
            snapshot: *snapshot,
            service: snapshot.service.clone(),
            slots: snapshot.slots.clone(),
            rollout: snapshot.rollout.cloned().map(|mut rollout| {
                rollout.log.take_fresh();
                rollout
            }),
            touched: BTreeSet::new(),
            by_host: None,
            begins: None,
            wake_at: None,
            waiting: Vec::new(),
            notes: DecisionNotes::default(),
            drains: BTreeMap::new(),
            full: false,
            is_exclusive: is_exclusive(snapshot),
        }
    }

    pub(crate) fn finish(mut self) -> Advance {
        self.write_notes();
        if self.full {
            self.wake_at = Some(self.snapshot.now);
        }
        self.waiting.dedup();
        Advance {
            service: self.service,
            slots: self.slots,
            touched: self.touched,
            rollout: self.rollout,
            begins: self.begins,
            wake_at: self.wake_at,
            waiting: self.waiting,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.snapshot.now
    }

    pub(crate) fn state(&self) -> Option<State> {
        self.rollout.as_ref().map(|rollout| rollout.state)
    }

    /// The active rollout. Only steps of a rollout call this.
    pub(crate) fn rollout(&mut self) -> &mut Rollout {
        self.rollout.as_mut().expect("a step of a rollout is only taken when there is one")
    }

    pub(crate) fn release(&self, digest: &Digest) -> Option<&'a Release> {
        self.snapshot.releases.get(digest)
    }

    pub(crate) fn target(&self) -> Option<(ReleaseRef, &'a Release)> {
        let to = self.rollout.as_ref()?.to;
        Some((to, self.release(&to.digest)?))
    }

    /// Whether a restart wants another instance of the slot than its intent has so far.
    pub(crate) fn is_outdated(&self, slot: &SlotId) -> bool {
        let restart = self.rollout.as_ref().filter(|rollout| rollout.is_restart());
        restart.is_some_and(|restart| self.slots[slot].target().generation < restart.generation)
    }

    /// The host of a slot.
    pub(crate) fn host(&self, slot: &SlotId) -> HostId {
        self.slots[slot].host().clone()
    }

    /// The member that a slot is on.
    pub(crate) fn member_of(&self, slot: &SlotId) -> Option<&'a Member> {
        self.snapshot.fleet.member(self.slots[slot].host())
    }

    /// The facts of a slot.
    pub(crate) fn facts(&self, slot: &SlotId) -> SlotFacts<'a> {
        let at = &self.slots[slot];
        SlotFacts::new(at, self.snapshot.fleet.member(at.host()), self.is_dirty(slot))
    }

    /// Whether any release that the service might run as this decision began says that it must never run twice.
    pub(crate) const fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    /// Whether the requests of the service are divided between two releases.
    pub(crate) const fn has_split(&self) -> bool {
        self.service.split.is_some()
    }

    /// Every slot, leaving ones too.
    pub(crate) fn keys(&self) -> Vec<SlotId> {
        self.slots.keys().cloned().collect()
    }

    /// The slots of which `is_one` holds.
    pub(crate) fn slots_that(&self, is_one: impl Fn(&Slot) -> bool) -> Vec<SlotId> {
        self.slots.values().filter(|slot| is_one(slot)).map(|slot| slot.id().clone()).collect()
    }

    /// Every slot that is not on its way out.
    pub(crate) fn staying(&self) -> Vec<SlotId> {
        self.slots_that(|slot| !slot.is_leaving())
    }

    /// Every slot of one of the service's instances: not those that are kept for a while.
    pub(crate) fn members(&self) -> Vec<SlotId> {
        self.slots_that(|slot| !slot.is_leaving() && !slot.is_kept())
    }

    /// Whether the slot's host has left the count of the rollout.
    pub(crate) fn is_left_behind(&self, slot: &SlotId) -> bool {
        let rollout = self.rollout.as_ref();
        rollout.is_some_and(|rollout| rollout.stragglers.contains(self.slots[slot].host()))
    }

    /// Returns whether the budget of this step was used up.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Returns whether this decision changed the slot. Any report of it is then about an older plan.
    pub(crate) fn is_dirty(&self, slot: &SlotId) -> bool {
        self.touched.contains(slot)
    }

    pub(crate) fn wait(&mut self, waiting: Waiting) {
        if self.waiting.len() < 16 && !self.waiting.contains(&waiting) {
            self.waiting.push(waiting);
        }
    }

    pub(crate) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }

    /// Looks again at once.
    pub(crate) fn wake_now(&mut self) {
        self.wake(self.now());
    }

    /// Looks again in a moment, for what is only noticed by looking.
    pub(crate) fn wake_soon(&mut self) {
        self.wake(self.now() + std::time::Duration::from_secs(5));
    }

    fn may_touch(&mut self, slot: &SlotId) -> bool {
        if self.touched.len() >= SLOTS_PER_STEP && !self.touched.contains(slot) {
            self.full = true;
            return false;
        }
        true
    }

    /// Changes one slot. Answers whether it did: not if the slot is so already, if this step has no room left, or if an
    /// instance that would stop has to drain first.
    pub(crate) fn apply(&mut self, slot: &SlotId, transition: &Transition) -> bool {
        self.apply_because(slot, transition, None)
    }

    /// Whether something in `slot` waits until it has drained.
    pub(crate) fn waits_for_drain(&self, slot: &SlotId) -> bool {
        self.drains.contains_key(slot)
    }

    /// Begins another turn of the decision: what it waits for is found anew.
    pub(crate) fn begin_turn(&mut self) {
        self.waiting.clear();
        self.drains.clear();
    }

    /// Whether anything waits until it has drained.
    pub(crate) fn drains(&self) -> bool {
        !self.drains.is_empty()
    }

    /// Notes that the slot waits for a drain that takes at most `timeout`.
    pub(crate) fn drain(&mut self, slot: &SlotId, timeout: Duration, waiting: Waiting) {
        self.drains.insert(slot.clone(), timeout);
        self.wait(waiting);
        self.wake(self.now() + Duration::from_secs(1));
    }

    /// The same, with the reason that the record of the decision gives.
    pub(crate) fn apply_because(
        &mut self,
        slot: &SlotId,
        transition: &Transition,
        because: Option<String>,
    ) -> bool {
        let Some(before) = self.slots.get(slot) else { return false };
        let Ok(after) = slot::apply(Some(before), transition) else {
            debug_assert!(false, "{transition:?} of {before:?}");
            return false;
        };
        if transition.stops() && self.drains_first(slot, &slot::Intent::from(&after)) {
            return false;
        }
        let Some(before) = self.slots.get(slot) else { return false };
        let lets_go = matches!(transition, Transition::LetGo { .. });
        let drained = transition.stops() && (lets_go || slot::Intent::from(before).drains());
        if &after == before || !self.may_touch(slot) {
            return false;
        }
        self.touched.insert(slot.clone());
        let before = self.slots.insert(slot.clone(), after);
        if let Some(before) = before {
            self.note_transition(&before, transition, because);
        }
        if drained {
            self.drain_ended();
        }
        true
    }

    /// Removes a slot from its host's plan. One of an exclusive service is remembered until it is known to be empty.
    pub(crate) fn drop_slot(&mut self, slot: &SlotId) {
        if !self.slots.contains_key(slot) {
            return;
        }
        if self.is_exclusive() && self.may_run(slot).is_some() {
            self.apply(slot, &Transition::Leave);
            return;
        }
        let empty = slot::apply(self.slots.get(slot), &Transition::Leave);
        if empty.is_ok_and(|empty| self.drains_first(slot, &slot::Intent::from(&empty))) {
            return;
        }
        self.forget_slot(slot);
    }

    /// Removes a slot, whatever runs in it.
    pub(crate) fn forget_slot(&mut self, slot: &SlotId) {
        if !self.slots.contains_key(slot) || !self.may_touch(slot) {
            return;
        }
        if let Some(gone) = self.slots.remove(slot) {
            self.removed(slot, gone.host().clone());
        }
        self.touched.insert(slot.clone());
        self.by_host = None;
    }

    /// Adds a slot. Its index was never used before.
    pub(crate) fn add_slot(&mut self, new: NewSlot, because: Option<Chosen>) -> Option<SlotId> {
        let id = SlotId::new(self.service.id.clone(), self.service.next_index);
        if !self.may_touch(&id) {
            return None;
        }
        let NewSlot { host, release, runs, good, gpus, stands_in_for } = new;
        let retry = self.rollout.as_ref().is_some_and(|rollout| rollout.retry_quarantined);
        let create =
            Transition::Create { id: id.clone(), host, release, runs, good, retry, gpus, stands_in_for };
        let created = slot::apply(None, &create).ok()?;
        self.service.next_index += 1;
        self.touched.insert(id.clone());
        self.by_host = None;
        let host = created.host().clone();
        self.slots.insert(id.clone(), created);
        if let Some(because) = because {
            self.placed(&id, &host, because);
        }
        Some(id)
    }

    /// Notes that the active rollout, if there is one, starts, stops or removes a container.
    pub(crate) fn touches_containers(&mut self) {
        if let Some(rollout) = self.rollout.as_mut().filter(|rollout| !rollout.state.is_final()) {
            rollout.changed = true;
        }
    }

    pub(crate) fn go(&mut self, state: State) {
        let now = self.now();
        self.moved(state);
        let rollout = self.rollout();
        rollout.state = state;
        rollout.state_since = now;
        rollout.progress_at = now;
        rollout.soak_since = None;
    }
}

/// Whether any release that the service may run, or is about to run, says that it must never run twice.
fn is_exclusive(snapshot: &Snapshot<'_>) -> bool {
    let current = snapshot.service.current.map(|current| current.digest);
    let target = snapshot.rollout.map(|rollout| rollout.to.digest);
    let named = snapshot.slots.values().flat_map(Slot::named);
    // Thousands of slots name a few releases.
    let mut seen = BTreeSet::new();
    let mut digests = current.into_iter().chain(target).chain(named);
    digests.any(|digest| {
        seen.insert(digest) && snapshot.releases.get(&digest).is_some_and(|release| release.spec.exclusive)
    })
}

/// A slot that is about to be.
#[derive(Debug)]
pub(crate) struct NewSlot {
    /// Its host.
    pub(crate) host: HostId,
    /// Its release.
    pub(crate) release: Digest,
    /// Whether it runs at once.
    pub(crate) runs: bool,
    /// Whether that release is good.
    pub(crate) good: bool,
    /// Its devices.
    pub(crate) gpus: Vec<String>,
    /// The slot that it stands in for.
    pub(crate) stands_in_for: Option<SlotId>,
}
