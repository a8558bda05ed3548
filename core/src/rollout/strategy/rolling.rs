//! Rolling: a few slots at a time, within batch, surge and unavailability.

use super::super::exclusive;
use super::super::planner::Planner;
use super::counts::{Old, RolloutCounts};
use crate::slot::Limits;

pub(super) fn step(planner: &mut Planner<'_>) {
    let Some(mut tally) = RolloutCounts::look(planner, Old::Rests) else { return };
    exclusive::stop_others(planner, &tally.to.digest);
    let hurries = RolloutCounts::hurries(planner);
    let limits = Limits::of(&tally.spec.strategy, hurries, tally.total, tally.available);
    tally.begin(planner, limits);
    tally.close(planner);
}
