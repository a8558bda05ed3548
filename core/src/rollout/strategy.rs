//! The strategies: how the slots of a rollout come to its release. The only place that asks which one a release has.
//!
//! A strategy looks at the facts, and answers with transitions that its budget admits. ARCHITECTURE.md says how to add one.

mod blue_green;
mod recreate;
mod rolling;
mod standing;
mod stopping;

use crate::release::{Release, Strategy};
use crate::units::Span;

use blue_green::Params;

use super::draft::Draft;

pub(super) use recreate::stop_new;
pub(super) use stopping::Stopping;

/// One step of a rollout that advances.
pub(super) fn step(draft: &mut Draft<'_>) {
    let Some((_, release)) = draft.target() else { return };
    match release.spec.strategy {
        Strategy::Rolling { .. } => rolling::step(draft),
        Strategy::Recreate { .. } => recreate::step(draft),
        // New instances of the same release have no traffic of their own: they replace the old ones in batches.
        Strategy::BlueGreen { .. } if draft.rollout().is_restart() => rolling::step(draft),
        Strategy::BlueGreen { steps, watch, approve, .. } => {
            blue_green::step(draft, &Params { steps, watch: *watch, approve: *approve });
        }
    }
}

/// Whether old and new never run together, in neither direction.
pub(super) const fn is_one_at_a_time(release: &Release) -> bool {
    matches!(release.spec.strategy, Strategy::Recreate { .. })
}

/// Whether the new release stands beside the old one at full strength before it gets any traffic.
pub(super) const fn is_beside(release: &Release) -> bool {
    matches!(release.spec.strategy, Strategy::BlueGreen { .. })
}

/// How long the old instances run on after a deploy of `release` succeeded, if they do.
pub(super) fn keeps_old(release: &Release) -> Option<Span> {
    match &release.spec.strategy {
        Strategy::BlueGreen { keep_old, .. } => Some(*keep_old).filter(|span| *span > Span::ZERO),
        Strategy::Rolling { .. } | Strategy::Recreate { .. } => None,
    }
}
