//! Rolling back: puts every slot back to the last good release, all at once where both instances fit.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::plan::{Order, Phase};
use crate::release::Scale;
use crate::service::ReleaseRef;
use crate::slot::{Certainty, DisruptionBudget, Limits, Seen, Slot, Transition, Waiting};
use crate::time::Timestamp;

use super::ending;
use super::guard;
use super::hooks;
use super::model::{Progress, Reason, RollbackMode, State};
use super::planner::Planner;
use super::returning::{self, Led};
use super::revert::{MOST_DOWN, past_deadline, revert};
use super::strategy::{self, Stopping};

mod fate;
mod in_place;
mod nothing;

use fate::{Fate, fate, keep};

pub(crate) fn step(planner: &mut Planner<'_>) {
    if planner.rollout().is_restart() {
        // There is nothing to go back to: what was begun is of the same release, and goes on.
        return ending::end(planner, State::Aborted, None);
    }
    let how = planner.rollout().going_back.unwrap_or(RollbackMode::RolledBack);
    ending::note_late(planner);
    if hooks::are_stopping(planner) {
        return;
    }
    let from = planner.rollout().from;
    match from {
        Some(from) if planner.release(&from.digest).is_some() => back_to(planner, from, how),
        _ => nothing::back_to_nothing(planner, how),
    }
}

/// The state of the slots on their way back.
struct RollbackCounts {
    /// Not where they are to be.
    missing: u32,
    /// Slots in which something was stopped and nothing serves. Until it does, nothing else that serves is stopped.
    budget: DisruptionBudget,
    /// Of those, the hosts where nothing can be done now.
    out_of_reach: Vec<HostId>,
    turned: u32,
    available: u32,
    todo: Vec<SlotId>,
    /// Nothing to go back to: they were made for the release that is left.
    new: Vec<SlotId>,
}

impl RollbackCounts {
    const fn new() -> Self {
        Self {
            missing: 0,
            budget: DisruptionBudget::new(Limits { unavailable: MOST_DOWN, ..Limits::NONE }),
            out_of_reach: Vec::new(),
            turned: 0,
            available: 0,
            todo: Vec::new(),
            new: Vec::new(),
        }
    }
}

fn back_to(planner: &mut Planner<'_>, from: ReleaseRef, how: RollbackMode) {
    let late = past_deadline(planner);
    let one_at_a_time = planner.target().is_some_and(|(_, release)| strategy::is_one_at_a_time(release));
    let recreates = planner.is_exclusive() || one_at_a_time;
    let to = planner.rollout().to.digest;
    rejoin(planner, &from.digest);
    match returning::lead_back(planner, &from.digest, late) {
        Led::Done => {}
        _ if planner.is_full() => return,
        // The other one goes on serving.
        Led::Later | Led::Short if late => return give_up(planner, from, how),
        Led::Short => return in_place::step(planner, from),
        Led::Later => return in_place::note(planner, from),
    }
    // A rollback to the last good release that turns back has nothing to stop: what it left is what it goes to.
    let stops_nothing = !recreates || how == RollbackMode::OnlyFailed || to == from.digest;
    let may_start = stops_nothing || has_stopped(planner, &to, late);
    let mut tally = look(planner, &from, how, late, may_start);
    if how != RollbackMode::OnlyFailed {
        take_in(planner, &from, &mut tally);
    }
    // A slot that serves nothing yet because its old instance stopped for the new one is reverted first, and counts: only then is
    // it known whether one that serves may stop as well.
    let mut todo = std::mem::take(&mut tally.todo);
    todo.sort_by_cached_key(|slot| (planner.facts(slot).serving() != Certainty::No, slot.index));
    for slot in todo {
        if revert(planner, &slot, &from, &mut tally.budget, may_start) {
            tally.turned += 1;
        }
        tally.missing += u32::from(!planner.facts(&slot).is_lost());
    }
    planner.note_arrived(from, tally.available, tally.turned);
    planner.note_turned(from);
    let (begun, available) = (tally.turned, tally.available);
    planner.progress(Progress { begun, available, ..Progress::default() });
    let untouched = !planner.rollout().changed && may_start;
    if planner.is_full() {
        return;
    }
    if tally.missing > 0 && !untouched {
        if !past_deadline(planner) {
            return;
        }
        // A host without its engine is brought back later, like one that was lost; it makes no rollback fail.
        if tally.out_of_reach.len() < tally.missing as usize {
            return give_up(planner, from, how);
        }
        planner.rollout().stragglers.extend(std::mem::take(&mut tally.out_of_reach));
    }
    finish(planner, from, how, &tally.new);
}

