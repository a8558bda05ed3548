//! Removal of rollouts and releases that nothing needs, when a service moves on.

use std::collections::BTreeSet;

use windlass_core::service::Service;
use windlass_core::{Digest, RolloutId};

use crate::ledger::{Change, WriteBatch};

/// Finished rollouts that are remembered per service.
const ROLLOUTS: usize = 20;
/// Releases that were never good and are remembered per service all the same.
const RELEASES: usize = 20;

/// Drops what is too old. The good releases, and whatever a slot or a remembered rollout names, stay.
pub(crate) fn forget(batch: &mut WriteBatch<'_>, service: &Service) {
    let state = batch.state;
    let mut finished: Vec<&RolloutId> = state
        .rollouts
        .values()
        .filter(|rollout| rollout.service == service.id && rollout.state.is_final())
        .map(|rollout| &rollout.id)
        .collect();
    finished.sort_unstable(); // version 7: by time
    finished.truncate(finished.len().saturating_sub(ROLLOUTS));
    let forgotten: BTreeSet<RolloutId> = finished.into_iter().cloned().collect();

    let mut needed: BTreeSet<Digest> =
        service.good.iter().chain(&service.current).map(|name| name.digest).collect();
    for assignment in state.slots.get(&service.id).into_iter().flat_map(|slots| slots.values()) {
        needed.extend(assignment.named());
    }
    for rollout in state.rollouts.values().filter(|rollout| !forgotten.contains(&rollout.id)) {
        needed.insert(rollout.to.digest);
        needed.extend(rollout.from.map(|from| from.digest));
    }
    let mut idle: Vec<_> = state
        .entries
        .values()
        .filter(|entry| entry.service == service.id && !needed.contains(&entry.name.digest))
        .map(|entry| entry.name)
        .collect();
    idle.sort_by_key(|name| name.counter);
    idle.truncate(idle.len().saturating_sub(RELEASES));

    for id in forgotten {
        let written = state.rollouts.get(&id).map_or(0, |rollout| rollout.log.written());
        (0..written).for_each(|n| batch.change(Change::DecisionGone(id.clone(), n)));
        batch.change(Change::RolloutGone(id));
    }
    for name in idle {
        batch.change(Change::ReleaseGone(name.digest));
    }
}
