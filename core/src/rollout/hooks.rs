//! Hooks of a rollout: which run now, how those that ran have ended, and what that means.
//!
//! A run stands in the rollout's record before the slot of its host has the task, in the same transaction. A host runs a hook
//! once, see [`crate::reconcile`]; here it is asked for once.

mod past;
mod run;

use std::collections::BTreeSet;

use crate::id::{HostId, SlotId};
use crate::observation::{TASK_LOG, TaskEnd, TaskObservation, TaskOutcome, TaskState, keep_end};
use crate::plan::{Phase, Task};
use crate::release::{Hook, HookHosts, Spec, Stage};
use crate::slot::{Transition, Waiting};
use crate::time::Timestamp;
use crate::units::Span;

use super::ending;
use super::model::{Kind, Reason, State};
use super::planner::Planner;

pub use run::HookRun;

/// The time beyond that of a hook for which nothing may be heard of its end.
const LATE: Span = Span::from_secs(120);
/// Bytes of the output of all hooks in the record of a rollout. The output of one that failed is kept whole.
const LOGS: usize = 64 * 1024;

/// The progress of a stage's hooks.
pub(super) enum HookProgress {
    /// All of them have done what they are for.
    Done,
    /// One runs, and is waited for.
    Waits,
    /// None runs, since a host is out of reach or one of an earlier rollout does not stop. That has no time of its own.
    Blocked,
    /// One failed.
    Failed(Reason),
}

/// Takes in what hosts say of the hooks of the rollout, and takes the tasks away that are not to run any more.
pub(crate) fn follow(planner: &mut Planner<'_>) {
    if planner.rollout.as_ref().is_some_and(|rollout| !rollout.hooks.is_empty()) {
        absorb(planner);
    }
    let tasks: Vec<_> =
        planner.slots.values().filter_map(|slot| Some((slot.id().clone(), slot.task()?.clone()))).collect();
    for (slot, task) in tasks {
        if !is_to_run(planner, &slot, &task) {
            planner.apply(&slot, &Transition::Withdraw);
        }
    }
}

fn is_to_run(planner: &Planner<'_>, slot: &SlotId, task: &Task) -> bool {
    let Some(rollout) = planner.rollout.as_ref().filter(|rollout| rollout.id == task.rollout) else {
        return false;
    };
    rollout.hooks.iter().any(|run| &run.slot == slot && run.hook == task.hook && run.end.is_none())
}

/// Whether the rollout is where its hooks may run.
const fn may_run(state: State) -> bool {
    matches!(state, State::Preparing | State::Advancing | State::Soaking | State::Paused)
}

fn absorb(planner: &mut Planner<'_>) {
    let (now, state, id) = (planner.now(), planner.rollout().state, planner.rollout().id.clone());
    let mut runs = std::mem::take(&mut planner.rollout().hooks);
    for run in runs.iter_mut().filter(|run| run.end.is_none()) {
        let member = planner.snapshot.fleet.member(&run.host);
        let seen = member.and_then(|member| member.observation.as_deref());
        let is_it = |seen: &&TaskObservation| seen.task.rollout == id && seen.task.hook == run.hook;
        let end = match seen.and_then(|seen| seen.tasks.iter().find(is_it)).map(|seen| &seen.state) {
            Some(TaskState::Ended(end)) => Some((**end).clone()),
            Some(TaskState::Running { since }) => {
                run.started_at = Some(*since);
                None
            }
            Some(TaskState::Starting) | None => None,
        };
        let end = end.or_else(|| {
            let without_run = TaskEnd::without_run;
            let has_it = planner.slots.get(&run.slot).is_some_and(|slot| slot.task().is_some());
            if !may_run(state) {
                return Some(without_run(TaskOutcome::Stopped));
            }
            let late = run.late_at(planner.snapshot.fleet.since());
            if !has_it || now >= late {
                let after = Span::from_secs(now.since(run.begun_at).as_secs());
                return Some(without_run(TaskOutcome::Lost { after }));
            }
            planner.wake(late);
            None
        });
        if let Some(end) = end {
            run.finish(end, now);
            planner.note_hook_ended(run);
        }
    }
    bound(&mut runs);
    planner.rollout().hooks = runs;
}

/// Cuts the output of hooks to what one record holds: first of those that did what they are for.
fn bound(runs: &mut [HookRun]) {
    let size = |end: &TaskEnd| end.log.iter().map(|line| line.len() + 1).sum::<usize>();
    for failed in [false, true] {
        for at in 0..runs.len() {
            let all: usize = runs.iter().filter_map(|run| run.end.as_ref()).map(size).sum();
            let Some(end) = runs[at].end.as_mut().filter(|end| end.outcome.is_success() != failed) else {
                continue;
            };
            if all > LOGS {
                let mine = size(end);
                keep_end(&mut end.log, mine.saturating_sub(all - LOGS));
            }
        }
    }
}