/// Slots of the release to go back to that were about to be kept for a while are members again.
fn rejoin(planner: &mut Planner<'_>, from: &Digest) {
    for slot in planner.staying() {
        if planner.slots[&slot].is_kept() && planner.slots[&slot].release() == *from {
            planner.apply(&slot, &Transition::Unpair);
        }
    }
}

/// Returns whether all instances of the release that is left have stopped, as far as the good one must not run beside
/// them. At the deadline, hosts out of reach are not waited for any more.
fn has_stopped(planner: &mut Planner<'_>, to: &Digest, late: bool) -> bool {
    let waits_for = match strategy::stop_new(planner, to) {
        Stopping::Done => return true,
        Stopping::On { only_lost } => only_lost,
    };
    if waits_for.is_empty() || !late {
        return false;
    }
    let hosts: Vec<HostId> = waits_for.iter().map(|slot| planner.host(slot)).collect();
    planner.leave_behind(hosts);
    let now = planner.now();
    planner.rollout().progress_at = now;
    true
}

fn look(
    planner: &mut Planner<'_>,
    from: &ReleaseRef,
    how: RollbackMode,
    late: bool,
    may_start: bool,
) -> RollbackCounts {
    let mut tally = RollbackCounts::new();
    // A slot that is kept since an earlier rollout has no part in this one.
    for slot in planner.members() {
        let facts = planner.facts(&slot);
        if facts.is_lost() {
            planner.leave_behind([facts.host().clone()]);
        }
        // Something stopped there for the release that is left, or for this one, so that nothing goes on serving now.
        let stopped = facts.intent.order == Order::StopFirst && !facts.is_lost();
        if stopped && facts.serving() != Certainty::Yes && is_restorable(planner, &slot, &from.digest) {
            tally.budget.is_down(&facts);
        }
        // One that a rollback to the last good release has not begun is no further than any other: what serves there stops.
        if facts.intent.release == from.digest && facts.intent.run != Phase::Pulled {
            look_at_turned(planner, &slot, may_start, &mut tally);
            continue;
        }
        match fate(planner, &slot, how, late) {
            Fate::Stays => keep(planner, &slot),
            Fate::Open(waiting) => {
                planner.wait(waiting);
                tally.missing += 1;
            }
            Fate::Back if is_restorable(planner, &slot, &from.digest) => tally.todo.push(slot),
            Fate::Back => tally.new.push(slot),
        }
    }
    tally
}

/// A slot made in the place of one that went with its host stands in for it: it goes back as well, as far as the
/// count from before wants it. Otherwise it would stop, and others would be made, all at once.
fn take_in(planner: &mut Planner<'_>, from: &ReleaseRef, tally: &mut RollbackCounts) {
    let Some(release) = planner.release(&from.digest) else { return };
    let new: BTreeSet<SlotId> = tally.new.iter().cloned().collect();
    let stays = |slot: &&Slot| !slot.is_leaving() && !slot.is_kept();
    let back = || planner.slots.values().filter(stays).filter(|slot| !new.contains(slot.id()));
    let mut hosts: BTreeSet<HostId> = back().map(|slot| slot.host().clone()).collect();
    let have = back().count();
    let mut missing = match release.spec.scale {
        Scale::Replicas { min, max } => {
            (planner.rollout().replicas_before.clamp(min, max) as usize).saturating_sub(have)
        }
        Scale::PerHost => usize::MAX,
    };
    let (todo, per_host) = (&mut tally.todo, release.spec.scale == Scale::PerHost);
    tally.new.retain(|slot| {
        let fits = planner.slots[slot].run() == Phase::Running && planner.fits(slot, release);
        if missing == 0 || !fits || (per_host && !hosts.insert(planner.host(slot))) {
            return true;
        }
        missing -= 1;
        todo.push(slot.clone());
        false
    });
}

