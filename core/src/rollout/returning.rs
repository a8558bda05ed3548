//! One of two releases that run side by side gets all of the traffic: on the way back of a rollout, at a rollback to a release
//! that is still warm, and before another rollout begins.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::plan::{Order, Phase};
use crate::slot::{Seen, Transition, Waiting};

use super::draft::Draft;
use super::ending;
use super::model::{Kind, Reason, State};

/// Gives `keep` every request, and makes it the target of each slot that runs it; what runs beside it goes on, without
/// traffic. That waits until `keep` is at strength, unless it is too `late` for that. Answers whether it is done.
pub(crate) fn lead_back(draft: &mut Draft<'_>, keep: &Digest, late: bool) -> bool {
    let Some(mut split) = draft.service.split.clone().filter(|split| split.names(keep)) else { return true };
    let mut strong = true;
    for slot in draft.staying() {
        strong &= is_strong(draft, &slot, keep);
    }
    if draft.is_full() || (!strong && !late) {
        return false;
    }
    let before = split.clone();
    split.give_all(keep);
    if split != before {
        tell(draft, &split);
        draft.service.split = Some(split);
        draft.touches_containers();
    }
    for slot in draft.staying() {
        let at = &draft.slots[&slot];
        if at.release() != *keep && at.other().is_some_and(|other| &other.release == keep && other.run.runs())
        {
            retarget(draft, &slot, keep);
        }
    }
    !draft.is_full()
}

/// Makes `keep` the target of a slot; what ran as its target runs on beside it.
fn retarget(draft: &mut Draft<'_>, slot: &SlotId, keep: &Digest) -> bool {
    let at = &draft.slots[slot];
    let beside = Some(at.release()).filter(|_| at.run().runs());
    let revert = Transition::Revert { to: *keep, beside, order: Order::StartFirst, starts: true };
    draft.apply(slot, &revert)
}

fn tell(draft: &mut Draft<'_>, split: &crate::traffic::Split) {
    let Some(release) = draft.release(&split.new) else { return };
    let counter = release.counter;
    if draft.rollout.is_some() {
        draft.tell_weighed(counter, split.weight, None, 0);
    }
}

/// Whether the slot has an instance of `keep` that serves, or is not to have one. An instance of it that stands still starts.
/// Nothing is waited for where nothing can be done.
fn is_strong(draft: &mut Draft<'_>, slot: &SlotId, keep: &Digest) -> bool {
    let facts = draft.facts(slot);
    let intent = facts.intent;
    let other = intent.other.filter(|(release, _)| release == keep);
    if facts.is_out_of_reach() {
        return true;
    }
    if &intent.release == keep {
        if !intent.run.runs() {
            draft.apply(slot, &Transition::Resume);
        }
    } else if let Some((_, run)) = other {
        if run == Phase::Draining {
            retarget(draft, slot, keep);
        } else if !run.runs() {
            return true;
        }
    } else if !starts_beside(draft, slot, keep) {
        return true;
    }
    match draft.facts(slot).of(keep) {
        Seen::Available => true,
        Seen::Nothing(waiting) => {
            draft.wait(waiting);
            false
        }
        Seen::Converging(_) | Seen::Failed(_) | Seen::Refused(_) => {
            draft.wait(Waiting::Healthy { host: facts.host().clone(), slot: slot.clone() });
            false
        }
    }
}

/// A rollback starts an instance beside one in a slot that was made after the release it goes to, if there is room for both.
/// Answers whether it does.
fn starts_beside(draft: &mut Draft<'_>, slot: &SlotId, keep: &Digest) -> bool {
    let rollout = draft.rollout();
    let begins =
        rollout.kind == Kind::Rollback && rollout.state == State::Pending && &rollout.to.digest == keep;
    let (Some(release), Some(member)) = (draft.release(keep).filter(|_| begins), draft.member_of(slot))
    else {
        return false;
    };
    let beside = draft.slots[slot].release();
    if !release.spec.placement.allows(draft.slots[slot].host(), &member.facts.labels) {
        return false;
    }
    let (order, _) = draft.order(slot, &release.spec, Some(beside));
    order == Order::StartFirst && retarget(draft, slot, keep)
}

/// Before a rollout places anything, one release serves alone: the one it goes to if that still runs, else the last good one.
/// Answers whether that is so.
pub(crate) fn gather(draft: &mut Draft<'_>) -> bool {
    let Some(split) = draft.service.split.clone() else { return true };
    let (kind, to) = (draft.rollout().kind, draft.rollout().to.digest);
    let good = draft.service.last_good().map(|good| good.digest);
    let keep = Some(to).filter(|to| kind != Kind::Deploy && split.names(to)).or(good);
    let Some(keep) = keep.filter(|keep| split.names(keep) && draft.release(keep).is_some()) else {
        draft.service.split = None;
        return true;
    };
    if !lead_back(draft, &keep, false) {
        let Some((_, release)) = draft.target() else { return false };
        let deadline = release.spec.progress_deadline;
        let state_since = draft.rollout().state_since;
        let until = draft.counted_from(state_since) + deadline.duration();
        if draft.now() < until {
            draft.wake(until);
        } else {
            ending::end(draft, State::Failed, Some(Reason::NotGathered(deadline)));
        }
        return false;
    }
    for slot in draft.staying() {
        let at = &draft.slots[&slot];
        if at.release() != keep {
            // It was made for the release that is left.
            draft.drop_slot(&slot);
        } else if at.other().is_some_and(|other| other.run.runs()) {
            draft.apply(&slot, &Transition::Forget);
        }
    }
    if draft.is_full() || draft.drains() {
        return false;
    }
    draft.service.split = None;
    true
}
