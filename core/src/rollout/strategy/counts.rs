//! The counts of a rollout's slots, as every strategy sees them: the ones that are not begun, the budget that the others
//! leave, and the end of the rollout's advance.

use crate::id::SlotId;
use crate::observation::{Refusal, RefusalCode};
use crate::plan::{Order, Phase};
use crate::release::Spec;
use crate::service::ReleaseRef;
use crate::slot::{Certainty, DisruptionBudget, Limits, Seen, SlotFacts, Transition, Waiting};

use super::super::decision::Stood;
use super::super::ending::{self, Faults};
use super::super::hooks;
use super::super::model::{Kind, Progress, ROOM_GRACE, State};
use super::super::older;
use super::super::planner::Planner;
use super::stopping::{deadline, has_stopped, is_stopped, older_is_stopped};
use crate::maintain;

/// The lot of an old instance whose replacement is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    /// It stops.
    Rests,
    /// It runs on, and is never stopped to make room.
    RunsOn,
}

/// The slots of the new release.
pub(super) struct RolloutCounts<'a> {
    /// The new release.
    pub(super) to: ReleaseRef,
    /// Its specification.
    pub(super) spec: &'a Spec,
    /// All of them.
    pub(super) total: u32,
    /// Their image is there and nothing is started.
    pub(super) todo: Vec<SlotId>,
    /// Available at the new release.
    pub(super) available: u32,
    /// Slots on their way, with two instances, or down, and the limits of that.
    pub(super) budget: DisruptionBudget,
    /// On hosts that are lost or out of reach.
    pub(super) lost: Vec<SlotId>,
    /// Slots whose old instance is still there.
    unfinished: u32,
    /// Of those on their way, the ones on hosts that are out of reach: they hold up the rest until the deadline.
    stuck: u32,
    faults: Faults,
    old: Old,
}

impl<'a> RolloutCounts<'a> {
    /// Looks at every slot. `None` if the rollout has failed, or has nothing to move.
    pub(super) fn look(planner: &mut Planner<'a>, old: Old) -> Option<Self> {
        let (to, release) = planner.target()?;
        let spec = &release.spec;
        let mut tally = Self {
            to,
            spec,
            total: 0,
            todo: Vec::new(),
            available: 0,
            budget: DisruptionBudget::new(Limits::NONE),
            lost: Vec::new(),
            unfinished: 0,
            stuck: 0,
            faults: Faults::default(),
            old,
        };
        for slot in ending::counted(planner, &to.digest) {
            tally.total += 1;
            tally.look_at(planner, slot);
        }
        // An instance that went with its host, and has no place yet, serves nothing either.
        tally.budget.lacks(maintain::missing(planner, &to.digest, release));
        if ending::is_vacuous(planner, spec, tally.total as usize) {
            return None;
        }
        let available = tally.available;
        planner.note_arrived(to, available, tally.total);
        planner.progress(Progress {
            bytes: 0,
            pulled: 0,
            begun: tally.budget.begun() + available,
            available,
        });
        if let Some(reason) = std::mem::take(&mut tally.faults).record(planner) {
            ending::on_failure(planner, spec, reason);
            return None;
        }
        Some(tally)
    }

    /// Whether every slot is on a host that is lost or out of reach.
    pub(super) fn is_all_lost(&self) -> bool {
        self.lost.len() == self.total as usize
    }

    fn look_at(&mut self, planner: &mut Planner<'_>, slot: SlotId) {
        if planner.slots[&slot].run() == Phase::Running && !planner.is_outdated(&slot) {
            return self.look_at_begun(planner, slot);
        }
        let facts = planner.facts(&slot);
        if facts.serving() != Certainty::Yes {
            self.budget.is_down(&facts);
        }
        if facts.is_out_of_reach() {
            self.lost.push(slot);
        } else {
            self.todo.push(slot);
        }
    }

