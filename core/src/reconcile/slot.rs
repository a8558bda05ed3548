//! The decision of one slot: at most one step, and how far it is.

use crate::condition::{Condition, ConditionCode};
use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::{Refusal, RefusalCode, SlotStatus};
use crate::plan::{Phase, PlanSlot};

use super::Turn;
use super::asks;
use super::container::{Container, ContainerState, RestartPolicy};
use super::disposition::{Disposition, Mode, SlotContext};
use super::step::{Step, Target};

mod context;
mod devices;
mod ends;
mod launch;
mod marks;
mod starting;
mod status;
mod way_back;

use launch::Hold;
use starting::start_one;
use status::{is_settled, standing_failure};

/// Decides for one slot; `want` is `None` if the plan does not list it.
pub(super) fn decide(turn: &mut Turn<'_>, slot: &SlotId, want: Option<&PlanSlot>) -> SlotStatus {
    let seen = turn.containers(slot);
    let busy = turn.observed.busy.contains(slot);
    let Some(want) = want else {
        if !busy && !is_delayed(turn, slot) {
            let step = clear(turn, slot, &seen);
            step.into_iter().for_each(|step| push(turn, step));
        }
        return SlotStatus::Converging;
    };
    // First of all: a failure that the plan has overtaken is not reported as one of this plan.
    marks::update(turn, want);
    way_back::look(turn, want, &seen);
    let forbidden = forbidden(turn, want, &seen);
    if busy && matches!(want.phase, Phase::Standby | Phase::Absent) {
        return SlotStatus::Converging; // whatever failed before: what is under way may start something
    }
    if busy {
        return standing_failure(turn, want, &seen).or(forbidden).unwrap_or(SlotStatus::Converging);
    }
    tell_of_refusal(turn, want, &seen);
    ends::note(turn, &seen);
    marks::note_availability(turn, &seen);
    let mut context = SlotContext::new(turn, want, &seen);
    let judged = marks::judge_target(turn, &context);
    if marks::absolve(turn, want, &seen) || judged {
        context = SlotContext::new(turn, want, &seen);
    }
    let delayed = is_delayed(turn, slot);
    let (step, hold) = if delayed { (None, None) } else { next(turn, &mut context) };
    let idle = step.is_none() && !delayed;
    if idle {
        turn.memory.volatile.steps.remove(slot);
    }
    step.into_iter().for_each(|step| push(turn, step));
    if let Some(failure) = standing_failure(turn, want, &seen) {
        return failure;
    }
    match hold {
        Some(Hold::Refused(refusal)) => SlotStatus::Refused(refusal),
        Some(Hold::Pull | Hold::Lease | Hold::Checks | Hold::Devices) => SlotStatus::Converging,
        Some(Hold::PullFailed(evidence)) => SlotStatus::Failed { restored: None, evidence },
        None if idle && is_settled(turn, &context) => SlotStatus::Settled,
        None => forbidden.unwrap_or(SlotStatus::Converging),
    }
}

/// Tells that a slot is refused whose instance runs on: nothing else would, until the day on which it has to start again.
fn tell_of_refusal(turn: &mut Turn<'_>, want: &PlanSlot, seen: &[&Container]) {
    let runs =
        want.phase.runs() && seen.iter().any(|seen| seen.release == want.release && seen.state.is_up());
    if let Some(refusal) = turn.desired.refusals.get(&want.slot).filter(|_| runs) {
        let message = format!("it runs, and would not be started again: {refusal}");
        turn.conditions.push(Condition::new(ConditionCode::SlotRefused, Some(want.slot.clone()), message));
    }
}

/// The refusal of a start that the host's policy did not allow, until an instance of the release runs.
fn forbidden(turn: &mut Turn<'_>, want: &PlanSlot, seen: &[&Container]) -> Option<SlotStatus> {
    let known = &mut turn.memory.volatile.forbidden;
    let is_up = |release: &Digest| seen.iter().any(|seen| &seen.release == release && seen.state.is_up());
    if known.get(&want.slot).is_some_and(|known| is_up(&known.release)) {
        known.remove(&want.slot);
    }
    let known = known.get(&want.slot).filter(|known| known.release == want.release && want.phase.runs())?;
    Some(SlotStatus::Refused(Refusal { code: RefusalCode::Policy, detail: known.why.clone() }))
}

