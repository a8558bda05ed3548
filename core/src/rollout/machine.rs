//! One decision about one service.

use super::draft::Draft;
use super::model::{Advance, Snapshot, State};
use super::{
    devices, ending, exclusive, hooks, placing, preparing, rolling_back, soaking, strategy, triggers,
};
use crate::maintain;

/// Decides what comes next for one service: its rollout's next step, or, without a rollout, the care
/// of its slots (hosts that came, went, drain or were lost).
pub fn advance(snapshot: &Snapshot<'_>) -> Advance {
    let mut draft = Draft::new(snapshot);
    // Each turn ends with less to do: states only move forward within one call. The bound is there so
    // that a mistake here shows as a late step and never as a loop.
    for _ in 0..8 {
        let before = (draft.state(), draft.touched.len());
        draft.begin_turn();
        step(&mut draft);
        if draft.is_full() || before == (draft.state(), draft.touched.len()) {
            break;
        }
    }
    draft.finish()
}

/// Only places the slots of a pending rollout, one step's worth. For previews.
pub fn place_only(snapshot: &Snapshot<'_>) -> Advance {
    let mut draft = Draft::new(snapshot);
    if draft.state() == Some(State::Pending) {
        placing::place(&mut draft);
    }
    draft.finish()
}

fn step(draft: &mut Draft<'_>) {
    maintain::evicted(draft);
    exclusive::sweep(draft);
    hooks::follow(draft);
    devices::replace_lost(draft);
    match draft.state() {
        Some(State::Pending) => placing::place(draft),
        Some(State::Preparing) => preparing::step(draft),
        Some(State::Advancing | State::Soaking | State::Paused) if triggers::fires(draft) => {}
        Some(State::Advancing) => strategy::step(draft),
        Some(State::Soaking) => soaking::step(draft),
        Some(State::Paused) => ending::watch(draft),
        Some(State::RollingBack) => rolling_back::step(draft),
        Some(State::Succeeded | State::RolledBack | State::Aborted | State::Failed | State::Superseded)
        | None => maintain::step(draft),
    }
}
