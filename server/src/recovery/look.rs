//! Looking at a recovery: the whole of it, and one host.

use std::collections::BTreeSet;

use windlass_core::HostId;
use windlass_core::recovery::differences;
use windlass_core::view::RecoveryView;

use super::proposal::{Choice, propose};
use crate::coordinator::Coordinator;
use crate::ledger::State;

/// Differences of one host that are said in `host show`.
const LINES: usize = 20;

/// The changes that would follow if an admin said that the fleet goes on.
pub(crate) fn preview(coordinator: &Coordinator, keep_store: BTreeSet<HostId>) -> RecoveryView {
    let memory = coordinator.recoveries.snapshot();
    let choice = Choice { only: None, keep_store };
    let now = coordinator.ledger.now();
    coordinator.ledger.read(|state| propose(state, &memory, &choice, now).view)
}

/// The state that a host holds and the store does not, in words; empty if it is not held.
pub(crate) fn of_host(coordinator: &Coordinator, state: &State, host: &HostId) -> Vec<String> {
    let Some((held, mut releases)) = coordinator.recoveries.of(host) else { return Vec::new() };
    releases.extend(state.releases.iter().map(|(digest, release)| (*digest, release.clone())));
    let known = state.plans.get(host).map_or(0, |plan| plan.seq);
    let mut lines = vec![format!("holds plan {}, the store knows {known}", held.plan.seq)];
    let differing = differences(state.slots_on(host), &releases, &held.plan);
    lines.extend(differing.iter().take(LINES).map(ToString::to_string));
    if let Some(more) = differing.len().checked_sub(LINES).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.extend(held.complaints);
    lines
}
