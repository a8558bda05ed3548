//! Advancing: replaces slots, within batch, surge and unavailability.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::{Refusal, RefusalCode};
use crate::plan::{Order, Phase};
use crate::release::{Spec, Strategy};

use super::draft::Draft;
use super::ending::{self, Faults};
use super::limits::Limits;
use super::seen::Seen;
use super::waiting::Waiting;
use super::{Progress, ROOM_GRACE, Reason, State, Stood, evicted, recreating};

/// How the slots of the new release stand.
#[derive(Default)]
struct Standing {
    total: u32,
    /// Their image is there and nothing is started.
    todo: Vec<SlotId>,
    /// Started and not available yet.
    in_flight: u32,
    available: u32,
    /// Two instances of them run, or may.
    surging: u32,
    /// None of their instances serves, or may not.
    unavailable: u32,
    /// The old instance is still there.
    unfinished: u32,
    /// Of those in flight, the ones on hosts that are out of reach: they hold up the rest until the deadline.
    stuck: u32,
    /// On hosts that are lost or out of reach.
    lost: Vec<SlotId>,
    faults: Faults,
}

impl Standing {
    const fn stood(&self) -> Stood {
        Stood {
            total: self.total,
            available: self.available,
            in_flight: self.in_flight,
            surging: self.surging,
            unavailable: self.unavailable,
        }
    }
}

pub(super) fn step(draft: &mut Draft<'_>) {
    let Some((to, release)) = draft.target() else { return };
    let spec = &release.spec;
    let mut standing = look(draft, &to.digest);
    // What went with its host, and has no place yet, serves nothing either.
    standing.unavailable += evicted::missing(draft, &to.digest, release);
    if ending::is_vacuous(draft, spec, standing.total as usize) {
        return;
    }
    draft.tell_arrived(to, standing.available, standing.total);
    draft.progress(Progress {
        bytes: 0,
        pulled: 0,
        begun: standing.in_flight + standing.available,
        available: standing.available,
    });
    if let Some(reason) = std::mem::take(&mut standing.faults).record(draft) {
        return ending::on_failure(draft, spec, reason);
    }
    if matches!(spec.strategy, Strategy::Recreate { .. }) {
        match recreating::stop_all(draft, &to.digest) {
            recreating::Stopping::Done => {}
            recreating::Stopping::On { only_lost } => {
                let everybody = standing.lost.len() == standing.total as usize;
                return deadline(draft, spec, if everybody { &[] } else { &only_lost });
            }
        }
    }
    super::exclusive::stop_others(draft, &to.digest);
    begin(draft, &to.digest, spec, &mut standing);
    let moving = standing.in_flight > standing.stuck || standing.unfinished > 0;
    if !moving && standing.stuck == 0 && standing.todo.is_empty() && standing.lost.is_empty() {
        draft.go(State::Soaking);
    } else if !draft.is_full() {
        // Where nothing else moves, it is the lost hosts that everything waits for.
        let everybody = standing.lost.len() == standing.total as usize;
        let only_lost = if moving || everybody { &[] } else { standing.lost.as_slice() };
        deadline(draft, spec, only_lost);
    }
}

/// Past the deadline, slots on hosts out of reach leave the count if nothing else is waited for; else it failed.
fn deadline(draft: &mut Draft<'_>, spec: &Spec, only_lost: &[SlotId]) {
    if !draft.deadline_passed(spec) {
        return;
    }
    if only_lost.is_empty() {
        ending::on_failure(draft, spec, Reason::NoProgress(spec.progress_deadline));
        return;
    }
    let hosts: Vec<_> = only_lost.iter().map(|slot| draft.slots[slot].host.clone()).collect();
    let now = draft.now();
    draft.leave_behind(hosts);
    draft.rollout().progress_at = now;
    draft.wake(now);
}

fn look(draft: &mut Draft<'_>, to: &Digest) -> Standing {
    let mut standing = Standing::default();
    for slot in ending::counted(draft, to) {
        standing.total += 1;
        if draft.slots[&slot].want.phase == Phase::Running && !draft.is_outdated(&slot) {
            look_at_begun(draft, to, slot, &mut standing);
            continue;
        }
        standing.unavailable += u32::from(!draft.goes_on_serving(&slot));
        if draft.is_out_of_reach(&slot) {
            standing.lost.push(slot);
        } else {
            standing.todo.push(slot);
        }
    }
    standing
}