/// Returns whether the engine refused a step of this slot a moment ago.
fn is_delayed(turn: &mut Turn<'_>, slot: &SlotId) -> bool {
    let not_before = turn.memory.volatile.steps.get(slot).map(|retry| retry.not_before);
    let waits = not_before.filter(|not_before| *not_before > turn.now);
    waits.into_iter().for_each(|at| turn.wake(at));
    waits.is_some()
}

fn push(turn: &mut Turn<'_>, step: Step) {
    if let Step::Start(target) = &step {
        let seen = turn.observed.containers.iter().find(|seen| seen.id == target.container);
        let ended = seen.and_then(|seen| match seen.state {
            ContainerState::Exited { finished_at, .. } => Some(finished_at),
            ContainerState::Created | ContainerState::Running { .. } | ContainerState::Restarting => None,
        });
        // An agent that dies before it starts it finds it as it is now, and must not take that for a new failure.
        turn.memory.instance(&target.slot, &target.instance).answered_end = ended;
    }
    step.remember(&mut turn.memory);
    turn.steps.push(step);
}

impl Step {
    /// Writes down what is about to be done, so that its traces are not taken for failures later.
    fn remember(&self, memory: &mut super::Memory) {
        match self {
            Self::Stop(target) => memory.instance(&target.slot, &target.instance).stopped = true,
            Self::Start(target) | Self::Restart(target) => {
                memory.instance(&target.slot, &target.instance).stopped = false;
            }
            Self::Launch(launch) => {
                memory.instance(&launch.slot, &launch.instance).stopped = false;
            }
            Self::Pull { .. }
            | Self::RemoveImage { .. }
            | Self::Remove(_)
            | Self::KeepRunning(_)
            | Self::CollectLog(_)
            | Self::Task { .. } => {}
        }
    }
}

/// A slot that the plan does not list: everything in it goes, one after the other.
fn clear(turn: &mut Turn<'_>, slot: &SlotId, seen: &[&Container]) -> Option<Step> {
    let known = turn.memory.slot(slot);
    known.failed = None;
    known.kept = None;
    let up = seen.iter().find(|seen| seen.state.is_up());
    up.map(|seen| Step::Stop(Target::of(seen)))
        .or_else(|| seen.first().map(|seen| Step::Remove(Target::of(seen))))
}

/// The next step, and what holds up the new instance. An instance that is to start, while another one that goes on
/// holds its port, is replaced: its successor gets the other side.
fn next<'a, 't: 'a>(turn: &mut Turn<'t>, context: &mut SlotContext<'a>) -> (Option<Step>, Option<Hold>) {
    let decided = next_step(turn, context);
    match &decided.0 {
        Some(Step::Start(target)) if is_shut_out(context.seen, target) => {
            turn.memory.instance(&target.slot, &target.instance).discard = true;
            *context = SlotContext::new(turn, context.want, context.seen);
            next_step(turn, context)
        }
        _ => decided,
    }
}

/// True where another instance of the slot runs on a port of this one.
fn is_shut_out(seen: &[&Container], target: &Target) -> bool {
    let Some(own) = seen.iter().find(|seen| seen.id == target.container) else { return false };
    let holds = |other: &&&Container| other.id != own.id && other.state.is_up();
    let taken = |port: &u16| own.ports.values().any(|wanted| wanted == port);
    seen.iter().filter(holds).any(|other| other.ports.values().any(taken))
}

