//! Rolling back: puts every slot back to the last good release, all at once where both instances fit.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::plan::{Order, Phase, Previous};
use crate::service::ReleaseRef;

use super::draft::Draft;
use super::ending;
use super::seen::{Seen, Waiting};
use super::{GoingBack, Reason, State};

pub(super) fn step(draft: &mut Draft<'_>) {
    let how = draft.rollout().going_back.unwrap_or(GoingBack::RolledBack);
    let from = draft.rollout().from;
    match from {
        Some(from) if draft.release(&from.digest).is_some() => back_to(draft, from, how),
        _ => back_to_nothing(draft, how),
    }
}

/// There was nothing good before: what was started stops, and is kept for inspection unless a person
/// asked for the end or nothing was touched.
fn back_to_nothing(draft: &mut Draft<'_>, how: GoingBack) {
    let to = draft.rollout().to.digest;
    let mut stopped = true;
    for slot in draft.slots.keys().cloned().collect::<Vec<_>>() {
        let begun = draft.slots[&slot].want.phase != Phase::Pulled;
        if how == GoingBack::OnlyFailed && matches!(draft.seen(&slot, &to), Seen::Available) {
            continue;
        }
        if how == GoingBack::Aborted || !begun {
            draft.drop_slot(&slot);
            continue;
        }
        draft.edit(&slot, |assignment| {
            assignment.want.phase = Phase::Standby;
            assignment.want.previous = None;
            assignment.want.retry_quarantined = false;
        });
        let release = draft.slots[&slot].want.release;
        stopped &= draft.is_lost(&slot) || draft.is_stopped(&slot, &release).unwrap_or(false);
    }
    if draft.is_full() || !(stopped || past_deadline(draft)) {
        return;
    }
    draft.service.replicas = draft.rollout().replicas_before;
    if how == GoingBack::Aborted {
        draft.service.current = None;
        return ending::end(draft, State::Aborted, None);
    }
    let before = draft.rollout().reason.as_ref().map(ToString::to_string).unwrap_or_default();
    let reason = draft.rollout().changed.then(|| {
        Reason::NothingToGoBackTo(format!("{before}; there is no earlier good release to go back to"))
    });
    ending::end(draft, State::Failed, reason);
}

fn past_deadline(draft: &mut Draft<'_>) -> bool {
    match draft.target() {
        Some((_, release)) => draft.deadline_passed(&release.spec),
        None => true,
    }
}

fn back_to(draft: &mut Draft<'_>, from: ReleaseRef, how: GoingBack) {
    let to = draft.rollout().to.digest;
    let mut missing = 0_u32;
    let mut moving = 0_u32;
    let slots: Vec<SlotId> = draft.slots.keys().cloned().collect();
    for slot in &slots {
        if how == GoingBack::OnlyFailed && matches!(draft.seen(slot, &to), Seen::Available) {
            continue;
        }
        if draft.is_lost(slot) {
            let host = draft.slots[slot].host.clone();
            draft.rollout().stragglers.insert(host);
        }
        if draft.slots[slot].want.release == from.digest && !settle(draft, slot, &from.digest) {
            missing += 1;
            moving += u32::from(draft.slots[slot].want.order == Order::StopFirst);
        }
    }
    let untouched = how == GoingBack::Untouched && !draft.rollout().changed;
    for slot in &slots {
        let want = &draft.slots[slot].want;
        let restorable = want.fallback == Some(from.digest)
            || want.previous.as_ref().is_some_and(|previous| previous.release == from.digest);
        let kept = how == GoingBack::OnlyFailed && matches!(draft.seen(slot, &to), Seen::Available);
        if want.release == from.digest || kept || !restorable {
            continue;
        }
        if !turn(draft, slot, &from, &mut moving) {
            missing += 1;
        } else if !untouched {
            missing += u32::from(!draft.is_lost(slot));
        }
    }
    if draft.is_full() {
        return;
    }
    if missing > 0 {
        if past_deadline(draft) {
            let text = format!("{} did not become available everywhere", from.counter);
            ending::end(draft, State::Failed, Some(Reason::RollbackFailed(text)));
        }
        return;
    }
    finish(draft, from, how, &to);
}

/// Turns one slot back. Answers false if it may not be stopped yet.
fn turn(draft: &mut Draft<'_>, slot: &SlotId, from: &ReleaseRef, moving: &mut u32) -> bool {
    let want = draft.slots[slot].want.clone();
    let Some(release) = draft.release(&from.digest) else { return false };
    let failed = matches!(draft.seen(slot, &want.release), Seen::Failed(_) | Seen::Refused(_));
    let old_runs = want
        .previous
        .as_ref()
        .is_some_and(|previous| previous.release == from.digest && previous.phase == Phase::Running);
    let not_begun = want.phase == Phase::Pulled;
    let other = want.previous.filter(|previous| not_begun && previous.release != from.digest);
    // What still runs beside the old release while that starts.
    let beside = match (failed || old_runs, not_begun) {
        (true, _) => None,
        (false, true) => other.map(|previous| previous.release),
        (false, false) => Some(want.release),
    };
    let order = if beside.is_some() { draft.order(slot, &release.spec) } else { want.order };
    let stops = beside.is_some() && order == Order::StopFirst;
    if stops && *moving > 0 && draft.serves(slot) {
        let host = draft.slots[slot].host.clone();
        draft.wait(Waiting::Room(host));
        return false;
    }
    *moving += u32::from(stops);
    if !not_begun {
        draft.rollout().changed = true;
    }
    draft.edit(slot, |assignment| {
        let want = &mut assignment.want;
        let phase = if order == Order::StopFirst { Phase::Standby } else { Phase::Running };
        want.release = from.digest;
        want.phase = Phase::Running;
        want.good = true;
        want.fallback = None;
        want.order = order;
        want.retry_quarantined = false;
        want.previous = beside.map(|release| Previous { release, phase });
        assignment.standby_until = None;
    });
    true
}

/// Looks after a slot that was turned back. Answers whether it is done.
fn settle(draft: &mut Draft<'_>, slot: &SlotId, from: &Digest) -> bool {
    if draft.is_lost(slot) {
        return true;
    }
    match draft.seen(slot, from) {
        Seen::Available => {
            draft.edit(slot, |assignment| assignment.want.previous = None);
            true
        }
        Seen::Nothing(waiting) => {
            draft.wait(waiting);
            false
        }
        Seen::Converging(_) | Seen::Failed(_) | Seen::Refused(_) => {
            let host = draft.slots[slot].host.clone();
            draft.wait(Waiting::Healthy { host, slot: slot.clone() });
            false
        }
    }
}

/// Everything that is to serve, serves: new slots go, and the rollout ends.
fn finish(draft: &mut Draft<'_>, from: ReleaseRef, how: GoingBack, to: &Digest) {
    for slot in draft.slots.keys().cloned().collect::<Vec<_>>() {
        let kept = how == GoingBack::OnlyFailed && matches!(draft.seen(&slot, to), Seen::Available);
        if draft.slots[&slot].want.release != from.digest && !kept {
            draft.drop_slot(&slot);
        }
    }
    if draft.is_full() {
        return;
    }
    let state = match how {
        GoingBack::RolledBack => State::RolledBack,
        GoingBack::Aborted => State::Aborted,
        GoingBack::Untouched | GoingBack::OnlyFailed => State::Failed,
    };
    if how != GoingBack::OnlyFailed {
        draft.service.replicas = draft.rollout().replicas_before;
        draft.service.current = Some(from);
    }
    ending::end(draft, state, None);
}