/// The first hook of the stage that failed, and that nobody has let it go on from.
pub(super) fn failed(planner: &Planner<'_>, stage: Stage) -> Option<Reason> {
    let rollout = planner.rollout.as_ref()?;
    let each = planner.target().map(|(_, release)| once_per_host(&release.spec, stage)).unwrap_or_default();
    // A host that is left behind counts no more where the hook runs on every host; where it runs once, its end is what counts.
    let is_left = |run: &HookRun| rollout.stragglers.contains(&run.host) && each.contains(&run.hook);
    let bad = |run: &&HookRun| run.stage == stage && run.has_failed() && !is_left(run);
    let run = rollout.hooks.iter().find(bad)?;
    let words = run.end.as_ref().map(TaskEnd::words).unwrap_or_default();
    Some(Reason::HookFailed(format!("hook {} on {} {words}", run.hook, run.host)))
}

/// The hooks of a stage that run on every host.
fn once_per_host(spec: &Spec, stage: Stage) -> BTreeSet<String> {
    let each = spec.hooks.of(stage).iter().filter(|hook| hook.on == HookHosts::Each);
    each.map(|hook| hook.name.clone()).collect()
}

/// The run was on a host that is left behind: nobody knows whether it did what it is for, and it is not run a second time.
fn lose(planner: &mut Planner<'_>, lost: &HookRun) {
    let now = planner.now();
    let runs = planner.rollout().hooks.iter_mut();
    for run in runs.filter(|run| run.hook == lost.hook && run.host == lost.host && run.end.is_none()) {
        let after = Span::from_secs(now.since(run.begun_at).as_secs());
        run.finish(TaskEnd::without_run(TaskOutcome::Lost { after }), now);
    }
    planner.wake_now();
}

/// Runs the hooks of a stage, one after the other. Only a rollout to a new release has any.
pub(super) fn run(planner: &mut Planner<'_>, stage: Stage) -> HookProgress {
    let Some((_, release)) = planner.target().filter(|_| planner.rollout().kind == Kind::Deploy) else {
        return HookProgress::Done;
    };
    if let Some(reason) = failed(planner, stage) {
        return HookProgress::Failed(reason);
    }
    one_after_the_other(planner, &release.spec, stage, release.spec.hooks.of(stage))
}

/// Runs these hooks of a stage, one after the other.
fn one_after_the_other<'h>(
    planner: &mut Planner<'_>,
    spec: &Spec,
    stage: Stage,
    hooks: impl IntoIterator<Item = &'h Hook>,
) -> HookProgress {
    for hook in hooks {
        match is_done(planner, spec, stage, hook) {
            HookProgress::Done => {}
            HookProgress::Waits => {
                planner.is_steady(spec.progress_deadline);
                return HookProgress::Waits;
            }
            other @ (HookProgress::Blocked | HookProgress::Failed(_)) => return other,
        }
    }
    HookProgress::Done
}

/// Runs the hooks that come first on hosts which have joined since the others ran them, as soon as those have the image.
pub(super) fn catch_up(planner: &mut Planner<'_>) -> HookProgress {
    let Some((to, release)) = planner.target().filter(|_| planner.rollout().kind == Kind::Deploy) else {
        return HookProgress::Done;
    };
    let spec = &release.spec;
    let each: Vec<&Hook> =
        spec.hooks.of(Stage::Before).iter().filter(|hook| hook.on == HookHosts::Each).collect();
    if each.is_empty() {
        return HookProgress::Done;
    }
    if let Some(reason) = failed(planner, Stage::Before) {
        return HookProgress::Failed(reason);
    }
    let has_image = |slot: &SlotId| {
        let facts = planner.facts(slot);
        facts.intent.run != Phase::Pulled || facts.last().is_some_and(|seen| seen.pulled)
    };
    if !ending::counted(planner, &to.digest).iter().all(has_image) {
        return HookProgress::Blocked;
    }
    one_after_the_other(planner, spec, Stage::Before, each)
}

/// Whether the hooks that come first on every host have run on this slot's.
pub(super) fn have_run(planner: &mut Planner<'_>, spec: &Spec, slot: &SlotId) -> bool {
    if planner.rollout().kind != Kind::Deploy {
        return true;
    }
    let host = planner.host(slot);
    let runs = &planner.rollout().hooks;
    let has_run = |hook: &String| {
        let mut mine = runs.iter().filter(|run| &run.hook == hook && run.host == host);
        mine.any(|run| run.end.is_some() && !run.has_failed())
    };
    let missing = once_per_host(spec, Stage::Before).into_iter().find(|hook| !has_run(hook));
    if let Some(hook) = missing {
        planner.wait(Waiting::Hook { hook, host, since: None });
        return false;
    }
    true
}