fn next_step(turn: &mut Turn<'_>, context: &mut SlotContext<'_>) -> (Option<Step>, Option<Hold>) {
    let want = context.want;
    if let Some(step) = collect_log(turn, want, context.seen) {
        return (Some(step), None);
    }
    if context.exclusive {
        // It is judged by the lease alone, which outlives the agent.
        if let (Some(release), Some(lease)) = (context.release, turn.observed.lease)
            && let Some(limit) = release.release.spec.on_lost.stop_isolated_after
        {
            // Once it is over, there is nothing to wait for but the next acknowledgement.
            let over_at = lease.renewed_at + limit.duration();
            Some(over_at).filter(|at| *at > turn.now).into_iter().for_each(|at| turn.wake(at));
        }
    } else if context.is_isolated() {
        turn.memory.slot(&want.slot).isolated_at.get_or_insert(turn.now);
    }
    if !context.exclusive && context.mode != Mode::Alone {
        wake_when_isolated(turn, context);
    }
    let mut hold = launch::hold(turn, context);
    context.blocked = hold.is_some() && context.wants_running();
    let dispositions = context.dispositions();
    let mut step = stop_one(&dispositions, launch::needs_a_side(context, &dispositions));
    if step.is_none() {
        // The new instance comes first, so that a predecessor that cannot be made holds up nothing.
        let planned: Vec<_> =
            dispositions.iter().filter(|(seen, _)| seen.release == want.release).copied().collect();
        step = start_one(turn, want, &planned, hold.is_some(), context.unleased);
    }
    if step.is_none() {
        match launch::missing(turn, context, &dispositions) {
            Ok(launch) => step = launch,
            Err(reason) => hold = hold.or(Some(reason)),
        }
    }
    let step = step
        .or_else(|| start_one(turn, want, &dispositions, hold.is_some(), context.unleased))
        .or_else(|| if context.exclusive { None } else { keep_one(turn, &dispositions) })
        .or_else(|| {
            let gone = dispositions
                .iter()
                .find(|(seen, disposition)| *disposition == Disposition::Remove && !seen.state.is_up());
            gone.map(|(seen, _)| Step::Remove(Target::of(seen)))
        });
    (step, hold)
}

fn wake_when_isolated(turn: &mut Turn<'_>, context: &SlotContext<'_>) {
    let limit = context.release.and_then(|release| release.release.spec.on_lost.stop_isolated_after);
    if let Some((limit, seen)) = limit.zip(turn.observed.coordinator_last_seen) {
        turn.wake(seen + limit.duration());
    }
}

/// Evidence first: reading a few lines takes milliseconds, and the first report has them.
fn collect_log(turn: &mut Turn<'_>, want: &PlanSlot, seen: &[&Container]) -> Option<Step> {
    let failed = turn.memory.slot(&want.slot).failed.as_mut().filter(|failed| !failed.complete)?;
    let container = seen.iter().find(|seen| Some(&seen.instance) == failed.evidence.instance.as_ref());
    failed.complete = container.is_none();
    container.map(|seen| Step::CollectLog(Target::of(seen)))
}

fn stop_one(dispositions: &[(&Container, Disposition)], needs_a_side: bool) -> Option<Step> {
    let stops = |disposition: Disposition| {
        matches!(disposition, Disposition::Standby | Disposition::Remove)
            || (needs_a_side && disposition == Disposition::Keep)
    };
    let up = dispositions.iter().find(|(seen, disposition)| stops(*disposition) && seen.state.is_up());
    up.map(|(seen, _)| Step::Stop(Target::of(seen)))
}

/// The step that has the engine keep a proven instance, which then survives its agent.
fn keep_one(turn: &Turn<'_>, dispositions: &[(&Container, Disposition)]) -> Option<Step> {
    dispositions.iter().find_map(|(seen, disposition)| {
        // An engine follows the paths of a container at every start, and checks nothing.
        let binds = turn.spec(&seen.release)?.binds_host_paths();
        let runs = *disposition == Disposition::Run && seen.policy == RestartPolicy::No;
        let keep = runs && !binds && asks::standing(turn, seen).available;
        keep.then(|| Step::KeepRunning(Target::of(seen)))
    })
}
