//! One decision about one service.

use std::collections::BTreeMap;

use crate::id::SlotId;
use crate::plan::Order;
use crate::release::Spec;
use crate::slot::Slot;

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

/// Which instance of each slot goes first if its change to `spec` began now, and the reason for stop-first. A slot counts in which
/// another release runs. For previews.
pub fn orders(snapshot: &Snapshot<'_>, spec: &Spec) -> BTreeMap<SlotId, (Order, Option<String>)> {
    let mut planner = Planner::new(snapshot);
    let beside = |slot: &Slot| slot.other().map(|other| (slot.id().clone(), other.release));
    let replaced: Vec<_> = snapshot.slots.values().filter_map(beside).collect();
    replaced
        .into_iter()
        .map(|(slot, old)| {
            let order = planner.order(&slot, spec, Some(old));
            (slot, order)
        })
        .collect()
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
