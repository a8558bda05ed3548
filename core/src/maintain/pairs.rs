//! A slot and the one that stands in for it: one of them goes when the other serves.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::SlotId;
use crate::release::{OnReturn, Release};
use crate::rollout::planner::Planner;
use crate::service::ReleaseRef;
use crate::slot::{Seen, Transition};

pub(super) fn resolve(
    planner: &mut Planner<'_>,
    good: ReleaseRef,
    release: &Release,
    moving: &BTreeSet<SlotId>,
) {
    let stand_ins =
        planner.slots.values().filter_map(|new| Some((new.stands_in_for()?.clone(), new.id().clone())));
    let pairs: BTreeMap<SlotId, SlotId> = stand_ins.collect();
    for (old, new) in pairs {
        let available =
            |planner: &Planner<'_>, slot: &SlotId| planner.facts(slot).of(&good.digest) == Seen::Available;
        if !planner.slots.contains_key(&old) {
            planner.apply(&new, &Transition::Unpair);
            continue;
        }
        // A lost one stays until its host is back, and says what runs there.
        let facts = planner.facts(&old);
        if facts.is_lost() {
            continue;
        }
        let has_failed = matches!(facts.of(&good.digest), Seen::Failed(_));
        let keeps_new =
            moving.contains(&old) || has_failed || release.spec.on_lost.on_return == OnReturn::KeepNew;
        if keeps_new && available(planner, &new) {
            planner.drop_slot(&old);
            if !planner.waits_for_drain(&old) {
                planner.apply(&new, &Transition::Unpair);
            }
        } else if !keeps_new && available(planner, &old) {
            planner.drop_slot(&new);
        }
    }
}
