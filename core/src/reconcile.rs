//! The next steps of an agent: desired state, observed state, memory and the time go in; steps,
//! the new memory and the report come out.
//!
//! [`plan`] is pure, total and level-triggered. It never looks at what it answered before: it is asked
//! again after every change, and answers nothing when the host is as it should be. Whoever executes
//! writes [`Decision::memory`] to disk *before* it performs [`Decision::steps`], performs at most one step
//! per slot at a time, reports those under way in [`Observed::busy`], and hands the results of those that
//! ended to the next call in [`Observed::outcomes`].
//!
//! ```text
//!             image missing                 image here, room
//! (nothing) ───────────────▶ Pull ────────▶ [Stop previous] ─▶ Launch ─▶ starting
//!                                                                          │ ready
//!      ┌── exit, liveness, deadline: mark failed, CollectLog, Stop,  ◀─────┤
//!      ▼                             then the fallback runs                ▼ for min ready
//!   failed (kept for inspection)  ◀── restarts, unready: until good ── available: KeepRunning
//! ```

mod asks;
mod collect;
mod container;
mod disposition;
mod ended;
mod identity;
mod input;
mod judge;
mod memory;
mod networks;
mod outcome;
mod ports;
mod questions;
mod report;
pub mod room;
mod slot;
mod step;
mod tasks;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

pub use container::{
    Answers, Checked, Container, ContainerState, GpuClaim, Health, Likeness, PlanNumber, RestartPolicy,
    Tested,
};
pub use ended::{Outcome, PullFailure, StartFailure};
pub use input::{Desired, Lease, LocalHost, LocalImage, Observed, VerifiedRelease};
pub(crate) use judge::health_deadline;
pub use memory::{
    FailedSlot, Forbidden, InstanceMemory, Memory, NetworkMemory, PulledImage, Quarantined, SlotMemory,
    StepTrouble, TaskMemory, Volatile,
};
pub use questions::{Ask, Question, WantedChecks};
pub use step::{Decision, Launch, LaunchHook, LaunchNetwork, LaunchPort, Step, Target};
pub use tasks::is_task;

use crate::id::SlotId;
use crate::observation::SlotStatus;
use crate::plan::PlanSlot;
use crate::time::Timestamp;

use turn::Turn;

/// Decides what happens next. See the module.
pub fn plan(desired: &Desired, observed: &Observed, memory: &Memory, now: Timestamp) -> Decision {
    let mut memory = memory.clone();
    let (ours, conditions) = identity::ours(desired, observed, &mut memory);
    let (all, observed) = (observed, &ours);
    outcome::absorb(desired, observed, &mut memory, now);
    memory.adopt(observed);
    let mut turn = Turn::new(desired, observed, memory, now);
    turn.conditions = conditions;
    // A journal that was restored from an older copy knows less than the containers do. Going back to its plan would
    // stop what came after; the next plan that is accepted puts it right.
    let newest = observed.containers.iter().filter_map(|seen| seen.plan).max();
    let is_unconfirmed = desired.plan.is_some() && observed.from_journal == Some(turn.plan_number());
    let newer = newest.filter(|newest| *newest > turn.plan_number());
    turn.behind = newer.filter(|newer| is_unconfirmed && turn.memory.overruled < Some(*newer));
    if desired.plan.is_some() && turn.behind.is_none() {
        turn.memory.overruled = newer;
    }
    turn.memory.unsure_of_tasks |= turn.behind.is_some();
    let Some(host_plan) = desired.plan.as_ref().filter(|_| turn.behind.is_none()) else {
        let slots = turn.by_slot.keys().map(|slot| (*slot).clone()).collect::<Vec<_>>();
        let reports =
            slots.iter().map(|slot| report::slot(&turn, slot, None, SlotStatus::Converging)).collect();
        return turn.finish(reports, Vec::new());
    };
    let wanted: BTreeMap<&SlotId, &PlanSlot> =
        host_plan.slots.iter().map(|slot| (&slot.slot, slot)).collect();
    networks::decide(&mut turn, all);
    let slots: BTreeSet<SlotId> =
        wanted.keys().copied().chain(turn.by_slot.keys().copied()).cloned().collect();
    let mut reports = Vec::new();
    for slot in &slots {
        let want = wanted.get(slot).copied();
        let status = slot::decide(&mut turn, slot, want);
        if want.is_some() || turn.by_slot.contains_key(slot) {
            reports.push(report::slot(&turn, slot, want, status));
        }
    }
    let tasks = tasks::decide(&mut turn, all);
    collect::images(&mut turn);
    turn.asks = asks::now(&mut turn);
    turn.memory.forget(observed, |slot| wanted.contains_key(slot));
    turn.finish(reports, tasks)
}