    fn look_at_begun(&mut self, planner: &mut Planner<'_>, slot: SlotId) {
        let facts = planner.facts(&slot);
        let waiting = match facts.target() {
            Seen::Available => return self.look_at_available(planner, facts),
            Seen::Failed(_) if try_again(planner, &slot) => facts.until_available(),
            Seen::Failed(evidence) => return self.faults.failed(facts.host(), &slot, evidence),
            Seen::Refused(refusal) if is_quarantined(refusal) && try_again(planner, &slot) => {
                facts.until_available()
            }
            Seen::Refused(refusal) if may_make_room(planner, refusal) => Waiting::Room(facts.host().clone()),
            Seen::Refused(refusal) => return self.faults.refused(facts.host(), &slot, refusal),
            Seen::Converging(_) => facts.until_available(),
            Seen::Nothing(waiting) => waiting,
        };
        planner.wait(waiting);
        let facts = if planner.is_dirty(&slot) { planner.facts(&slot) } else { facts };
        let start_first = facts.intent.order == Order::StartFirst;
        let beside_runs = facts.intent.other.is_some_and(|(_, run)| run == Phase::Running);
        let old_runs = beside_runs || planner.rollout().is_restart();
        // The instance that it stands beside may have stopped for another release before, and serve no more.
        let is_alone = old_runs && facts.serving() != Certainty::Yes;
        if !start_first || facts.is_out_of_reach() || is_alone {
            self.budget.is_down(&facts);
        }
        if !facts.is_lost() {
            self.budget.is_begun();
            self.stuck += u32::from(facts.is_out_of_reach());
            if start_first && old_runs {
                self.budget.is_surging();
            }
        }
        if facts.is_out_of_reach() {
            self.lost.push(slot);
        }
    }

    /// The new instance serves and has proven itself: the old one may stop.
    fn look_at_available(&mut self, planner: &mut Planner<'_>, facts: SlotFacts<'_>) {
        let slot = facts.id();
        self.available += 1;
        planner.arrived(slot);
        let start_first = facts.intent.order == Order::StartFirst;
        let stopped = if self.old == Old::RunsOn {
            true
        } else if planner.rollout().is_restart() {
            // It stops as soon as no request goes there, or at once where the agent does it by itself.
            !planner.waits_for_drain(slot) && older_is_stopped(planner, &facts)
        } else if let Some((before, run)) = facts.intent.other {
            // Most are told so already, and are looked at again and again.
            if run == Phase::Standby {
                has_stopped(planner, &facts, facts.is_stopped(&before))
            } else {
                planner.apply(slot, &Transition::Rest { until: None });
                is_stopped(planner, slot, &before)
            }
        } else {
            true
        };
        if !stopped {
            self.unfinished += 1;
            if start_first {
                self.budget.is_surging();
            }
        }
    }

    /// Begins as many slots as `limits` allow.
    pub(super) fn begin(&mut self, planner: &mut Planner<'_>, limits: Limits) {
        self.budget.limit(limits);
        let stood = self.stood();
        let mut todo = std::mem::take(&mut self.todo);
        // Where none may be begun, as in most looks, their order is of no use.
        if self.budget.has_batch() && !planner.is_full() {
            todo.sort_by_cached_key(|slot| (planner.facts(slot).serving() != Certainty::No, slot.index));
        }
        for slot in todo {
            let free = self.budget.has_batch() && !planner.is_full();
            if !free || !self.begin_one(planner, &slot) {
                self.todo.push(slot);
            }
        }
        planner.note_begun(stood, &limits);
    }

    /// Begins slots until `wanted` are begun or available.
    pub(super) fn begin_up_to(&mut self, planner: &mut Planner<'_>, wanted: u32) {
        let limits = match self.old {
            Old::RunsOn => Limits::NONE,
            Old::Rests => Limits::of(&self.spec.strategy, false, self.total, self.available),
        };
        let batch = limits.batch.min(wanted.saturating_sub(self.available));
        self.begin(planner, Limits { batch, ..limits });
    }

    /// Whether `wanted` slots are available, or all that are on hosts that are there, and none is on its way.
    pub(super) fn has(&self, wanted: u32) -> bool {
        let all = self.todo.is_empty() && self.lost.is_empty();
        !self.is_moving() && self.stuck == 0 && (self.available >= wanted || all)
    }

