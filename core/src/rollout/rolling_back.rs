//! Rolling back: puts every slot back to the last good release, all at once where both instances fit.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::plan::{Order, Phase};
use crate::release::Scale;
use crate::service::ReleaseRef;
use crate::slot::{Budget, Certainty, Limits, Seen, Slot, Transition, Waiting};
use crate::time::Timestamp;

use super::draft::Draft;
use super::ending;
use super::guard;
use super::hooks;
use super::model::{GoingBack, Progress, Reason, State};
use super::returning::{self, Led};
use super::revert::{MOST_DOWN, past_deadline, revert};
use super::strategy::{self, Stopping};

mod in_place;
mod nothing;

pub(crate) fn step(draft: &mut Draft<'_>) {
    if draft.rollout().is_restart() {
        // There is nothing to go back to: what was begun is of the same release, and goes on.
        return ending::end(draft, State::Aborted, None);
    }
    let how = draft.rollout().going_back.unwrap_or(GoingBack::RolledBack);
    ending::note_late(draft);
    if hooks::are_stopping(draft) {
        return;
    }
    let from = draft.rollout().from;
    match from {
        Some(from) if draft.release(&from.digest).is_some() => back_to(draft, from, how),
        _ => nothing::back_to_nothing(draft, how),
    }
}

/// What becomes of a slot of the release that is left.
enum Fate {
    /// It goes back.
    Back,
    /// It stays: only what failed goes back.
    Stays,
    /// Whether it failed is not known yet.
    Open(Waiting),
}

fn fate(draft: &mut Draft<'_>, slot: &SlotId, how: GoingBack, late: bool) -> Fate {
    let facts = draft.facts(slot);
    if how != GoingBack::OnlyFailed || facts.intent.run != Phase::Running {
        return Fate::Back;
    }
    match facts.target() {
        Seen::Available => Fate::Stays,
        Seen::Failed(_) | Seen::Refused(_) => Fate::Back,
        Seen::Nothing(_) if facts.is_lost() => Fate::Stays,
        Seen::Nothing(_) | Seen::Converging(_) if late => Fate::Back,
        Seen::Nothing(waiting) => Fate::Open(waiting),
        Seen::Converging(_) => {
            Fate::Open(Waiting::Healthy { host: facts.host().clone(), slot: slot.clone() })
        }
    }
}

/// The old instance of a slot that stays has done its work, as in any rollout.
fn keep(draft: &mut Draft<'_>, slot: &SlotId) {
    if !draft.facts(slot).is_lost() {
        draft.apply(slot, &Transition::Rest { until: None });
    }
}

/// How the slots stand on their way back.
struct Standing {
    /// Not where they are to be.
    missing: u32,
    /// Slots in which something was stopped and nothing serves. Until it does, nothing else that serves is stopped.
    budget: Budget,
    /// Of those, the hosts where nothing can be done now.
    out_of_reach: Vec<HostId>,
    turned: u32,
    available: u32,
    todo: Vec<SlotId>,
    /// Nothing to go back to: they were made for the release that is left.
    new: Vec<SlotId>,
}

impl Standing {
    const fn new() -> Self {
        Self {
            missing: 0,
            budget: Budget::new(Limits { unavailable: MOST_DOWN, ..Limits::NONE }),
            out_of_reach: Vec::new(),
            turned: 0,
            available: 0,
            todo: Vec::new(),
            new: Vec::new(),
        }
    }
}