fn look_at_begun(draft: &mut Draft<'_>, to: &Digest, slot: SlotId, standing: &mut Standing) {
    let assignment = &draft.slots[&slot];
    let host = assignment.host.clone();
    let start_first = assignment.want.order == Order::StartFirst;
    let previous = assignment.want.previous.clone();
    let waiting = match draft.seen(&slot, to) {
        Seen::Available => return look_at_available(draft, slot, standing),
        Seen::Failed(_) if try_again(draft, &slot) => Waiting::Healthy { host, slot: slot.clone() },
        Seen::Failed(evidence) => return standing.faults.failed(&host, &slot, evidence),
        Seen::Refused(refusal) if is_quarantined(refusal) && try_again(draft, &slot) => {
            Waiting::Healthy { host, slot: slot.clone() }
        }
        Seen::Refused(refusal) if may_make_room(draft, refusal) => Waiting::Room(host),
        Seen::Refused(refusal) => return standing.faults.refused(&host, &slot, refusal),
        Seen::Converging(_) => Waiting::Healthy { host, slot: slot.clone() },
        Seen::Nothing(waiting) => waiting,
    };
    draft.wait(waiting);
    let old_runs =
        previous.is_some_and(|previous| previous.phase == Phase::Running) || draft.rollout().is_restart();
    let out_of_reach = draft.is_out_of_reach(&slot);
    // What this one stands beside may have stopped for another release before, and serve no more.
    let is_alone = old_runs && !draft.goes_on_serving(&slot);
    standing.unavailable += u32::from(!start_first || out_of_reach || is_alone);
    if !draft.is_lost(&slot) {
        standing.in_flight += 1;
        standing.stuck += u32::from(out_of_reach);
        standing.surging += u32::from(start_first && old_runs);
    }
    if out_of_reach {
        standing.lost.push(slot);
    }
}

/// The new instance serves and has proven itself: the old one may stop.
fn look_at_available(draft: &mut Draft<'_>, slot: SlotId, standing: &mut Standing) {
    standing.available += 1;
    draft.arrived(&slot);
    let want = &draft.slots[&slot].want;
    let start_first = want.order == Order::StartFirst;
    let (previous, host) = (want.previous.clone(), draft.slots[&slot].host.clone());
    if draft.rollout().is_restart() {
        // The agent stops it by itself as soon as the new one is available.
        let waiting = match draft.older_is_stopped(&slot) {
            Ok(true) => return,
            Ok(false) => Waiting::Stop { host, slot },
            Err(waiting) => waiting,
        };
        draft.wait(waiting);
        standing.unfinished += 1;
        standing.surging += u32::from(start_first);
        return;
    }
    let Some(previous) = previous else { return };
    draft.edit(&slot, |assignment| {
        if let Some(previous) = &mut assignment.want.previous {
            previous.phase = Phase::Standby;
        }
    });
    if !old_is_stopped(draft, &slot, &previous.release) {
        standing.unfinished += 1;
        standing.surging += u32::from(start_first);
    }
}

const fn is_quarantined(refusal: &Refusal) -> bool {
    matches!(refusal.code, RefusalCode::Quarantined)
}

/// An old instance may still be about to make room; a host that goes on refusing is believed.
fn may_make_room(draft: &mut Draft<'_>, refusal: &Refusal) -> bool {
    if refusal.code != RefusalCode::NoRoom {
        return false;
    }
    let progress_at = draft.rollout().progress_at;
    let until = draft.counted_from(progress_at) + ROOM_GRACE;
    let waits = draft.now() < until;
    if waits {
        draft.wake(until);
    }
    waits
}