fn is_restorable(planner: &mut Planner<'_>, slot: &SlotId, from: &Digest) -> bool {
    planner.slots[slot].names(from) || slot.index < planner.rollout().first_new
}

/// Looks after a slot that was turned back, or was never turned away.
fn look_at_turned(planner: &mut Planner<'_>, slot: &SlotId, may_start: bool, tally: &mut RollbackCounts) {
    tally.turned += 1;
    if planner.slots[slot].run() != Phase::Running && may_start && planner.may_start(Some(slot)) {
        planner.apply(slot, &Transition::Resume);
    }
    let facts = planner.facts(slot);
    if facts.is_lost() {
        return;
    }
    let waiting = match facts.target() {
        Seen::Available => {
            tally.available += 1;
            planner.arrived(slot);
            let failed = planner.rollout().to.digest;
            let beside = facts.intent.other.is_some_and(|(release, run)| release == failed && run.runs());
            match keeps_failed(planner).filter(|_| beside) {
                Some(until) => planner.apply(slot, &Transition::Keep { until }),
                // A standby that an earlier rollout keeps for a while is no matter of this one.
                None if planner.slots[slot].standby_until().is_some() => false,
                None => planner.apply(slot, &Transition::Forget),
            };
            return;
        }
        Seen::Nothing(waiting) => waiting,
        Seen::Converging(_) | Seen::Failed(_) | Seen::Refused(_) => {
            Waiting::Healthy { host: facts.host().clone(), slot: slot.clone() }
        }
    };
    if facts.is_out_of_reach() {
        tally.out_of_reach.push(facts.host().clone());
    }
    planner.wait(waiting);
    tally.missing += 1;
}

/// Time until which the instances of the release that failed run on without traffic, so that people can look at them.
fn keeps_failed(planner: &mut Planner<'_>) -> Option<Timestamp> {
    let divided = planner.has_split();
    let failed = planner.rollout().going_back == Some(RollbackMode::RolledBack) && divided;
    let (_, release) = planner.target().filter(|_| failed)?;
    Some(planner.now() + release.spec.strategy.keeps_failed()?.duration())
}

/// The old release did not come back everywhere in time. A person looks; from here on it is what the
/// service is at, so that hosts that come or go are cared for.
fn give_up(planner: &mut Planner<'_>, from: ReleaseRef, how: RollbackMode) {
    let before = planner.rollout().reason.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{before}; then {} did not become available everywhere", from.counter);
    if guard::holds_from(planner, &from.digest) {
        // It has the place of nobody any more, and no share that would keep requests from what comes beside it.
        planner.service.split = None;
        let left = planner.rollout().to.counter;
        text.push_str(&format!(", so {left} goes on serving until it does"));
    }
    restore_service(planner, from, how);
    ending::end(planner, State::Failed, Some(Reason::RollbackFailed(text)));
}

fn restore_service(planner: &mut Planner<'_>, from: ReleaseRef, how: RollbackMode) {
    if how != RollbackMode::OnlyFailed {
        planner.service.replicas = planner.rollout().replicas_before;
        planner.service.current = Some(from);
    }
}

/// Everything that is to serve, serves: new slots go, and the rollout ends.
fn finish(planner: &mut Planner<'_>, from: ReleaseRef, how: RollbackMode, new: &[SlotId]) {
    let until = keeps_failed(planner);
    for slot in new {
        ending::retain_or_drop(planner, slot, until);
    }
    if planner.is_full() || planner.drains() {
        return;
    }
    let state = match how {
        RollbackMode::RolledBack => State::RolledBack,
        RollbackMode::Aborted => State::Aborted,
        RollbackMode::Untouched | RollbackMode::OnlyFailed => State::Failed,
    };
    restore_service(planner, from, how);
    ending::end(planner, state, None);
}