fn back_to(draft: &mut Draft<'_>, from: ReleaseRef, how: GoingBack) {
    let late = past_deadline(draft);
    let one_at_a_time = draft.target().is_some_and(|(_, release)| strategy::is_one_at_a_time(release));
    let recreates = draft.is_exclusive() || one_at_a_time;
    let to = draft.rollout().to.digest;
    rejoin(draft, &from.digest);
    match returning::lead_back(draft, &from.digest, late) {
        Led::Done => {}
        _ if draft.is_full() => return,
        // The other one goes on serving.
        Led::Later | Led::Short if late => return give_up(draft, from, how),
        Led::Short => return in_place::step(draft, from),
        Led::Later => return in_place::note(draft, from),
    }
    // A rollback to the last good release that turns back has nothing to stop: what it left is what it goes to.
    let stops_nothing = !recreates || how == GoingBack::OnlyFailed || to == from.digest;
    let may_start = stops_nothing || has_stopped(draft, &to, late);
    let mut standing = look(draft, &from, how, late, may_start);
    if how != GoingBack::OnlyFailed {
        take_in(draft, &from, &mut standing);
    }
    // What serves nothing yet because its old instance stopped for the new one is turned first, and counts: only then is
    // it known whether one that serves may stop as well.
    let mut todo = std::mem::take(&mut standing.todo);
    todo.sort_by_cached_key(|slot| (draft.facts(slot).serving() != Certainty::No, slot.index));
    for slot in todo {
        if revert(draft, &slot, &from, &mut standing.budget, may_start) {
            standing.turned += 1;
        }
        standing.missing += u32::from(!draft.facts(&slot).is_lost());
    }
    draft.tell_arrived(from, standing.available, standing.turned);
    draft.tell_turned(from);
    let (begun, available) = (standing.turned, standing.available);
    draft.progress(Progress { begun, available, ..Progress::default() });
    let untouched = !draft.rollout().changed && may_start;
    if draft.is_full() {
        return;
    }
    if standing.missing > 0 && !untouched {
        if !past_deadline(draft) {
            return;
        }
        // A host without its engine is brought back later, like one that was lost; it makes no rollback fail.
        if standing.out_of_reach.len() < standing.missing as usize {
            return give_up(draft, from, how);
        }
        draft.rollout().stragglers.extend(std::mem::take(&mut standing.out_of_reach));
    }
    finish(draft, from, how, &standing.new);
}

/// Slots of the release to go back to that were about to be kept for a while are members again.
fn rejoin(draft: &mut Draft<'_>, from: &Digest) {
    for slot in draft.staying() {
        if draft.slots[&slot].is_kept() && draft.slots[&slot].release() == *from {
            draft.apply(&slot, &Transition::Unpair);
        }
    }
}

/// Returns whether all instances of the release that is left have stopped, as far as the good one must not run beside
/// them. At the deadline, hosts out of reach are not waited for any more.
fn has_stopped(draft: &mut Draft<'_>, to: &Digest, late: bool) -> bool {
    let waits_for = match strategy::stop_new(draft, to) {
        Stopping::Done => return true,
        Stopping::On { only_lost } => only_lost,
    };
    if waits_for.is_empty() || !late {
        return false;
    }
    let hosts: Vec<HostId> = waits_for.iter().map(|slot| draft.host(slot)).collect();
    draft.leave_behind(hosts);
    let now = draft.now();
    draft.rollout().progress_at = now;
    true
}

fn look(draft: &mut Draft<'_>, from: &ReleaseRef, how: GoingBack, late: bool, may_start: bool) -> Standing {
    let mut standing = Standing::new();
    // A slot that is kept since an earlier rollout has no part in this one.
    for slot in draft.members() {
        let facts = draft.facts(&slot);
        if facts.is_lost() {
            draft.leave_behind([facts.host().clone()]);
        }
        // Something stopped there for the release that is left, or for this one, so that nothing goes on serving now.
        let stopped = facts.intent.order == Order::StopFirst && !facts.is_lost();
        if stopped && facts.serving() != Certainty::Yes && is_restorable(draft, &slot, &from.digest) {
            standing.budget.is_down(&facts);
        }
        // One that a rollback to the last good release has not begun is no further than any other: what serves there stops.
        if facts.intent.release == from.digest && facts.intent.run != Phase::Pulled {
            look_at_turned(draft, &slot, may_start, &mut standing);
            continue;
        }
        match fate(draft, &slot, how, late) {
            Fate::Stays => keep(draft, &slot),
            Fate::Open(waiting) => {
                draft.wait(waiting);
                standing.missing += 1;
            }
            Fate::Back if is_restorable(draft, &slot, &from.digest) => standing.todo.push(slot),
            Fate::Back => standing.new.push(slot),
        }
    }
    standing
}

