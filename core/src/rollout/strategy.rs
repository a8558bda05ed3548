//! The strategies: how the slots of a rollout come to its release. The only place that asks which one a release has.
//!
//! A strategy looks at the facts, and answers with transitions that its budget admits. ARCHITECTURE.md says how to add one.

mod blue_green;
mod canary;
mod counts;
#[cfg(test)]
mod one_then_all;
mod recreate;
mod rolling;
mod shifting;
mod stopping;

use crate::release::{Release, Strategy};

use super::ending;
use super::hooks::{self, HookProgress as Joined};
use super::model::Kind;
use super::planner::Planner;

pub(super) use recreate::stop_new;
pub(super) use stopping::Stopping;

/// One step of a rollout that advances.
pub(super) fn step(planner: &mut Planner<'_>) {
    let Some((_, release)) = planner.target() else { return };
    if let Joined::Failed(reason) = hooks::catch_up(planner) {
        return ending::on_release_failure(planner, &release.spec, reason);
    }
    match &release.spec.strategy {
        Strategy::Rolling { .. } => rolling::step(planner),
        Strategy::Recreate { .. } => recreate::step(planner),
        // New instances of the same release, and those of a rollback that do not fit beside the others, have no traffic of
        // their own: they replace the others in batches.
        Strategy::BlueGreen { .. } | Strategy::Canary { .. }
            if planner.rollout().is_restart()
                || planner.rollout().kind != Kind::Deploy && !planner.has_split() =>
        {
            rolling::step(planner);
        }
        Strategy::BlueGreen { steps, watch, approve, .. } => {
            blue_green::step(planner, &blue_green::Params { steps, watch: *watch, approve: *approve });
        }
        Strategy::Canary { steps, min_instances, .. } => {
            canary::step(planner, &canary::Params { steps, min_instances: *min_instances });
        }
        #[cfg(test)]
        Strategy::OneThenAll { .. } => one_then_all::step(planner),
    }
}

/// Whether old and new never run together, in neither direction.
pub(super) const fn is_one_at_a_time(release: &Release) -> bool {
    matches!(release.spec.strategy, Strategy::Recreate { .. })
}
