//! Waiting for old instances to stop, and for hosts that say nothing.

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::release::Spec;
use crate::slot::Waiting;

use super::super::draft::Draft;
use super::super::ending;

/// How far something is from having stopped.
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
pub(super) fn deadline(draft: &mut Draft<'_>, spec: &Spec, only_lost: &[SlotId]) {
    if !draft.deadline_passed(spec) {
        return;
    }
    if only_lost.is_empty() {
        let Some((to, _)) = draft.target() else { return };
        let reason = ending::no_progress(draft, to, spec);
        ending::on_failure(draft, spec, reason);
        return;
    }
    let hosts: Vec<HostId> = only_lost.iter().map(|slot| draft.host(slot)).collect();
    let now = draft.now();
    draft.leave_behind(hosts);
    draft.rollout().progress_at = now;
    draft.wake(now);
}

/// Waits until `release` does not run in `slot`. Answers whether it does not.
pub(super) fn is_stopped(draft: &mut Draft<'_>, slot: &SlotId, release: &Digest) -> bool {
    let waiting = match draft.facts(slot).is_stopped(release) {
        Ok(true) => return true,
        Ok(false) => Waiting::Stop { host: draft.host(slot), slot: slot.clone() },
        Err(waiting) => waiting,
    };
    draft.wait(waiting);
    false
}
