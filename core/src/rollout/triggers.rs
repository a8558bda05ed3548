//! A release on trial in its rollout: if a trigger fires, the rollout goes back or pauses. One that is paused goes back as well: its
//! release has its share of the requests all the while.

use crate::release::OnFailure;

use super::ending;
use super::model::{Kind, State};
use super::planner::Planner;
use super::trial::{Trial, gpu_errors, restarts};

/// Sends the rollout back, or has it pause, if a trigger fires. Answers whether one did.
pub(crate) fn fires(planner: &mut Planner<'_>) -> bool {
    let Some((to, release)) = planner.target() else { return false };
    let spec = &release.spec;
    let is_good = planner.slots.values().any(|slot| slot.release() == to.digest && slot.is_good());
    let rollout = planner.rollout();
    if !spec.rollback_on.watches() || rollout.kind != Kind::Deploy || rollout.is_to_good() || is_good {
        return false;
    }
    // A trigger that pauses has a person look already.
    if rollout.state == State::Paused && spec.on_failure == OnFailure::Pause {
        return false;
    }
    let since = rollout.counts_from.unwrap_or(rollout.created_at);
    let before = (rollout.restarts_before.clone(), rollout.gpu_errors_before.clone());
    let trial = Trial { release: to, rules: &spec.rollback_on, since, before };
    let Some(reason) = trial.first(planner) else { return false };
    if spec.on_failure == OnFailure::Pause {
        // A person who lets it go on has seen these.
        planner.rollout().restarts_before = restarts(planner, &to.digest);
        planner.rollout().gpu_errors_before = gpu_errors(planner, &to.digest).by_instance;
    }
    ending::on_release_failure(planner, spec, reason);
    true
}
