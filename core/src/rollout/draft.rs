//! The working copy of one decision: what is stored so far, and what was changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::capacity::Taken;
use crate::digest::Digest;
use crate::fleet::Member;
use crate::id::{HostId, SlotId};
use crate::placement::StopFirst;
use crate::plan::Order;
use crate::release::{Release, Spec};
use crate::service::{ReleaseRef, Service, Slots};
use crate::slot::{self, SlotFacts, Transition, Waiting};
use crate::time::Timestamp;

use super::decision::Chosen;
use super::model::{Advance, Progress, Rollout, SILENCE, SLOTS_PER_STEP, Snapshot, State};
use super::story::Story;

/// The working copy of one decision.
pub(crate) struct Draft<'a> {
    pub(crate) snapshot: Snapshot<'a>,
    pub(crate) service: Service,
    pub(crate) slots: Slots,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) touched: BTreeSet<SlotId>,
    /// The slots of each host, once somebody asked.
    by_host: Option<BTreeMap<HostId, Vec<SlotId>>>,
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) waiting: Vec<Waiting>,
    /// What this decision has done and not written down yet.
    pub(crate) story: Story,
    /// The slots in which something waits until it has drained, and how long that may take.
    drains: BTreeMap<SlotId, Duration>,
    full: bool,
}

