//! The strategies: how the slots of a rollout come to its release. The only place that asks which one a release has.
//!
//! A strategy looks at the facts, and answers with transitions that its budget admits. ARCHITECTURE.md says how to add one.

mod recreate;
mod rolling;
mod standing;

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::release::{Release, Spec, Strategy};

use super::draft::Draft;
use super::ending;

pub(super) use recreate::stop_new;

/// How far something is from having stopped.
pub(super) enum Stopping {
    /// Nothing of it runs.
    Done,
    /// Something runs, or may.
    On {
        /// The slots that may, if all of them are on hosts out of reach.
        only_lost: Vec<SlotId>,
    },
}

/// One step of a rollout that advances.
pub(super) fn step(draft: &mut Draft<'_>) {
    let Some((_, release)) = draft.target() else { return };
    match release.spec.strategy {
        Strategy::Rolling { .. } => rolling::step(draft),
        Strategy::Recreate { .. } => recreate::step(draft),
    }
}

/// Whether old and new never run together, in neither direction.
pub(super) const fn is_one_at_a_time(release: &Release) -> bool {
    matches!(release.spec.strategy, Strategy::Recreate { .. })
}

/// Past the deadline, slots on hosts out of reach leave the count if nothing else is waited for; else the rollout failed.
fn deadline(draft: &mut Draft<'_>, spec: &Spec, only_lost: &[SlotId]) {
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
fn is_stopped(draft: &mut Draft<'_>, slot: &SlotId, release: &Digest) -> bool {
    let waiting = match draft.facts(slot).is_stopped(release) {
        Ok(true) => return true,
        Ok(false) => crate::slot::Waiting::Stop { host: draft.host(slot), slot: slot.clone() },
        Err(waiting) => waiting,
    };
    draft.wait(waiting);
    false
}
