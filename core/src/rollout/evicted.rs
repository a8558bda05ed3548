//! Hosts that are no members any more: nobody waits for them, and their slots go at once.

use crate::id::SlotId;
use crate::placement::Candidates;
use crate::plan::Phase;
use crate::release::Scale;

use super::draft::Draft;
use super::{Chosen, State};

pub(super) fn step(draft: &mut Draft<'_>) {
    let gone: Vec<SlotId> = draft
        .slots
        .iter()
        .filter(|(_, a)| draft.snapshot.fleet.member(&a.host).is_none())
        .map(|(slot, _)| slot.clone())
        .collect();
    let places = matches!(draft.state(), Some(State::Pending | State::Preparing | State::Advancing));
    for slot in &gone {
        let release = draft.release(&draft.slots[slot].want.release);
        let pins = release.is_some_and(|r| r.spec.pins_slots() && r.spec.scale != Scale::PerHost);
        draft.drop_slot(slot);
        if pins && !places && !draft.slots.contains_key(slot) {
            draft.service.given_up += 1;
        }
    }
    if !gone.is_empty() && matches!(draft.state(), Some(State::Preparing | State::Advancing)) {
        place_again(draft);
    }
}

/// Slots that the new release lost with a host are made elsewhere, if there is a place. What finds none now
/// is left to the care of the service afterwards.
fn place_again(draft: &mut Draft<'_>) {
    let Some((to, release)) = draft.target() else { return };
    let Scale::Replicas { .. } = release.spec.scale else { return };
    let have = draft.slots.values().filter(|a| a.want.release == to.digest).count();
    let wanted = draft.service.replicas as usize;
    let candidates = Candidates::of(draft.snapshot.fleet, release);
    let mut filling = candidates.fill(&draft.taken(), &draft.own());
    for _ in have..wanted {
        let Ok(place) = filling.next_place() else { return };
        let good = draft.rollout().is_to_good();
        let because = Chosen::Best { own: place.own, memory_reserved: place.memory_reserved };
        let host = place.host.clone();
        if let Some(slot) = draft.add_slot(place.host, to.digest, Phase::Pulled, good, place.gpus, None) {
            draft.placed(&slot, &host, because);
        }
    }
}