impl<'a> Draft<'a> {
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
            wake_at: None,
            waiting: Vec::new(),
            story: Story::default(),
            drains: BTreeMap::new(),
            full: false,
        }
    }

    pub(crate) fn finish(mut self) -> Advance {
        self.tell();
        if self.full {
            self.wake_at = Some(self.snapshot.now);
        }
        self.waiting.dedup();
        Advance {
            service: self.service,
            slots: self.slots,
            touched: self.touched,
            rollout: self.rollout,
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
        SlotFacts::new(&self.slots[slot], self.member_of(slot), self.is_dirty(slot))
    }

    /// Every slot, leaving ones too.
    pub(crate) fn keys(&self) -> Vec<SlotId> {
        self.slots.keys().cloned().collect()
    }

    /// Every slot that is not on its way out.
    pub(crate) fn staying(&self) -> Vec<SlotId> {
        self.slots.values().filter(|slot| !slot.is_leaving()).map(|slot| slot.id().clone()).collect()
    }

    /// Whether the slot's host has left the count of the rollout.
    pub(crate) fn is_left_behind(&self, slot: &SlotId) -> bool {
        let rollout = self.rollout.as_ref();
        rollout.is_some_and(|rollout| rollout.stragglers.contains(self.slots[slot].host()))
    }

    /// Was the budget of this step used up?
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Did this decision change the slot? What was reported of it is then about an older plan.
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
        if &after == before || !self.may_touch(slot) {
            return false;
        }
        self.touched.insert(slot.clone());
        let before = self.slots.insert(slot.clone(), after);
        if let Some(before) = before {
            self.tell_transition(&before, transition, because);
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

    /// Reservations on each host that has slots of this service, those included.
    pub(crate) fn taken(&self) -> BTreeMap<HostId, Taken> {
        let mut all: BTreeMap<HostId, Taken> = BTreeMap::new();
        for slot in self.slots.values() {
            let Some(member) = self.snapshot.fleet.member(slot.host()) else { continue };
            let taken = all.entry(slot.host().clone()).or_insert_with(|| member.taken.clone());
            taken.add(slot, self.snapshot.releases);
        }
        all
    }

    /// The number of slots that each host has of this service.
    pub(crate) fn own(&self) -> BTreeMap<HostId, u32> {
        let mut own = BTreeMap::new();
        for slot in self.slots.values() {
            *own.entry(slot.host().clone()).or_insert(0) += 1;
        }
        own
    }

    /// Which instance of `slot` goes first if it changes to `spec` now, while `beside` runs in it, and the reason for
    /// stop-first.
    pub(crate) fn order(
        &mut self,
        slot: &SlotId,
        spec: &Spec,
        beside: Option<Digest>,
    ) -> (Order, Option<String>) {
        let Some(beside) = beside else { return (Order::StartFirst, None) };
        match self.start_first(slot, spec, beside) {
            Ok(()) => (Order::StartFirst, None),
            Err(why) => (Order::StopFirst, Some(why.to_string())),
        }
    }

    fn start_first(&mut self, slot: &SlotId, spec: &Spec, beside: Digest) -> Result<(), StopFirst> {
        let host = self.host(slot);
        let Some(member) = self.snapshot.fleet.member(&host) else { return Ok(()) };
        let mut taken = self.taken_by_others(slot, &host);
        let running = self.release(&beside);
        if running.is_some_and(|release| release.spec.exclusive) {
            return Err(StopFirst::Exclusive);
        }
        let gpus = self.slots[slot].target().gpus.clone();
        if let Some(running) = running {
            taken.add_instance(&running.spec, &gpus);
        }
        crate::placement::start_first(spec, Some(member), &taken, &gpus)
    }

    /// What everything on `host` but `slot` has reserved.
    pub(crate) fn taken_by_others(&mut self, slot: &SlotId, host: &HostId) -> Taken {
        let mut taken = self.snapshot.fleet.member(host).map(|m| m.taken.clone()).unwrap_or_default();
        for other in self.on_host(host) {
            if &other != slot {
                let both = self.runs_both(&other);
                taken.add_slot(&self.slots[&other], self.snapshot.releases, both);
            }
        }
        taken
    }

    /// The slots on a host.
    fn on_host(&mut self, host: &HostId) -> Vec<SlotId> {
        let slots = &self.slots;
        let by_host = self.by_host.get_or_insert_with(|| {
            let mut by_host: BTreeMap<HostId, Vec<SlotId>> = BTreeMap::new();
            for slot in slots.values() {
                by_host.entry(slot.host().clone()).or_default().push(slot.id().clone());
            }
            by_host
        });
        by_host.get(host).cloned().unwrap_or_default()
    }

    /// Whether both instances of the slot run at once, or may. An old one takes its time to stop.
    fn runs_both(&self, slot: &SlotId) -> bool {
        let slot = &self.slots[slot];
        let intent = slot::Intent::from(slot);
        let Some((before, _)) = intent.other else { return false };
        let starts_first = intent.order == Order::StartFirst && intent.run == crate::plan::Phase::Running;
        intent.runs_both() || (starts_first && self.facts(slot.id()).last_ran(&before))
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

    /// Notes how far the rollout is; a number that rose starts the progress deadline again.
    pub(crate) fn progress(&mut self, seen: Progress) {
        let now = self.now();
        let rollout = self.rollout();
        let best = rollout.progress;
        let next = Progress {
            bytes: best.bytes.max(seen.bytes),
            pulled: best.pulled.max(seen.pulled),
            begun: best.begun.max(seen.begun),
            available: best.available.max(seen.available),
        };
        if next != best {
            rollout.progress = next;
            rollout.progress_at = now;
        }
    }

    /// Whether word of hosts that fell silent a moment ago is all that is waited for.
    pub(crate) fn waits_for_silent_hosts(&self) -> bool {
        let is_silent = |waiting: &Waiting| match waiting {
            Waiting::Host { host, .. } | Waiting::Report(host) => {
                self.snapshot.fleet.member(host).is_some_and(Member::is_silent)
            }
            Waiting::Plan(_)
            | Waiting::Recovering(_)
            | Waiting::Engine(_)
            | Waiting::Journal(_)
            | Waiting::Pull { .. }
            | Waiting::Healthy { .. }
            | Waiting::Stop { .. }
            | Waiting::Drain { .. }
            | Waiting::Soak(_)
            | Waiting::Room(_)
            | Waiting::Others { .. }
            | Waiting::Place(_)
            | Waiting::Pinned { .. }
            | Waiting::Fence { .. }
            | Waiting::Gone { .. }
            | Waiting::Person => false,
        };
        !self.waiting.is_empty() && self.waiting.iter().all(is_silent)
    }

    /// Since when a span counts that began at `at`: no deadline counts what this coordinator has not watched, and a
    /// beginning that is still to come was noted before its clock was set back.
    pub(crate) fn counted_from(&self, at: Timestamp) -> Timestamp {
        let since = self.snapshot.fleet.since();
        if at > self.snapshot.now { since } else { at.max(since) }
    }

    /// Has the rollout gone without progress for longer than it may? Wakes at that moment if not.
    pub(crate) fn deadline_passed(&mut self, spec: &Spec) -> bool {
        let progress_at = self.rollout().progress_at;
        let mut deadline = self.counted_from(progress_at) + spec.progress_deadline.duration();
        if self.waits_for_silent_hosts() {
            deadline = deadline + SILENCE;
        }
        // A drain ends by itself, and is no lack of progress.
        deadline = deadline + self.drains.values().max().copied().unwrap_or_default();
        if self.now() >= deadline {
            return true;
        }
        self.wake(deadline);
        false
    }
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
