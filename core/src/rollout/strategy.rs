//! The strategies: how the slots of a rollout come to its release. The only place that asks which one a release has.
//!
//! A strategy looks at the facts, and answers with transitions that its budget admits. ARCHITECTURE.md says how to add one.

mod blue_green;
mod canary;
#[cfg(test)]
mod one_then_all;
mod recreate;
mod rolling;
mod shifting;
mod standing;
mod stopping;

use crate::release::{Release, Strategy};

use super::draft::Draft;
use super::ending;
use super::hooks::{self, Standing as Joined};
use super::model::Kind;

pub(super) use recreate::stop_new;
pub(super) use stopping::Stopping;

/// One step of a rollout that advances.
pub(super) fn step(draft: &mut Draft<'_>) {
    let Some((_, release)) = draft.target() else { return };
    if let Joined::Failed(reason) = hooks::catch_up(draft) {
        return ending::on_release_failure(draft, &release.spec, reason);
    }
    match &release.spec.strategy {
        Strategy::Rolling { .. } => rolling::step(draft),
        Strategy::Recreate { .. } => recreate::step(draft),
        // New instances of the same release, and those of a rollback that do not fit beside the others, have no traffic of
        // their own: they replace the others in batches.
        Strategy::BlueGreen { .. } | Strategy::Canary { .. }
            if draft.rollout().is_restart() || draft.rollout().kind != Kind::Deploy && !draft.has_split() =>
        {
            rolling::step(draft);
        }
        Strategy::BlueGreen { steps, watch, approve, .. } => {
            blue_green::step(draft, &blue_green::Params { steps, watch: *watch, approve: *approve });
        }
        Strategy::Canary { steps, min_instances, .. } => {
            canary::step(draft, &canary::Params { steps, min_instances: *min_instances });
        }
        #[cfg(test)]
        Strategy::OneThenAll { .. } => one_then_all::step(draft),
    }
}

/// Whether old and new never run together, in neither direction.
pub(super) const fn is_one_at_a_time(release: &Release) -> bool {
    matches!(release.spec.strategy, Strategy::Recreate { .. })
}