/// What was made in the place of slots that went with their hosts stands in for them: it goes back as well, as far as the
/// count from before wants it. Otherwise it would stop, and others would be made, all at once.
fn take_in(draft: &mut Draft<'_>, from: &ReleaseRef, standing: &mut Standing) {
    let Some(release) = draft.release(&from.digest) else { return };
    let new: BTreeSet<SlotId> = standing.new.iter().cloned().collect();
    let stays = |slot: &&Slot| !slot.is_leaving() && !slot.is_kept();
    let back = || draft.slots.values().filter(stays).filter(|slot| !new.contains(slot.id()));
    let mut hosts: BTreeSet<HostId> = back().map(|slot| slot.host().clone()).collect();
    let have = back().count();
    let mut missing = match release.spec.scale {
        Scale::Replicas { min, max } => {
            (draft.rollout().replicas_before.clamp(min, max) as usize).saturating_sub(have)
        }
        Scale::PerHost => usize::MAX,
    };
    let (todo, per_host) = (&mut standing.todo, release.spec.scale == Scale::PerHost);
    standing.new.retain(|slot| {
        let fits = draft.slots[slot].run() == Phase::Running && draft.fits(slot, release);
        if missing == 0 || !fits || (per_host && !hosts.insert(draft.host(slot))) {
            return true;
        }
        missing -= 1;
        todo.push(slot.clone());
        false
    });
}

fn is_restorable(draft: &mut Draft<'_>, slot: &SlotId, from: &Digest) -> bool {
    draft.slots[slot].names(from) || slot.index < draft.rollout().first_new
}

/// Looks after a slot that was turned back, or was never turned away.
fn look_at_turned(draft: &mut Draft<'_>, slot: &SlotId, may_start: bool, standing: &mut Standing) {
    standing.turned += 1;
    if draft.slots[slot].run() != Phase::Running && may_start && draft.may_start(Some(slot)) {
        draft.apply(slot, &Transition::Resume);
    }
    let facts = draft.facts(slot);
    if facts.is_lost() {
        return;
    }
    let waiting = match facts.target() {
        Seen::Available => {
            standing.available += 1;
            draft.arrived(slot);
            let failed = draft.rollout().to.digest;
            let beside = facts.intent.other.is_some_and(|(release, run)| release == failed && run.runs());
            match keeps_failed(draft).filter(|_| beside) {
                Some(until) => draft.apply(slot, &Transition::Keep { until }),
                // What an earlier rollout keeps for a while is no matter of this one.
                None if draft.slots[slot].standby_until().is_some() => false,
                None => draft.apply(slot, &Transition::Forget),
            };
            return;
        }
        Seen::Nothing(waiting) => waiting,
        Seen::Converging(_) | Seen::Failed(_) | Seen::Refused(_) => {
            Waiting::Healthy { host: facts.host().clone(), slot: slot.clone() }
        }
    };
    if facts.is_out_of_reach() {
        standing.out_of_reach.push(facts.host().clone());
    }
    draft.wait(waiting);
    standing.missing += 1;
}

/// How long the instances of the release that failed run on without traffic, so that people can look at them.
fn keeps_failed(draft: &mut Draft<'_>) -> Option<Timestamp> {
    let divided = draft.has_split();
    let failed = draft.rollout().going_back == Some(GoingBack::RolledBack) && divided;
    let (_, release) = draft.target().filter(|_| failed)?;
    Some(draft.now() + release.spec.strategy.keeps_failed()?.duration())
}

/// The old release did not come back everywhere in time. A person looks; from here on it is what the
/// service is at, so that hosts that come or go are cared for.
fn give_up(draft: &mut Draft<'_>, from: ReleaseRef, how: GoingBack) {
    let before = draft.rollout().reason.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{before}; then {} did not become available everywhere", from.counter);
    if guard::holds_from(draft, &from.digest) {
        // It has the place of nobody any more, and no share that would keep requests from what comes beside it.
        draft.service.split = None;
        let left = draft.rollout().to.counter;
        text.push_str(&format!(", so {left} goes on serving until it does"));
    }
    settle(draft, from, how);
    ending::end(draft, State::Failed, Some(Reason::RollbackFailed(text)));
}

fn settle(draft: &mut Draft<'_>, from: ReleaseRef, how: GoingBack) {
    if how != GoingBack::OnlyFailed {
        draft.service.replicas = draft.rollout().replicas_before;
        draft.service.current = Some(from);
    }
}

/// Everything that is to serve, serves: new slots go, and the rollout ends.
fn finish(draft: &mut Draft<'_>, from: ReleaseRef, how: GoingBack, new: &[SlotId]) {
    let until = keeps_failed(draft);
    for slot in new {
        ending::retain_or_drop(draft, slot, until);
    }
    if draft.is_full() || draft.drains() {
        return;
    }
    let state = match how {
        GoingBack::RolledBack => State::RolledBack,
        GoingBack::Aborted => State::Aborted,
        GoingBack::Untouched | GoingBack::OnlyFailed => State::Failed,
    };
    settle(draft, from, how);
    ending::end(draft, state, None);
}
