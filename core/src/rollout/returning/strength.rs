//! How strong one of two releases stands that run side by side, and what makes it stronger before it gets the traffic.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::maintain;
use crate::plan::{Order, Phase};
use crate::slot::{Intent, Seen, Slot, Transition, Waiting};
use crate::traffic::Weight;

use super::super::draft::Draft;
use super::super::guard;
use super::super::model::{Kind, State};
use super::super::revert::retarget;

/// How strong a release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// Every slot that is to have an instance of it has one that serves.
    Strong,
    /// Some are on their way.
    Growing,
    /// It lacks instances that the other release has, and no host has room for them.
    Short,
}

/// How strong `keep` stands; what it can have, it gets.
pub(super) fn strength(draft: &mut Draft<'_>, keep: &Digest) -> Strength {
    let mut strong = true;
    let mut lacking = lacking(draft, keep);
    for slot in draft.staying() {
        strong &= is_strong(draft, &slot, keep, &mut lacking);
    }
    if lacking > 0 && is_in_no_hurry(draft, keep) {
        return if make_up(draft, keep, lacking) { Strength::Growing } else { Strength::Short };
    }
    if strong { Strength::Strong } else { Strength::Growing }
}

/// The instances that `keep` has no slot for on a host where something can be done.
pub(crate) fn lacking(draft: &Draft<'_>, keep: &Digest) -> usize {
    let Some(wanted) = wanted(draft, keep) else { return usize::MAX };
    let has = |slot: &&Slot| !draft.facts(slot.id()).is_out_of_reach() && Intent::from(*slot).has_run(keep);
    wanted.saturating_sub(draft.slots.values().filter(has).count())
}

/// How many instances of a release there were to be before the rollout; `None` if it has one on each host.
fn wanted(draft: &Draft<'_>, release: &Digest) -> Option<usize> {
    let Some(release) = draft.release(release) else { return Some(0) };
    let before = draft.rollout.as_ref().map_or(draft.service.replicas, |rollout| rollout.replicas_before);
    let count = release.spec.scale.clamp(before)?;
    Some(count.saturating_sub(draft.service.given_up) as usize)
}

/// Whether the requests are answered as well without `keep`: the other release has all of them, and is at strength. The same if
/// `keep` does not serve at all: then it has no use for them.
fn is_in_no_hurry(draft: &Draft<'_>, keep: &Digest) -> bool {
    let Some(split) = &draft.service.split else { return false };
    let Some(other) = split.beside(keep) else { return false };
    if guard::holds(draft, keep, &other) {
        return true;
    }
    let is_whole = wanted(draft, &other).is_some_and(|wanted| guard::available(draft, &other) >= wanted);
    split.share(&other) == Weight::ALL && is_whole
}

/// Makes instances of `keep` where there is room, in the place of those that are lost. Answers whether it made any. What has a
/// named volume would begin with an empty one.
fn make_up(draft: &mut Draft<'_>, keep: &Digest, lacking: usize) -> bool {
    let Some(release) = draft.release(keep).filter(|_| wanted(draft, keep).is_some()) else { return false };
    if release.spec.pins_slots() {
        return false;
    }
    let replaced: Vec<&SlotId> = draft.slots.values().filter_map(Slot::stands_in_for).collect();
    let is_lost = |slot: &&Slot| {
        &slot.release() == keep
            && !slot.is_kept()
            && !replaced.contains(&slot.id())
            && draft.facts(slot.id()).is_lost()
    };
    let lost = draft.slots.values().filter(is_lost).map(|slot| Some(slot.id().clone()));
    let places: Vec<Option<SlotId>> = lost.chain(std::iter::repeat(None)).take(lacking).collect();
    let before = draft.slots.len();
    maintain::add(draft, *keep, release, places);
    let made = draft.slots.len() > before;
    if made {
        draft.touches_containers();
    }
    made
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
    let starts = order == Order::StartFirst && retarget(draft, slot, keep);
    if starts {
        draft.touches_containers();
    }
    starts
}
