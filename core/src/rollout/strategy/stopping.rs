//! Waiting for old instances to stop, and for hosts that say nothing.

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::release::Spec;
use crate::slot::{SlotFacts, Waiting};

use super::super::ending;
use super::super::planner::Planner;

/// The progress of a stop.
pub(in crate::rollout) enum Stopping {
    /// Nothing of it runs.
    Done,
    /// Something runs, or may.
    On {
        /// The slots that may, if all of them are on hosts out of reach.
        only_lost: Vec<SlotId>,
    },
}

/// Past the deadline, slots on hosts out of reach leave the count if nothing else is waited for; else the rollout failed.
pub(super) fn deadline(planner: &mut Planner<'_>, spec: &Spec, only_lost: &[SlotId]) {
    if !planner.deadline_passed(spec) {
        return;
    }
    if only_lost.is_empty() {
        let Some((to, _)) = planner.target() else { return };
        let reason = ending::no_progress(planner, to, spec);
        ending::on_failure(planner, spec, reason);
        return;
    }
    let hosts: Vec<HostId> = only_lost.iter().map(|slot| planner.host(slot)).collect();
    let now = planner.now();
    planner.leave_behind(hosts);
    planner.rollout().progress_at = now;
    planner.wake(now);
}

/// Waits until `release` does not run in `slot`. Answers whether it does not.
pub(super) fn is_stopped(planner: &mut Planner<'_>, slot: &SlotId, release: &Digest) -> bool {
    let facts = planner.facts(slot);
    has_stopped(planner, &facts, facts.is_stopped(release))
}

/// Waits until no instance is left in the slot that a restart has replaced. Answers whether none is.
pub(super) fn older_is_stopped(planner: &mut Planner<'_>, facts: &SlotFacts<'_>) -> bool {
    has_stopped(planner, facts, facts.older_is_stopped())
}

/// Waits for a stop that is not known to be over. Answers whether it is.
pub(super) fn has_stopped(
    planner: &mut Planner<'_>,
    facts: &SlotFacts<'_>,
    is_over: Result<bool, Waiting>,
) -> bool {
    let waiting = match is_over {
        Ok(true) => return true,
        Ok(false) => Waiting::Stop { host: facts.host().clone(), slot: facts.id().clone() },
        Err(waiting) => waiting,
    };
    planner.wait(waiting);
    false
}
