//! Recreate: old and new never run together, in neither direction.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::plan::Phase;
use crate::slot::{Limits, Transition};

use super::super::draft::Draft;
use super::super::exclusive;
use super::standing::{Old, Standing};
use super::stopping::{Stopping, deadline, is_stopped};

pub(super) fn step(draft: &mut Draft<'_>) {
    let Some(mut standing) = Standing::look(draft, Old::Rests) else { return };
    if let Stopping::On { only_lost } = stop_all(draft, &standing.to.digest) {
        let only_lost = if standing.is_all_lost() { &[] } else { only_lost.as_slice() };
        return deadline(draft, standing.spec, only_lost);
    }
    exclusive::stop_others(draft, &standing.to.digest);
    standing.begin(draft, Limits::NONE);
    standing.close(draft);
}

/// Stops every old instance, those of slots that will go included, before any new one starts. Where a host is out of
/// reach it is not known, and no release is blamed: at the deadline that host leaves the count.
fn stop_all(draft: &mut Draft<'_>, to: &Digest) -> Stopping {
    let (mut going_on, mut lost) = (false, Vec::new());
    for slot in draft.staying() {
        let facts = draft.facts(&slot);
        let intent = facts.intent;
        let outdated = draft.is_outdated(&slot) && intent.run != Phase::Pulled;
        let old = if &intent.release != to || outdated {
            intent.release
        } else if let Some((before, _)) = intent.other.filter(|_| intent.run == Phase::Pulled) {
            before
        } else {
            continue;
        };
        if draft.is_left_behind(&slot) {
            continue;
        }
        draft.rollout().changed = true;
        draft.apply(&slot, &Transition::Park { makes_way: true });
        if !is_stopped(draft, &slot, &old) {
            if facts.is_out_of_reach() {
                lost.push(slot);
            } else {
                going_on = true;
            }
        }
    }
    so_far(draft, going_on, lost)
}

fn so_far(draft: &Draft<'_>, going_on: bool, lost: Vec<SlotId>) -> Stopping {
    if going_on || draft.is_full() {
        Stopping::On { only_lost: Vec::new() }
    } else if lost.is_empty() {
        Stopping::Done
    } else {
        Stopping::On { only_lost: lost }
    }
}

/// On the way back: stops what runs of the release `to`, which the good one must not run beside. What is on lost hosts,
/// and out of reach on those that left the count, is not waited for.
pub(in crate::rollout) fn stop_new(draft: &mut Draft<'_>, to: &Digest) -> Stopping {
    let (mut going_on, mut out_of_reach) = (false, Vec::new());
    for slot in draft.staying() {
        let facts = draft.facts(&slot);
        let intent = facts.intent;
        let is_second = intent.other.is_some_and(|(release, _)| &release == to);
        let begun = &intent.release == to && intent.run != Phase::Pulled;
        if begun {
            draft.rollout().changed = true;
            draft.apply(&slot, &Transition::Park { makes_way: false });
        }
        let away = facts.is_out_of_reach();
        let left_out = facts.is_lost() || (away && draft.is_left_behind(&slot));
        if !(begun || is_second) || left_out || is_stopped(draft, &slot, to) {
            continue;
        }
        if away {
            out_of_reach.push(slot);
        } else {
            going_on = true;
        }
    }
    so_far(draft, going_on, out_of_reach)
}
