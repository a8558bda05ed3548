//! Slots that leave a host which drains, or is lost: a few at a time, and which of them cannot.

use crate::id::SlotId;
use crate::placement::Candidates;
use crate::release::Release;
use crate::rollout::exclusive::alone_for;
use crate::rollout::planner::Planner;
use crate::slot::{Cost, DisruptionBudget, Limits, Transition, Waiting};

use super::leaving::leaves;

fn limits(planner: &Planner<'_>, release: &Release) -> Limits {
    let kept = planner.slots.values().filter(|slot| slot.is_kept()).count();
    let total = u32::try_from(planner.slots.len() - kept).unwrap_or(u32::MAX);
    Limits::of(&release.spec.strategy, false, total, total)
}

/// The slots that are down now, and how many may be.
pub(super) fn budget(planner: &Planner<'_>, most: u32) -> DisruptionBudget {
    let members = planner.members();
    DisruptionBudget::of_down(most, members.iter().map(|slot| planner.facts(slot)))
}

/// Those of `alone` that get a replacement now. What is lost does not serve: all of it. Of what drains so many are on
/// their way that no more than `max_surge` run beside their replacements.
pub(super) fn in_turn(planner: &mut Planner<'_>, release: &Release, alone: Vec<SlotId>) -> Vec<SlotId> {
    let (lost, draining): (Vec<_>, Vec<_>) =
        alone.into_iter().partition(|slot| planner.facts(slot).is_lost());
    let on_their_way =
        super::leaving::replaced(planner).iter().filter(|slot| planner.slots.contains_key(*slot)).count();
    let most = limits(planner, release).surge.max(1) as usize;
    let now = most.saturating_sub(on_their_way).min(draining.len());
    lost.into_iter().chain(draining.into_iter().take(now)).collect()
}

/// Says of every slot on a draining host that it stays there, and why.
pub(super) fn say_what_stays(planner: &mut Planner<'_>, release: &Release) {
    if !release.spec.pins_slots() {
        return;
    }
    for slot in planner.slots_that(|slot| planner.is_draining(slot.id())) {
        let host = planner.host(&slot);
        planner.wait(Waiting::Pinned { host, slot });
    }
}

/// Says of every slot on a draining host that it stays there, as its service is between two releases.
pub(super) fn say_what_is_unsettled(planner: &mut Planner<'_>) {
    for slot in planner.slots_that(|slot| planner.is_draining(slot.id())) {
        let host = planner.host(&slot);
        planner.wait(Waiting::Unsettled { host, slot });
    }
}

/// A slot stops, or must have stopped, and goes; then a new one is made elsewhere, as for any that is missing. No more
/// than `max_unavailable` do so at once, and only if there is a place.
pub(super) fn by_stopping(planner: &mut Planner<'_>, release: &Release) {
    let mut budget = budget(planner, limits(planner, release).unavailable);
    for slot in planner.staying() {
        if !leaves(planner, &slot, release) {
            continue;
        }
        if planner.facts(&slot).is_lost() {
            if planner.is_exclusive() {
                leave_lost(planner, &slot);
            }
            continue;
        }
        let runs = planner.facts(&slot).intent.lets_anything_run();
        if runs && !stop(planner, &mut budget, &slot, |planner| has_place(planner, release)) {
            continue;
        }
        match planner.may_run(&slot) {
            None => planner.drop_slot(&slot),
            Some(waiting) => planner.wait(waiting),
        }
    }
}

/// Whether there is a place for a slot before it stops where it is.
fn has_place(planner: &mut Planner<'_>, release: &Release) -> bool {
    let candidates = Candidates::of(planner.snapshot.fleet, release);
    planner.next_place(&mut candidates.fill_again(&planner.taken(), &planner.own())).is_some()
}

/// A service that runs once on every host: on one that drains its slot stops, and goes when nothing of it runs. No more
/// than `max_unavailable` are down at once, as when they are replaced.
pub(super) fn off(planner: &mut Planner<'_>, release: &Release) {
    let mut budget = budget(planner, limits(planner, release).unavailable);
    for slot in planner.staying() {
        if !planner.is_draining(&slot) {
            continue;
        }
        let facts = planner.facts(&slot);
        if facts.is_lost() {
            planner.drop_slot(&slot); // as its host hears when it returns
            continue;
        }
        if facts.intent.lets_anything_run() && !stop(planner, &mut budget, &slot, |_| true) {
            continue;
        }
        let facts = planner.facts(&slot);
        match facts.is_empty() {
            Ok(true) => planner.drop_slot(&slot),
            Ok(false) => planner.wait(Waiting::Stop { host: facts.host().clone(), slot }),
            Err(waiting) => planner.wait(waiting),
        }
    }
}

/// Stops whatever may run in the slot, if enough others serve and nothing else is in the way. Answers whether it did.
fn stop(
    planner: &mut Planner<'_>,
    budget: &mut DisruptionBudget,
    slot: &SlotId,
    may: impl FnOnce(&mut Planner<'_>) -> bool,
) -> bool {
    let facts = planner.facts(slot);
    let cost = Cost::stop(&facts);
    if let Err(waiting) = budget.fits(&facts, cost) {
        planner.wait(waiting);
        return false;
    }
    if !may(planner) {
        return false;
    }
    budget.take(&facts, cost);
    planner.apply(slot, &Transition::Park { makes_way: false });
    true
}

/// Lost for long enough that its instance must have stopped.
fn leave_lost(planner: &mut Planner<'_>, slot: &SlotId) {
    let host = planner.host(slot);
    let silent = planner.snapshot.fleet.member(&host).and_then(alone_for);
    match (silent, planner.fence(slot)) {
        (Some(silent), Some(after)) if silent >= after => planner.forget_slot(slot),
        (Some(silent), Some(after)) => {
            planner.wait(Waiting::Fence { host });
            let due = planner.now() + (after - silent);
            planner.wake(due);
        }
        (None, _) | (_, None) => planner.wait(Waiting::Fence { host }),
    }
}
