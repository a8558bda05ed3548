//! The effects of one decision on slots, gathered while it is made, and written down in its order.

pub(super) mod gathered;

use std::time::Duration;

use crate::gate::Judged;
use crate::id::{Counter, HostId, SlotId};
use crate::observation::TaskEnd;
use crate::plan::{Order, Phase};
use crate::release::Spec;
use crate::service::ReleaseRef;
use crate::traffic::Weight;

use super::decision::{
    Allowed, Arrival, Begin, Chosen, Clocks, Place, Placement, Refused, SLOTS, Stood, What, cut,
};
use super::hooks::HookRun;
use super::model::{Failure, Kind, RollbackMode, State};
use super::planner::Planner;
use crate::slot::{Limits, Slot, Transition};

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Planner<'_> {
    fn is_recorded(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| !rollout.state.is_final())
    }

    fn note(&mut self, what: What) {
        let now = self.now();
        if let Some(rollout) = &mut self.rollout {
            rollout.log.note(now, what);
        }
    }

    fn detail(&mut self, what: What) {
        let now = self.now();
        if let Some(rollout) = &mut self.rollout {
            rollout.log.detail(now, what);
        }
    }

    /// A slot was changed: what the record of the decision says of it. `before` is the slot before that.
    pub(crate) fn note_transition(
        &mut self,
        before: &Slot,
        transition: &Transition,
        because: Option<String>,
    ) {
        let slot = before.id();
        match transition {
            Transition::Prepare { .. } => self.placed(slot, before.host(), Chosen::Kept),
            Transition::Start { order, .. } => {
                let beside = before.other().is_some() || before.run() == Phase::Running;
                self.began(slot, beside.then_some(*order), because);
            }
            Transition::Move { order, .. } => {
                self.began(slot, Some(*order).filter(|_| before.run().runs()), because);
            }
            Transition::Revert { beside, order, .. } => self.began(slot, beside.map(|_| *order), because),
            Transition::Retry => self.retried(slot),
            Transition::Create { .. }
            | Transition::Adopt { .. }
            | Transition::LetGo { .. }
            | Transition::Drain { .. }
            | Transition::Rest { .. }
            | Transition::Keep { .. }
            | Transition::Forget
            | Transition::Promote { .. }
            | Transition::Park { .. }
            | Transition::Resume
            | Transition::Restored { .. }
            | Transition::Abandon
            | Transition::Stand { .. }
            | Transition::Disarm
            | Transition::Retain { .. }
            | Transition::Unpair
            | Transition::Assign { .. }
            | Transition::Withdraw
            | Transition::Leave
            | Transition::BringTo { .. } => {}
        }
    }

    /// A slot got its part in the rollout.
    pub(crate) fn placed(&mut self, slot: &SlotId, host: &HostId, because: Chosen) {
        if !self.is_recorded() {
            return;
        }
        if self.notes.placed.len() < SLOTS {
            self.notes.placed.push(Placement { slot: slot.clone(), host: host.clone(), because });
        } else {
            self.notes.more_placed += 1;
        }
    }

    /// Returns whether the hosts that cannot take a slot are still to be named.
    pub(crate) fn wants_refusals(&self) -> bool {
        self.is_recorded() && self.rollout.as_ref().is_some_and(|rollout| !rollout.log.named_refusals())
    }

    /// Hosts that cannot take a slot. Asked for once in a rollout.
    pub(crate) fn refusals<'h, W: ToString>(&mut self, refused: impl Iterator<Item = (&'h HostId, W)>) {
        if !self.is_recorded() || !self.rollout().log.names_refusals() {
            return;
        }
        for (host, why) in refused {
            if self.notes.refused.len() < SLOTS {
                self.notes.refused.push(Refused { host: host.clone(), reason: why.to_string() });
            } else {
                self.notes.more_refused += 1;
            }
        }
    }

    /// The image of a slot is on its host.
    pub(crate) fn saw_image(&mut self, slot: &SlotId) {
        let index = slot.index;
        if self.is_recorded() && self.rollout().log.saw_image(index) {
            let place = self.place_of(slot);
            self.notes.pulled.extend(place);
        }
    }

    /// The slot was told to start another release; `stops` says why the old instance goes first, `None` if
    /// there is no old one.
    fn began(&mut self, slot: &SlotId, order: Option<Order>, because: Option<String>) {
        let now = self.now();
        if !self.is_recorded() {
            return;
        }
        self.rollout().log.began(slot.index, now);
        if let Some(Place { slot, host }) = self.place_of(slot) {
            let gpus = self.slots.get(&slot).map(|slot| slot.target().gpus.clone()).unwrap_or_default();
            self.notes.begun.push(Begin { slot, host, order, because, gpus });
        }
    }

    /// The slot is available.
    pub(crate) fn arrived(&mut self, slot: &SlotId) {
        let now = self.now();
        if !self.is_recorded() {
            return;
        }
        if let Some(after) = self.rollout().log.arrived(slot.index, now)
            && let Some(Place { slot, host }) = self.place_of(slot)
        {
            self.notes.arrived.push(Arrival { slot, host, after_ms: after.map(millis) });
        }
    }

    /// The slot goes.
    pub(crate) fn removed(&mut self, slot: &SlotId, host: HostId) {
        if self.is_recorded() {
            self.notes.removed.push(Place { slot: slot.clone(), host });
        }
    }

    /// A slot that failed gets another try.
    fn retried(&mut self, slot: &SlotId) {
        let now = self.now();
        if !self.is_recorded() {
            return;
        }
        self.rollout().log.began(slot.index, now);
        if let Some(place) = self.place_of(slot) {
            self.detail(What::Retried { place });
        }
    }

    /// Something failed.
    pub(crate) fn failed(&mut self, failure: Failure) {
        let now = self.now();
        self.rollout().log.failed(now, failure);
    }

    /// These hosts are not waited for any more.
    pub(crate) fn leave_behind(&mut self, hosts: impl IntoIterator<Item = HostId>) {
        let known = &mut self.rollout().stragglers;
        let mut hosts: Vec<HostId> = hosts.into_iter().filter(|host| known.insert(host.clone())).collect();
        hosts.dedup();
        if hosts.is_empty() {
            return;
        }
        let (more, clocks) = (cut(&mut hosts), self.clocks());
        self.note(What::LeftBehind { hosts, more, clocks });
    }

    /// Writes that images have come.
    pub(crate) fn note_pulled(&mut self, pulled: u32, of: u32) {
        let mut slots = std::mem::take(&mut self.notes.pulled);
        if !slots.is_empty() {
            let more = cut(&mut slots);
            self.detail(What::Pulled { slots, more, pulled, of });
        }
    }

    /// Writes which slots are available now.
    pub(crate) fn note_arrived(&mut self, release: ReleaseRef, available: u32, of: u32) {
        let mut slots = std::mem::take(&mut self.notes.arrived);
        if !slots.is_empty() {
            let more = cut(&mut slots);
            self.detail(What::Available { slots, more, release: release.counter, available, of });
        }
    }

    /// Writes which slots were begun.
    pub(crate) fn note_begun(&mut self, stood: Stood, limits: &Limits) {
        let mut slots = std::mem::take(&mut self.notes.begun);
        if !slots.is_empty() {
            let more = cut(&mut slots);
            self.detail(What::Begun { slots, more, stood, allowed: shown(limits) });
        }
    }

    /// Writes that a hook was asked for.
    pub(crate) fn note_hook_begun(&mut self, run: &HookRun) {
        let place = Place { slot: run.slot.clone(), host: run.host.clone() };
        self.detail(What::HookBegun { hook: run.hook.clone(), stage: run.stage, place });
    }

    /// Writes that a hook ended.
    pub(crate) fn note_hook_ended(&mut self, run: &HookRun) {
        let Some(TaskEnd { outcome, took, .. }) = run.end.clone() else { return };
        let place = Place { slot: run.slot.clone(), host: run.host.clone() };
        self.detail(What::HookEnded { hook: run.hook.clone(), place, outcome, took });
    }

    /// Writes that the shares of the traffic changed.
    pub(crate) fn note_weighed(&mut self, release: Counter, weight: Weight, step: Option<u32>, of: u32) {
        self.note(What::Weighed { release, weight, step, of });
    }

    /// Writes that every ingress divides the requests so.
    pub(crate) fn note_switched(&mut self, weight: Weight, took: Duration) {
        self.note(What::Switched { weight, took_ms: millis(took) });
    }

    /// Writes the verdict of a gate's window. One that ends the step is written however many there were.
    pub(crate) fn note_judged(&mut self, judged: Judged, ends: bool) {
        let what = What::Judged { judged: Box::new(judged) };
        if ends {
            return self.note(what);
        }
        let now = self.now();
        if let Some(rollout) = &mut self.rollout {
            rollout.log.verdict(now, what);
        }
    }

    /// Writes which slots were turned back.
    pub(crate) fn note_turned(&mut self, release: ReleaseRef) {
        let mut slots = std::mem::take(&mut self.notes.begun);
        if !slots.is_empty() {
            let more = cut(&mut slots);
            self.detail(What::Turned { slots, more, release: release.counter });
        }
    }

    /// Writes what is left: slots that came and went.
    pub(crate) fn write_notes(&mut self) {
        let notes = std::mem::take(&mut self.notes);
        if !notes.placed.is_empty() || !notes.refused.is_empty() {
            let wanted = self.target().and_then(|(_, release)| self.service.replicas_for(release));
            let (slots, more) = (notes.placed, notes.more_placed);
            let (refused, more_refused) = (notes.refused, notes.more_refused);
            self.detail(What::Placed { slots, more, refused, more_refused, wanted });
        }
        if !notes.removed.is_empty() {
            let mut slots = notes.removed;
            let more = cut(&mut slots);
            self.detail(What::Removed { slots, more });
        }
    }

    /// Writes that the rollout comes to `to`; called before it does, after reason and outcome were set.
    pub(crate) fn moved(&mut self, to: State) {
        self.write_notes();
        let clocks = self.clocks();
        let serves = self.service.current.filter(|_| to.is_final()).map(|current| current.counter);
        let rollout = self.rollout();
        let what = What::Moved {
            from: rollout.state,
            to,
            reason: rollout.reason.clone(),
            // A warm set may have ended for it.
            going_back: rollout.going_back.filter(|how| *how != RollbackMode::Untouched || !rollout.changed),
            progress: rollout.progress,
            clocks,
            serves,
        };
        self.note(what);
    }

    fn clocks(&mut self) -> Clocks {
        let spec: Option<&Spec> = self.target().map(|(_, release)| &release.spec);
        let (progress_deadline, soak) =
            (spec.map(|spec| spec.progress_deadline), spec.map(|spec| spec.strategy.soak(spec.soak)));
        let watched_since = self.snapshot.fleet.since();
        let rollout = self.rollout();
        let soak = soak.filter(|_| rollout.kind == Kind::Deploy);
        Clocks {
            since: rollout.state_since,
            progress_at: rollout.progress_at,
            soak_since: rollout.soak_since,
            watched_since,
            progress_deadline,
            soak,
        }
    }

    fn place_of(&self, slot: &SlotId) -> Option<Place> {
        let host = self.slots.get(slot)?.host().clone();
        Some(Place { slot: slot.clone(), host })
    }
}

/// Limits as decisions show them.
fn shown(limits: &Limits) -> Allowed {
    let bound = |count: u32| Some(count).filter(|count| *count != u32::MAX);
    Allowed {
        batch: bound(limits.batch),
        surge: bound(limits.surge),
        unavailable: bound(limits.unavailable),
        raised: limits.is_raised,
    }
}
