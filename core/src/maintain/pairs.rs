//! A slot and the one that stands in for it: one of them goes when the other serves.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::SlotId;
use crate::release::{OnReturn, Release};
use crate::rollout::draft::Draft;
use crate::service::ReleaseRef;
use crate::slot::{Seen, Transition};

pub(super) fn settle(draft: &mut Draft<'_>, good: ReleaseRef, release: &Release, moving: &BTreeSet<SlotId>) {
    let stand_ins =
        draft.slots.values().filter_map(|new| Some((new.stands_in_for()?.clone(), new.id().clone())));
    let pairs: BTreeMap<SlotId, SlotId> = stand_ins.collect();
    for (old, new) in pairs {
        let available =
            |draft: &Draft<'_>, slot: &SlotId| draft.facts(slot).of(&good.digest) == Seen::Available;
        if !draft.slots.contains_key(&old) {
            draft.apply(&new, &Transition::Unpair);
            continue;
        }
        // A lost one stays until its host is back, and says what runs there.
        let facts = draft.facts(&old);
        if facts.is_lost() {
            continue;
        }
        let has_failed = matches!(facts.of(&good.digest), Seen::Failed(_));
        let keeps_new =
            moving.contains(&old) || has_failed || release.spec.on_lost.on_return == OnReturn::KeepNew;
        if keeps_new && available(draft, &new) {
            draft.drop_slot(&old);
            if !draft.waits_for_drain(&old) {
                draft.apply(&new, &Transition::Unpair);
            }
        } else if !keeps_new && available(draft, &old) {
            draft.drop_slot(&new);
        }
    }
}