    /// Begins one slot if it may be begun now.
    fn begin_one(&mut self, planner: &mut Planner<'_>, slot: &SlotId) -> bool {
        let facts = planner.facts(slot);
        // While a host has not taken its newest plan, what it holds is not known.
        if let Err(waiting) = facts.word() {
            planner.wait(waiting);
            return false;
        }
        if !planner.may_start(Some(slot)) || !hooks::have_run(planner, self.spec, slot) {
            return false;
        }
        let outdated = planner.is_outdated(slot) && facts.intent.run.runs();
        if outdated && older::is_on_its_way(planner, slot) {
            return false;
        }
        let before = facts.intent.other.map(|(release, _)| release);
        let beside = if outdated { Some(facts.intent.release) } else { before };
        // Two run there already, and a slot has room for two: the older one makes way, if the other serves.
        let crowded = outdated && facts.intent.other.is_some_and(|(_, run)| run.runs());
        let (order, because) = if crowded && !facts.is_available() {
            older::stop_first()
        } else if let Some(stop_first) = older::order(planner, slot).filter(|_| !outdated) {
            stop_first
        } else {
            planner.order(slot, self.spec, beside)
        };
        if order == Order::StopFirst && self.old == Old::RunsOn {
            if planner.rollout().kind == Kind::Rollback {
                // It goes on in batches, without weights.
                planner.service.split = None;
                planner.wake_now();
            }
            planner.wait(Waiting::Room(facts.host().clone()));
            return false;
        }
        let mut cost = crate::slot::Cost::stop(&facts);
        cost.begins = true;
        cost.stops = order == Order::StopFirst;
        cost.adds_instance = beside.is_some() && order == Order::StartFirst;
        if self.budget.fits(&facts, cost).is_err() {
            return false;
        }
        debug_assert_eq!(facts.intent.release, self.to.digest, "only slots of the new release are begun");
        let generation = planner.rollout().generation;
        let keeps_older = older::is_kept(planner, slot, self.spec, order);
        let start = Transition::Start { order, generation, makes_way: crowded, keeps_older };
        // One whose old instance drains first is on its way as well.
        if !planner.apply_because(slot, &start, because) && !planner.waits_for_drain(slot) {
            return false;
        }
        planner.rollout().changed = true;
        self.budget.take(&facts, cost);
        true
    }

    /// Comes to the soak if nothing is left to do, and looks at the deadline if something is.
    pub(super) fn close(self, planner: &mut Planner<'_>) {
        if self.is_complete() {
            planner.go(State::Soaking);
        } else {
            self.look_at_deadline(planner);
        }
    }

    const fn is_moving(&self) -> bool {
        self.budget.begun() > self.stuck || self.unfinished > 0
    }

    /// Whether nothing is left to do: every slot that counts is available.
    pub(super) fn is_complete(&self) -> bool {
        !self.is_moving() && self.stuck == 0 && self.todo.is_empty() && self.lost.is_empty()
    }

    /// Looks at the deadline of what is left to do.
    pub(super) fn look_at_deadline(self, planner: &mut Planner<'_>) {
        let moving = self.is_moving();
        if !planner.is_full() {
            // If nothing else moves, everything waits for the lost hosts.
            let only_lost = if moving || self.is_all_lost() { &[] } else { self.lost.as_slice() };
            deadline(planner, self.spec, only_lost);
        }
    }

    fn stood(&self) -> Stood {
        Stood {
            total: self.total,
            available: self.available,
            in_flight: self.budget.begun(),
            surging: self.budget.surging(),
            unavailable: self.budget.unavailable(),
        }
    }

    /// Whether the rollout is one that a person wants over soon.
    pub(super) fn hurries(planner: &mut Planner<'_>) -> bool {
        planner.rollout().kind == Kind::Rollback
    }
}

const fn is_quarantined(refusal: &Refusal) -> bool {
    matches!(refusal.code, RefusalCode::Quarantined)
}

/// An old instance may still be about to make room; a host that goes on refusing is believed.
fn may_make_room(planner: &mut Planner<'_>, refusal: &Refusal) -> bool {
    if refusal.code != RefusalCode::NoRoom {
        return false;
    }
    let progress_at = planner.rollout().progress_at;
    let until = planner.counted_from(progress_at) + ROOM_GRACE;
    let waits = planner.now() < until;
    if waits {
        planner.wake(until);
    }
    waits
}

/// After a resume, a slot that failed before gets one more try.
fn try_again(planner: &mut Planner<'_>, slot: &SlotId) -> bool {
    let rollout = planner.rollout();
    let asked = rollout.retry_quarantined && rollout.failures.iter().any(|failure| &failure.slot == slot);
    if !asked || planner.slots[slot].retries() {
        return false;
    }
    // An instance that its host has restored stops like any other one: in its turn, and drained.
    if let Some(release) = planner.facts(slot).restored() {
        planner.apply(slot, &Transition::Restored { release });
    }
    planner.apply(slot, &Transition::Retry);
    true
}
