//! Step 10, for all slots of a service on one host together: the release says how many instances the coordinator may have
//! without a new signature. A host sees its own slots only; that two hosts together run more is the coordinator's to keep.

use std::collections::BTreeMap;

use super::refusal;
use crate::digest::Digest;
use crate::id::{ServiceId, SlotId};
use crate::observation::{Refusal, RefusalCode};
use crate::plan::{Order, PlanSlot};
use crate::release::{Release, Scale, Strategy};

/// Slots whose releases nobody has signed for so many instances on this host, with the refusal of each. `made` are the slots
/// that have an instance here: they stay within the number before those that are new.
pub fn beyond_delegation<'a>(
    slots: &[PlanSlot],
    release: impl Fn(&Digest) -> Option<&'a Release>,
    made: impl Fn(&SlotId) -> bool,
) -> BTreeMap<SlotId, Refusal> {
    let mut services: BTreeMap<&ServiceId, Vec<(&PlanSlot, &Release)>> = BTreeMap::new();
    for slot in slots.iter().filter(|slot| slot.phase.runs()) {
        if let Some(release) = release(&slot.release).filter(|it| it.service_id() == slot.slot.service) {
            services.entry(&slot.slot.service).or_default().push((slot, release));
        }
    }
    let mut refused = BTreeMap::new();
    for (service, mut running) in services {
        let most = running.iter().map(|(_, release)| most_slots(release)).max().unwrap_or_default();
        running.sort_by_key(|(slot, _)| !made(&slot.slot));
        let within = usize::try_from(most).unwrap_or(usize::MAX);
        for (slot, _) in running.iter().skip(within) {
            let detail =
                format!("`{service}` is signed for at most {most} instances on one host, the plan has more");
            refused.insert(slot.slot.clone(), refusal(RefusalCode::UnsignedRelease, detail));
        }
        for (slot, _) in running.iter().filter(|(slot, release)| release.spec.exclusive && overlaps(slot)) {
            let detail =
                format!("`{service}` is exclusive, and the plan starts a second instance beside the first");
            refused.insert(slot.slot.clone(), refusal(RefusalCode::UnsignedRelease, detail));
        }
    }
    refused
}

/// The number of slots of a release that may run on one host. Two instances of one slot are one: while one replaces the other, both
/// run.
fn most_slots(release: &Release) -> u32 {
    if release.spec.exclusive {
        return 1;
    }
    let most = match release.spec.scale {
        Scale::Replicas { max, .. } => max,
        Scale::PerHost => 1,
    };
    let surge = if let Strategy::Rolling { max_surge, .. } = release.spec.strategy {
        max_surge.of_up(most)
    } else {
        // A slot that moves away beside one that is replaced.
        u32::from(release.spec.strategy.pace().is_some())
    };
    most.saturating_add(surge)
}

fn overlaps(slot: &PlanSlot) -> bool {
    slot.order == Order::StartFirst && slot.previous.as_ref().is_some_and(|previous| previous.phase.runs())
}
