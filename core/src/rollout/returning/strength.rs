//! The strength of one of two releases that run side by side, and the steps that make it stronger before it gets the traffic.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::maintain;
use crate::plan::{Order, Phase};
use crate::slot::{Intent, Seen, Slot, Transition, Waiting};
use crate::traffic::Weight;

use super::super::guard;
use super::super::model::{Kind, State};
use super::super::planner::Planner;
use super::super::revert::retarget;

/// The strength of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// Every slot that is to have an instance of it has one that serves.
    Strong,
    /// Some are on their way.
    Growing,
    /// It lacks instances that the other release has, and no host has room for them.
    Short,
}

/// The strength of `keep`; it gets all that it can have.
pub(super) fn strength(planner: &mut Planner<'_>, keep: &Digest) -> Strength {
    let mut strong = true;
    let mut lacking = lacking(planner, keep);
    for slot in planner.staying() {
        strong &= is_strong(planner, &slot, keep, &mut lacking);
    }
    if lacking > 0 && is_in_no_hurry(planner, keep) {
        return if make_up(planner, keep, lacking) { Strength::Growing } else { Strength::Short };
    }
    if strong { Strength::Strong } else { Strength::Growing }
}

/// The instances that `keep` has no slot for on a host where something can be done.
pub(crate) fn lacking(planner: &Planner<'_>, keep: &Digest) -> usize {
    let Some(wanted) = wanted(planner, keep) else { return usize::MAX };
    let has = |slot: &&Slot| !planner.facts(slot.id()).is_out_of_reach() && Intent::from(*slot).has_run(keep);
    wanted.saturating_sub(planner.slots.values().filter(has).count())
}

/// The desired instances of a release before the rollout; `None` if it has one on each host.
fn wanted(planner: &Planner<'_>, release: &Digest) -> Option<usize> {
    let Some(release) = planner.release(release) else { return Some(0) };
    let before = planner.rollout.as_ref().map_or(planner.service.replicas, |rollout| rollout.replicas_before);
    let count = release.spec.scale.clamp(before)?;
    Some(count.saturating_sub(planner.service.given_up) as usize)
}

/// Whether the requests are answered as well without `keep`: the other release has all of them, and is at strength. The same if
/// `keep` does not serve at all: then it has no use for them.
fn is_in_no_hurry(planner: &Planner<'_>, keep: &Digest) -> bool {
    let Some(split) = &planner.service.split else { return false };
    let Some(other) = split.beside(keep) else { return false };
    if guard::holds(planner, keep, &other) {
        return true;
    }
    let is_whole = wanted(planner, &other).is_some_and(|wanted| guard::available(planner, &other) >= wanted);
    split.share(&other) == Weight::ALL && is_whole
}

/// Makes instances of `keep` where there is room, in the place of those that are lost. Answers whether it made any. What has a
/// named volume would begin with an empty one.
fn make_up(planner: &mut Planner<'_>, keep: &Digest, lacking: usize) -> bool {
    let Some(release) = planner.release(keep).filter(|_| wanted(planner, keep).is_some()) else {
        return false;
    };
    if release.spec.pins_slots() {
        return false;
    }
    let replaced: Vec<&SlotId> = planner.slots.values().filter_map(Slot::stands_in_for).collect();
    let is_lost = |slot: &&Slot| {
        &slot.release() == keep
            && !slot.is_kept()
            && !replaced.contains(&slot.id())
            && planner.facts(slot.id()).is_lost()
    };
    let lost = planner.slots.values().filter(is_lost).map(|slot| Some(slot.id().clone()));
    let places: Vec<Option<SlotId>> = lost.chain(std::iter::repeat(None)).take(lacking).collect();
    let before = planner.slots.len();
    maintain::add(planner, *keep, release, places);
    let made = planner.slots.len() > before;
    if made {
        planner.touches_containers();
    }
    made
}

/// Whether the slot has an instance of `keep` that serves, or is not to have one. An instance of it that stands still starts.
/// Nothing is waited for where nothing can be done.
fn is_strong(planner: &mut Planner<'_>, slot: &SlotId, keep: &Digest, lacking: &mut usize) -> bool {
    let facts = planner.facts(slot);
    let intent = facts.intent;
    let other = intent.other.filter(|(release, _)| release == keep);
    if facts.is_out_of_reach() {
        return true;
    }
    if &intent.release == keep {
        // One that was about to stop runs on.
        if intent.run != Phase::Running {
            planner.apply(slot, &Transition::Resume);
        }
    } else if let Some((_, run)) = other {
        if run == Phase::Draining {
            retarget(planner, slot, keep);
        } else if !run.runs() {
            return true;
        }
    } else if *lacking > 0 && starts_beside(planner, slot, keep) {
        *lacking -= 1;
    } else {
        return true;
    }
    match planner.facts(slot).of(keep) {
        Seen::Available => true,
        Seen::Nothing(waiting) => {
            planner.wait(waiting);
            false
        }
        Seen::Converging(_) | Seen::Failed(_) | Seen::Refused(_) => {
            planner.wait(Waiting::Healthy { host: facts.host().clone(), slot: slot.clone() });
            false
        }
    }
}

/// A rollback starts an instance beside one in a slot that was made after the release it goes to, if there is room for both.
/// Answers whether it does.
fn starts_beside(planner: &mut Planner<'_>, slot: &SlotId, keep: &Digest) -> bool {
    let rollout = planner.rollout();
    let begins =
        rollout.kind == Kind::Rollback && rollout.state == State::Pending && &rollout.to.digest == keep;
    let (Some(release), Some(member)) = (planner.release(keep).filter(|_| begins), planner.member_of(slot))
    else {
        return false;
    };
    let beside = planner.slots[slot].release();
    if !release.spec.placement.allows(planner.slots[slot].host(), &member.facts.labels) {
        return false;
    }
    let (order, _) = planner.order(slot, &release.spec, Some(beside));
    let starts = order == Order::StartFirst && retarget(planner, slot, keep);
    if starts {
        planner.touches_containers();
    }
    starts
}