/// After a resume, a slot that failed before gets one more try.
fn try_again(draft: &mut Draft<'_>, slot: &SlotId) -> bool {
    let rollout = draft.rollout();
    let asked = rollout.retry_quarantined && rollout.failures.iter().any(|failure| &failure.slot == slot);
    if !asked || draft.slots[slot].want.retry_quarantined {
        return false;
    }
    draft.edit(slot, |assignment| assignment.want.retry_quarantined = true);
    if draft.slots[slot].want.retry_quarantined {
        draft.retried(slot);
    }
    true
}

fn old_is_stopped(draft: &mut Draft<'_>, slot: &SlotId, release: &Digest) -> bool {
    let waiting = match draft.is_stopped(slot, release) {
        Ok(true) => return true,
        Ok(false) => Waiting::Stop { host: draft.slots[slot].host.clone(), slot: slot.clone() },
        Err(waiting) => waiting,
    };
    draft.wait(waiting);
    false
}

/// Begins as many slots as batch, surge and unavailability allow.
fn begin(draft: &mut Draft<'_>, to: &Digest, spec: &Spec, standing: &mut Standing) {
    let kind = draft.rollout().kind;
    let limits = Limits::of(&spec.strategy, kind, standing.total, standing.available);
    let stood = standing.stood();
    let mut todo = std::mem::take(&mut standing.todo);
    todo.sort_by_cached_key(|slot| (draft.may_serve(slot), slot.index));
    for slot in todo {
        let free = standing.in_flight < limits.batch && !draft.is_full();
        if !free || !begin_one(draft, to, spec, standing, &limits, &slot) {
            standing.todo.push(slot);
        }
    }
    draft.tell_begun(stood, &limits);
}

/// Begins one slot if it may be begun now.
fn begin_one(
    draft: &mut Draft<'_>,
    to: &Digest,
    spec: &Spec,
    standing: &mut Standing,
    limits: &Limits,
    slot: &SlotId,
) -> bool {
    // While a host has not taken its newest plan, what it holds is not known.
    if let Err(waiting) = draft.observation(slot) {
        draft.wait(waiting);
        return false;
    }
    if !draft.may_start(Some(slot)) {
        return false;
    }
    let serves = draft.may_serve(slot);
    let may_surge = standing.surging < limits.surge;
    let may_stop = !serves || standing.unavailable < limits.unavailable;
    let want = &draft.slots[slot].want;
    let outdated = draft.is_outdated(slot) && want.phase == Phase::Running;
    let previous = want.previous.as_ref().map(|previous| previous.release);
    let beside = if outdated { Some(want.release) } else { previous };
    // Two run there already, and a slot has room for two: the older one makes way, if the other serves.
    let release = want.release;
    let crowded = outdated && want.previous.as_ref().is_some_and(|previous| previous.phase.runs());
    let generation = draft.rollout().generation;
    let is_torn = crowded && !matches!(draft.seen(slot, &release), Seen::Available);
    let (order, because) = match beside {
        None => (Order::StartFirst, None),
        Some(_) if !may_surge && !may_stop => return false,
        Some(_) if is_torn => (Order::StopFirst, Some("two instances run there already".to_owned())),
        Some(beside) => match draft.start_first(slot, spec, beside) {
            Ok(()) => (Order::StartFirst, None),
            Err(why) => (Order::StopFirst, Some(why.to_string())),
        },
    };
    let allowed = match order {
        Order::StartFirst => beside.is_none() || may_surge,
        Order::StopFirst => may_stop,
    };
    if !allowed {
        return false;
    }
    draft.edit(slot, |assignment| {
        let want = &mut assignment.want;
        debug_assert_eq!(&want.release, to, "only slots of the new release are begun");
        want.phase = Phase::Running;
        want.order = order;
        want.generation = want.generation.max(generation);
        if order == Order::StopFirst || crowded {
            want.previous.iter_mut().for_each(|previous| previous.phase = Phase::Standby);
        }
    });
    if !draft.is_dirty(slot) {
        return false;
    }
    draft.rollout().changed = true;
    draft.began(slot, beside.map(|_| order), because);
    standing.in_flight += 1;
    standing.surging += u32::from(beside.is_some() && order == Order::StartFirst);
    standing.unavailable += u32::from(serves && order == Order::StopFirst);
    true
}