/// Begins a hook on the hosts where it has not begun, and says whether it is over on all of them. A host that is out of reach gets
/// none: nobody would hear of its end.
fn is_done(planner: &mut Planner<'_>, spec: &Spec, stage: Stage, hook: &Hook) -> HookProgress {
    let to = planner.rollout().to.digest;
    let mut slots = ending::counted(planner, &to);
    slots.sort_by_key(|slot| slot.index);
    let runs = |planner: &Planner<'_>| -> Vec<HookRun> {
        let runs = planner.rollout.iter().flat_map(|rollout| &rollout.hooks);
        runs.filter(|run| run.hook == hook.name).cloned().collect()
    };
    let mut is_blocked = false;
    for slot in slots {
        let (known, host) = (runs(planner), planner.host(&slot));
        let is_asked_for = match hook.on {
            HookHosts::Lowest => !known.is_empty(),
            HookHosts::Each => known.iter().any(|run| run.host == host),
        };
        if is_asked_for {
            continue;
        }
        if planner.facts(&slot).is_out_of_reach() {
            is_blocked = true;
            planner.wait(Waiting::Plan(host));
            continue;
        }
        let task = Task { rollout: planner.rollout().id.clone(), hook: hook.name.clone() };
        // One of the rollout before may not have stopped yet.
        let is_free = planner.slots[&slot].task().is_none()
            && !observed(planner, &host).any(|seen| seen.slot == slot && seen.task.rollout != task.rollout);
        if !is_free || !planner.apply(&slot, &Transition::Assign { task }) {
            is_blocked = true;
            planner.wait(Waiting::Plan(host));
            match hook.on {
                HookHosts::Lowest => break,
                HookHosts::Each => continue,
            }
        }
        let now = planner.now();
        let patience = hook.timeout.duration() + spec.stop_timeout.duration() + LATE.duration();
        let patience = Span::from_secs(patience.as_secs());
        let run = HookRun::new(&hook.name, stage, (slot, host), now, patience);
        planner.note_hook_begun(&run);
        planner.rollout().hooks.push(run);
    }
    // A hook that runs once needs only one host that could take it.
    is_blocked &= hook.on == HookHosts::Each || runs(planner).is_empty();
    let mut is_done = true;
    let stragglers = planner.rollout().stragglers.clone();
    for run in runs(planner) {
        let is_left = stragglers.contains(&run.host);
        if run.end.is_none() && is_left && hook.on == HookHosts::Lowest {
            lose(planner, &run);
            is_done = false;
        } else if run.end.is_none() && !is_left {
            is_done = false;
            let HookRun { hook, host, started_at: since, .. } = run;
            planner.wait(Waiting::Hook { hook, host, since });
        }
    }
    match (is_done, is_blocked) {
        (false, _) => HookProgress::Waits,
        (true, true) => HookProgress::Blocked,
        (true, false) => HookProgress::Done,
    }
}

/// Whether a hook that the rollout has stopped still runs, as far as its host is heard of. What goes back waits for it.
pub(super) fn are_stopping(planner: &mut Planner<'_>) -> bool {
    let patience = planner.target().map_or(Span::ZERO, |(_, release)| release.spec.stop_timeout).duration();
    let (now, id) = (planner.now(), planner.rollout().id.clone());
    let mut runs_on = Vec::new();
    for run in &planner.rollout().hooks.clone() {
        let stopped = run.end.as_ref().is_some_and(|end| end.outcome == TaskOutcome::Stopped);
        let until = run.ended_at.unwrap_or(Timestamp::ZERO) + patience + LATE.duration();
        if stopped
            && now < until
            && observed(planner, &run.host).any(|seen| seen.task.rollout == id && seen.task.hook == run.hook)
        {
            runs_on.push((run.hook.clone(), run.host.clone(), until));
        }
    }
    let any = !runs_on.is_empty();
    for (hook, host, until) in runs_on {
        planner.wait(Waiting::HookStop { hook, host });
        planner.wake(until);
    }
    any
}

/// The hooks that a host says are not over.
fn observed<'a>(planner: &Planner<'a>, host: &HostId) -> impl Iterator<Item = &'a TaskObservation> + use<'a> {
    let seen = planner.snapshot.fleet.member(host).and_then(|member| member.observation.as_deref());
    let tasks = seen.into_iter().flat_map(|seen| &seen.tasks);
    tasks.filter(|seen| !matches!(seen.state, TaskState::Ended(_)))
}

/// When the last hook that runs after the last step was over.
pub(super) fn after_ended(planner: &Planner<'_>) -> Timestamp {
    let runs = planner.rollout.iter().flat_map(|rollout| &rollout.hooks);
    let ended = runs.filter(|run| run.stage == Stage::After).filter_map(|run| run.ended_at);
    ended.max().unwrap_or(Timestamp::ZERO)
}

/// The most bytes of output that one run keeps.
const _: () = assert!(TASK_LOG <= LOGS, "the output of one hook fits");
