//! One decision about one service.

use super::model::{Advance, Snapshot, State};
use super::planner::Planner;
use super::{
    devices, ending, exclusive, hooks, older, placing, preparing, rolling_back, soaking, strategy, triggers,
};
use crate::maintain;

/// Decides what comes next for one service: its rollout's next step, or, without a rollout, the care
/// of its slots (hosts that came, went, drain or were lost).
pub fn advance(snapshot: &Snapshot<'_>) -> Advance {
    let mut planner = Planner::new(snapshot);
    // Each turn ends with less to do: states only move forward within one call. The bound is there so
    // that a mistake here shows as a late step and never as a loop.
    for _ in 0..8 {
        let before = (planner.state(), planner.touched.len());
        planner.begin_turn();
        step(&mut planner);
        if planner.is_full() || before == (planner.state(), planner.touched.len()) {
            break;
        }
    }
    planner.finish()
}

/// Only places the slots of a pending rollout, one step's worth. For previews.
pub fn place_only(snapshot: &Snapshot<'_>) -> Advance {
    let mut planner = Planner::new(snapshot);
    if planner.state() == Some(State::Pending) {
        placing::place(&mut planner);
    }
    planner.finish()
}

fn step(planner: &mut Planner<'_>) {
    maintain::evicted(planner);
    exclusive::sweep(planner);
    hooks::follow(planner);
    devices::replace_lost(planner);
    older::let_go(planner);
    match planner.state() {
        Some(State::Pending) => placing::place(planner),
        Some(State::Preparing) => preparing::step(planner),
        Some(State::Advancing | State::Soaking | State::Paused) if triggers::fires(planner) => {}
        Some(State::Advancing) => strategy::step(planner),
        Some(State::Soaking) => soaking::step(planner),
        Some(State::Paused) => ending::watch(planner),
        Some(State::RollingBack) => rolling_back::step(planner),
        Some(State::Succeeded | State::RolledBack | State::Aborted | State::Failed | State::Superseded)
        | None => maintain::step(planner),
    }
}
