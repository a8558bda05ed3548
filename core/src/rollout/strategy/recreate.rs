//! Recreate: old and new never run together, in neither direction.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::plan::Phase;
use crate::slot::{Limits, Transition};

use super::super::exclusive;
use super::super::planner::Planner;
use super::counts::{Old, RolloutCounts};
use super::stopping::{Stopping, deadline, is_stopped};

pub(super) fn step(planner: &mut Planner<'_>) {
    let Some(mut tally) = RolloutCounts::look(planner, Old::Rests) else { return };
    if let Stopping::On { only_lost } = stop_all(planner, &tally.to.digest) {
        let only_lost = if tally.is_all_lost() { &[] } else { only_lost.as_slice() };
        return deadline(planner, tally.spec, only_lost);
    }
    exclusive::stop_others(planner, &tally.to.digest);
    tally.begin(planner, Limits::NONE);
    tally.close(planner);
}

/// Stops every old instance, those of slots that will go included, before any new one starts. Where a host is out of
/// reach it is not known, and no release is blamed: at the deadline that host leaves the count.
fn stop_all(planner: &mut Planner<'_>, to: &Digest) -> Stopping {
    let (mut going_on, mut lost) = (false, Vec::new());
    for slot in planner.staying() {
        let facts = planner.facts(&slot);
        let intent = facts.intent;
        let outdated = planner.is_outdated(&slot) && intent.run != Phase::Pulled;
        let old = if &intent.release != to || outdated {
            intent.release
        } else if let Some((before, _)) = intent.other.filter(|_| intent.run == Phase::Pulled) {
            before
        } else {
            continue;
        };
        if planner.is_left_behind(&slot) {
            continue;
        }
        planner.rollout().changed = true;
        planner.apply(&slot, &Transition::Park { makes_way: true });
        if !is_stopped(planner, &slot, &old) {
            if facts.is_out_of_reach() {
                lost.push(slot);
            } else {
                going_on = true;
            }
        }
    }
    so_far(planner, going_on, lost)
}

fn so_far(planner: &Planner<'_>, going_on: bool, lost: Vec<SlotId>) -> Stopping {
    if going_on || planner.is_full() {
        Stopping::On { only_lost: Vec::new() }
    } else if lost.is_empty() {
        Stopping::Done
    } else {
        Stopping::On { only_lost: lost }
    }
}

/// On the way back: stops what runs of the release `to`, which the good one must not run beside. What is on lost hosts,
/// and out of reach on those that left the count, is not waited for.
pub(in crate::rollout) fn stop_new(planner: &mut Planner<'_>, to: &Digest) -> Stopping {
    let (mut going_on, mut out_of_reach) = (false, Vec::new());
    for slot in planner.staying() {
        let facts = planner.facts(&slot);
        let intent = facts.intent;
        let is_second = intent.other.is_some_and(|(release, _)| &release == to);
        let begun = &intent.release == to && intent.run != Phase::Pulled;
        if begun {
            planner.rollout().changed = true;
            planner.apply(&slot, &Transition::Park { makes_way: false });
        }
        let away = facts.is_out_of_reach();
        let left_out = facts.is_lost() || (away && planner.is_left_behind(&slot));
        if !(begun || is_second) || left_out || is_stopped(planner, &slot, to) {
            continue;
        }
        if away {
            out_of_reach.push(slot);
        } else {
            going_on = true;
        }
    }
    so_far(planner, going_on, out_of_reach)
}
