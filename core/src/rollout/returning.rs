//! One of two releases that run side by side gets all of the traffic: on the way back of a rollout, at a rollback to a release
//! that is still warm, and before another rollout begins.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::plan::{Order, Phase};
use crate::slot::{Intent, Seen, Slot, Transition, Waiting};
use crate::traffic::Weight;

use super::draft::Draft;
use super::ending;
use super::model::{Kind, Reason, State};

/// Half of the requests, in thousandths.
const HALF: u16 = 500;

/// Gives `keep` every request, and makes it the target of each slot that runs it; what runs beside it goes on, without
/// traffic. That waits until `keep` is at strength, unless it has most of the requests already, or it is too `late` for that:
/// then it only has to serve. Answers whether it is done.
pub(crate) fn lead_back(draft: &mut Draft<'_>, keep: &Digest, late: bool) -> bool {
    let Some(mut split) = draft.service.split.clone().filter(|split| split.names(keep)) else { return true };
    let strong = is_at_strength(draft, keep) || std::env::var("PLANT").is_ok_and(|p| p == "strength");
    let share = split.share(keep);
    let leads = share == Weight::ALL || share.permille() > HALF && is_served(draft, keep);
    if draft.is_full() || !(strong || late || leads) {
        return false;
    }
    let before = split.clone();
    let away = if *keep == split.old { split.new } else { split.old };
    if std::env::var("PLANT").is_ok_and(|p| p == "abort")
        && draft.rollout.as_ref().is_some_and(|r| r.state == State::RollingBack)
        && split.share(keep) != Weight::ALL
    {
        split.give_all(&away);
    } else {
        split.give_all(keep);
    }
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

/// Whether every slot that is to have an instance of `keep` has one that serves.
fn is_at_strength(draft: &mut Draft<'_>, keep: &Digest) -> bool {
    let mut strong = true;
    let mut lacking = lacking(draft, keep);
    for slot in draft.staying() {
        strong &= is_strong(draft, &slot, keep, &mut lacking);
    }
    strong
}

/// The instances that `keep` has no slot for.
fn lacking(draft: &Draft<'_>, keep: &Digest) -> usize {
    let Some(release) = draft.release(keep) else { return 0 };
    let Some(wanted) = draft.service.replicas_for(release) else { return usize::MAX };
    let has = |slot: &&Slot| !draft.facts(slot.id()).is_out_of_reach() && Intent::from(*slot).has_run(keep);
    (wanted as usize).saturating_sub(draft.slots.values().filter(has).count())
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
fn is_strong(draft: &mut Draft<'_>, slot: &SlotId, keep: &Digest, lacking: &mut usize) -> bool {
    let facts = draft.facts(slot);
    let intent = facts.intent;
    let other = intent.other.filter(|(release, _)| release == keep);
    if facts.is_out_of_reach() {
        return true;
    }
    if &intent.release == keep {
        // One that was about to stop runs on.
        if intent.run != Phase::Running {
            draft.apply(slot, &Transition::Resume);
        }
    } else if let Some((_, run)) = other {
        if run == Phase::Draining {
            retarget(draft, slot, keep);
        } else if !run.runs() {
            return true;
        }
    } else if *lacking > 0 && starts_beside(draft, slot, keep) {
        *lacking -= 1;
    } else {
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

/// Whether an instance of the release is available in any slot.
fn is_served(draft: &mut Draft<'_>, release: &Digest) -> bool {
    let slots = draft.staying();
    slots.iter().any(|slot| matches!(draft.facts(slot).of(release), Seen::Available))
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
    let Some((_, release)) = draft.target() else { return false };
    let deadline = release.spec.progress_deadline;
    let state_since = draft.rollout().state_since;
    let until = draft.counted_from(state_since) + deadline.duration();
    let is_late = draft.now() >= until;
    // A person, or a trigger, wants that release: in the end one instance of it that serves is enough.
    let is_enough = is_late && kind != Kind::Deploy && is_served(draft, &keep);
    if !lead_back(draft, &keep, is_enough) {
        if is_late {
            // Nothing of the new release has begun: the service stays at the one that it kept.
            draft.service.current = draft.service.last_good().or(draft.service.current);
            ending::end(draft, State::Failed, Some(Reason::NotGathered(deadline)));
        } else {
            draft.wake(until);
        }
        return false;
    }
    // The other release has no requests any more. Its instances go once they are no help where one of `keep` is ill.
    if !is_late && !is_at_strength(draft, &keep) {
        draft.wake(until);
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
    // Only now, so that a rollout that turns back before finds them as they were.
    for slot in draft.staying() {
        if draft.slots[&slot].is_kept() {
            draft.apply(&slot, &Transition::Unpair);
        }
    }
    if draft.is_full() {
        return false;
    }
    draft.service.split = None;
    true
}
