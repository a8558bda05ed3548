//! The working copy of one decision: what is stored so far, and what was changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::capacity::Taken;
use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::placement::StopFirst;
use crate::plan::{Order, Phase, PlanSlot};
use crate::release::{Release, Spec};
use crate::service::{Assignment, ReleaseRef, Service, Slots};
use crate::time::Timestamp;

use super::story::Story;
use super::{Advance, Progress, Rollout, SILENCE, SLOTS_PER_STEP, Snapshot, State, Waiting};

pub(super) struct Draft<'a> {
    pub(super) snapshot: Snapshot<'a>,
    pub(super) service: Service,
    pub(super) slots: Slots,
    pub(super) rollout: Option<Rollout>,
    pub(super) touched: BTreeSet<SlotId>,
    /// The slots of each host, once somebody asked.
    by_host: Option<BTreeMap<HostId, Vec<SlotId>>>,
    pub(super) wake_at: Option<Timestamp>,
    pub(super) waiting: Vec<Waiting>,
    /// What this decision has done and not written down yet.
    pub(super) story: Story,
    full: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(snapshot: &Snapshot<'a>) -> Self {
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
            full: false,
        }
    }

    pub(super) fn finish(mut self) -> Advance {
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

    pub(super) fn now(&self) -> Timestamp {
        self.snapshot.now
    }

    pub(super) fn state(&self) -> Option<State> {
        self.rollout.as_ref().map(|rollout| rollout.state)
    }

    /// The active rollout. Only steps of a rollout call this.
    pub(super) fn rollout(&mut self) -> &mut Rollout {
        self.rollout.as_mut().expect("a step of a rollout is only taken when there is one")
    }

    pub(super) fn release(&self, digest: &Digest) -> Option<&'a Release> {
        self.snapshot.releases.get(digest)
    }

    pub(super) fn target(&self) -> Option<(ReleaseRef, &'a Release)> {
        let to = self.rollout.as_ref()?.to;
        Some((to, self.release(&to.digest)?))
    }

    /// Does a restart want another instance of the slot than its plan says so far?
    pub(super) fn is_outdated(&self, slot: &SlotId) -> bool {
        let restart = self.rollout.as_ref().filter(|rollout| rollout.is_restart());
        restart.is_some_and(|restart| self.slots[slot].want.generation < restart.generation)
    }

    /// Was the budget of this step used up?
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Did this decision change the slot? What was reported of it is then about an older plan.
    pub(super) fn is_dirty(&self, slot: &SlotId) -> bool {
        self.touched.contains(slot)
    }

    pub(super) fn wait(&mut self, waiting: Waiting) {
        if self.waiting.len() < 16 && !self.waiting.contains(&waiting) {
            self.waiting.push(waiting);
        }
    }

    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }

    /// Looks again in a moment, for what is only noticed by looking.
    pub(super) fn wake_soon(&mut self) {
        self.wake(self.now() + std::time::Duration::from_secs(5));
    }

    fn may_touch(&mut self, slot: &SlotId) -> bool {
        if self.touched.len() >= SLOTS_PER_STEP && !self.touched.contains(slot) {
            self.full = true;
            return false;
        }
        true
    }

    /// Changes one slot; does nothing if it is as wanted already or this step has no room left.
    pub(super) fn edit(&mut self, slot: &SlotId, change: impl FnOnce(&mut Assignment)) {
        let Some(before) = self.slots.get(slot) else { return };
        let mut after = before.clone();
        change(&mut after);
        if &after == before || !self.may_touch(slot) {
            return;
        }
        self.touched.insert(slot.clone());
        self.slots.insert(slot.clone(), after);
    }

    /// Removes a slot from its host's plan. One of an exclusive service is remembered until it is known to be empty.
    pub(super) fn drop_slot(&mut self, slot: &SlotId) {
        if !self.slots.contains_key(slot) {
            return;
        }
        if self.is_exclusive() && self.may_run(slot).is_some() {
            return self.edit(slot, |assignment| {
                assignment.want.phase = Phase::Absent;
                assignment.want.previous = None;
                assignment.replaces = None;
                assignment.standby_until = None;
            });
        }
        self.forget_slot(slot);
    }

    /// Removes a slot, whatever runs in it.
    pub(super) fn forget_slot(&mut self, slot: &SlotId) {
        if !self.slots.contains_key(slot) || !self.may_touch(slot) {
            return;
        }
        if let Some(gone) = self.slots.remove(slot) {
            self.removed(slot, gone.host);
        }
        self.touched.insert(slot.clone());
        self.by_host = None;
    }

    /// Adds a slot on `host`. Its index was never used before.
    pub(super) fn add_slot(
        &mut self,
        host: HostId,
        release: Digest,
        phase: Phase,
        good: bool,
        gpus: Vec<String>,
        replaces: Option<SlotId>,
    ) -> Option<SlotId> {
        let slot = SlotId::new(self.service.id.clone(), self.service.next_index);
        if !self.may_touch(&slot) {
            return None;
        }
        self.service.next_index += 1;
        let retry_quarantined = self.rollout.as_ref().is_some_and(|r| r.retry_quarantined);
        let want = PlanSlot {
            slot: slot.clone(),
            release,
            phase,
            good,
            fallback: None,
            order: Order::StartFirst,
            gpus,
            previous: None,
            retry_quarantined,
            generation: 0,
        };
        self.touched.insert(slot.clone());
        self.by_host = None;
        self.slots.insert(slot.clone(), Assignment { host, want, standby_until: None, replaces });
        Some(slot)
    }

    /// What is reserved on each host that has slots of this service, those included.
    pub(super) fn taken(&self) -> BTreeMap<HostId, Taken> {
        let mut all: BTreeMap<HostId, Taken> = BTreeMap::new();
        for assignment in self.slots.values() {
            let Some(member) = self.snapshot.fleet.member(&assignment.host) else { continue };
            let taken = all.entry(assignment.host.clone()).or_insert_with(|| member.taken.clone());
            taken.add(assignment, self.snapshot.releases);
        }
        all
    }

    /// How many slots of this service each host has.
    pub(super) fn own(&self) -> BTreeMap<HostId, u32> {
        let mut own = BTreeMap::new();
        for assignment in self.slots.values() {
            *own.entry(assignment.host.clone()).or_insert(0) += 1;
        }
        own
    }

    /// Which instance of `slot` goes first if it changes to `spec` now, while `beside` runs in it?
    pub(super) fn order(&mut self, slot: &SlotId, spec: &Spec, beside: Digest) -> Order {
        match self.start_first(slot, spec, beside) {
            Ok(()) => Order::StartFirst,
            Err(_) => Order::StopFirst,
        }
    }

    /// The same, with the reason for stop-first.
    pub(super) fn start_first(
        &mut self,
        slot: &SlotId,
        spec: &Spec,
        beside: Digest,
    ) -> Result<(), StopFirst> {
        let Some(assignment) = self.slots.get(slot) else { return Ok(()) };
        let (host, want) = (assignment.host.clone(), assignment.want.clone());
        let Some(member) = self.snapshot.fleet.member(&host) else { return Ok(()) };
        let mut taken = self.taken_by_others(slot, &host);
        if self.release(&beside).is_some_and(|release| release.spec.exclusive) {
            return Err(StopFirst::Exclusive);
        }
        let running = PlanSlot { release: beside, phase: Phase::Running, previous: None, ..want };
        taken.add_slot(&running, self.snapshot.releases, false);
        crate::placement::start_first(spec, Some(member), &taken, &running.gpus)
    }

    /// What everything on `host` but `slot` has reserved.
    pub(super) fn taken_by_others(&mut self, slot: &SlotId, host: &HostId) -> Taken {
        let mut taken = self.snapshot.fleet.member(host).map(|m| m.taken.clone()).unwrap_or_default();
        for other in self.on_host(host) {
            if let Some(assignment) = self.slots.get(&other).filter(|_| &other != slot) {
                taken.add_slot(&assignment.want, self.snapshot.releases, self.runs_both(&other));
            }
        }
        taken
    }

    /// The slots on a host.
    pub(super) fn on_host(&mut self, host: &HostId) -> Vec<SlotId> {
        let slots = &self.slots;
        let by_host = self.by_host.get_or_insert_with(|| {
            let mut by_host: BTreeMap<HostId, Vec<SlotId>> = BTreeMap::new();
            for (slot, assignment) in slots {
                by_host.entry(assignment.host.clone()).or_default().push(slot.clone());
            }
            by_host
        });
        by_host.get(host).cloned().unwrap_or_default()
    }

    /// Do both instances of the slot run at once, or may they? An old one takes its time to stop.
    fn runs_both(&self, slot: &SlotId) -> bool {
        let want = &self.slots[slot].want;
        let Some(previous) = want.previous.as_ref() else { return false };
        let starts_first = want.order == Order::StartFirst && want.phase == Phase::Running;
        let planned = previous.phase.runs();
        starts_first && (planned || self.is_seen_running(slot, &previous.release))
    }

    /// Notes that the active rollout, if there is one, starts, stops or removes a container.
    pub(super) fn touches_containers(&mut self) {
        if let Some(rollout) = self.rollout.as_mut().filter(|rollout| !rollout.state.is_final()) {
            rollout.changed = true;
        }
    }

    pub(super) fn go(&mut self, state: State) {
        let now = self.now();
        self.moved(state);
        let rollout = self.rollout();
        rollout.state = state;
        rollout.state_since = now;
        rollout.progress_at = now;
        rollout.soak_since = None;
    }

    /// Notes how far the rollout is; a number that rose starts the progress deadline again.
    pub(super) fn progress(&mut self, seen: Progress) {
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

    /// Since when a span counts that began at `at`: no deadline counts what this coordinator has not watched, and a
    /// beginning that is still to come was noted before its clock was set back.
    pub(super) fn counted_from(&self, at: Timestamp) -> Timestamp {
        let since = self.snapshot.fleet.since();
        if at > self.snapshot.now { since } else { at.max(since) }
    }

    /// Has the rollout gone without progress for longer than it may? Wakes at that moment if not.
    pub(super) fn deadline_passed(&mut self, spec: &Spec) -> bool {
        let progress_at = self.rollout().progress_at;
        let mut deadline = self.counted_from(progress_at) + spec.progress_deadline.duration();
        if self.waits_for_silent_hosts() {
            deadline = deadline + SILENCE;
        }
        if self.now() >= deadline {
            return true;
        }
        self.wake(deadline);
        false
    }
}
