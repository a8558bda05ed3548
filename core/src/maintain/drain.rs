//! Slots that leave a host which drains, or is lost: a few at a time, and which of them cannot.

use crate::id::SlotId;
use crate::placement::Candidates;
use crate::release::Release;
use crate::rollout::draft::Draft;
use crate::rollout::exclusive::alone_for;
use crate::rollout::places::why_nowhere;
use crate::slot::{Budget, Cost, Limits, Transition, Waiting};

use super::leaving::leaves;

fn limits(draft: &Draft<'_>, release: &Release) -> Limits {
    let kept = draft.slots.values().filter(|slot| slot.is_kept()).count();
    let total = u32::try_from(draft.slots.len() - kept).unwrap_or(u32::MAX);
    Limits::of(&release.spec.strategy, false, total, total)
}

/// The slots that are down now, and how many may be.
pub(super) fn budget(draft: &Draft<'_>, most: u32) -> Budget {
    let members = draft.members();
    Budget::of_down(most, members.iter().map(|slot| draft.facts(slot)))
}

/// Those of `alone` that get a replacement now. What is lost does not serve: all of it. Of what drains so many are on
/// their way that no more than `max_surge` run beside their replacements.
pub(super) fn in_turn(draft: &mut Draft<'_>, release: &Release, alone: Vec<SlotId>) -> Vec<SlotId> {
    let (lost, draining): (Vec<_>, Vec<_>) = alone.into_iter().partition(|slot| draft.facts(slot).is_lost());
    let on_their_way =
        super::leaving::replaced(draft).iter().filter(|slot| draft.slots.contains_key(*slot)).count();
    let most = limits(draft, release).surge.max(1) as usize;
    let now = most.saturating_sub(on_their_way).min(draining.len());
    lost.into_iter().chain(draining.into_iter().take(now)).collect()
}

/// Says of every slot on a draining host that it stays there, and why.
pub(super) fn say_what_stays(draft: &mut Draft<'_>, release: &Release) {
    if !release.spec.pins_slots() {
        return;
    }
    let slots: Vec<SlotId> = draft.slots.keys().filter(|slot| draft.is_draining(slot)).cloned().collect();
    for slot in slots {
        let host = draft.host(&slot);
        draft.wait(Waiting::Pinned { host, slot });
    }
}

/// A slot stops, or must have stopped, and goes; then a new one is made elsewhere, as for any that is missing. No more
/// than `max_unavailable` do so at once, and only if there is a place.
pub(super) fn by_stopping(draft: &mut Draft<'_>, release: &Release) {
    let mut budget = budget(draft, limits(draft, release).unavailable);
    for slot in draft.staying() {
        if !leaves(draft, &slot, release) {
            continue;
        }
        if draft.facts(&slot).is_lost() {
            if draft.is_exclusive() {
                leave_lost(draft, &slot);
            }
            continue;
        }
        let runs = draft.facts(&slot).intent.lets_anything_run();
        if runs && !stop(draft, &mut budget, &slot, |draft| has_place(draft, release)) {
            continue;
        }
        match draft.may_run(&slot) {
            None => draft.drop_slot(&slot),
            Some(waiting) => draft.wait(waiting),
        }
    }
}

/// Whether there is a place for a slot before it stops where it is.
fn has_place(draft: &mut Draft<'_>, release: &Release) -> bool {
    let candidates = Candidates::of(draft.snapshot.fleet, release);
    let place = candidates.fill_again(&draft.taken(), &draft.own()).next_place();
    if let Err(refused) = place {
        draft.wait(Waiting::Place(why_nowhere(&refused)));
        draft.wake_soon();
        return false;
    }
    true
}

/// A service that runs once on every host: on one that drains its slot stops, and goes when nothing of it runs. No more
/// than `max_unavailable` are down at once, as when they are replaced.
pub(super) fn off(draft: &mut Draft<'_>, release: &Release) {
    let mut budget = budget(draft, limits(draft, release).unavailable);
    for slot in draft.staying() {
        if !draft.is_draining(&slot) {
            continue;
        }
        let facts = draft.facts(&slot);
        if facts.is_lost() {
            draft.drop_slot(&slot); // as its host hears when it returns
            continue;
        }
        if facts.intent.lets_anything_run() && !stop(draft, &mut budget, &slot, |_| true) {
            continue;
        }
        let facts = draft.facts(&slot);
        match facts.is_empty() {
            Ok(true) => draft.drop_slot(&slot),
            Ok(false) => draft.wait(Waiting::Stop { host: facts.host().clone(), slot }),
            Err(waiting) => draft.wait(waiting),
        }
    }
}

/// Stops whatever may run in the slot, if enough others serve and nothing else is in the way. Answers whether it did.
fn stop(
    draft: &mut Draft<'_>,
    budget: &mut Budget,
    slot: &SlotId,
    may: impl FnOnce(&mut Draft<'_>) -> bool,
) -> bool {
    let facts = draft.facts(slot);
    let cost = Cost::stop(&facts);
    if let Err(waiting) = budget.fits(&facts, cost) {
        draft.wait(waiting);
        return false;
    }
    if !may(draft) {
        return false;
    }
    budget.take(&facts, cost);
    draft.apply(slot, &Transition::Park { makes_way: false });
    true
}

/// Lost for long enough that its instance must have stopped.
fn leave_lost(draft: &mut Draft<'_>, slot: &SlotId) {
    let host = draft.host(slot);
    let silent = draft.snapshot.fleet.member(&host).and_then(alone_for);
    match (silent, draft.fence(slot)) {
        (Some(silent), Some(after)) if silent >= after => draft.forget_slot(slot),
        (Some(silent), Some(after)) => {
            draft.wait(Waiting::Fence { host });
            let due = draft.now() + (after - silent);
            draft.wake(due);
        }
        (None, _) | (_, None) => draft.wait(Waiting::Fence { host }),
    }
}
