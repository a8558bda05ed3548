//! Hooks: containers that run once, each for one rollout, beside the instances of slots.
//!
//! A hook is journaled before its container is created. From then on it is only watched: a container that is not there any
//! more, or never came, ends it as interrupted. It is never begun a second time.
//!
//! Its container stays until the plan names it no more, so that the engine knows of it too: where the journal was lost, the
//! container is taken for the hook's; without one, a hook that the first plan names may have run, and is interrupted.
//!
//! | journal | container | next |
//! |---|---|---|
//! | nothing | none | room and GPUs are looked for; written down, created, started |
//! | nothing | there | written down, and watched from then on |
//! | lost, and the first plan names it | none | interrupted |
//! | begun | created | started: it has never run |
//! | begun | runs | its timeout is watched; stopped after it, or when the plan names it no more |
//! | begun | ended | its last lines are read, then its end is written down |
//! | begun | none, and none on its way | interrupted |
//! | over | any | stopped; the end is reported, and the container kept, as long as the plan names it |

mod begin;
pub(super) mod claims;
mod push;

use std::collections::BTreeMap;

use crate::observation::{TaskObservation, TaskOutcome, TaskState};
use crate::plan::{Phase, PlanSlot, Task};
use crate::time::Timestamp;
use crate::units::Span;

use super::Turn;
use super::container::{Container, ContainerState};
use super::ended::{Outcome, StartFailure};
use super::input::Observed;
use super::memory::Memory;
use super::memory::tasks::{TaskMemory, millis};
use super::step::{Step, Target};

pub use claims::is_task;
use push::push;

/// A step of a hook that failed is tried again after this.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Takes what came of steps of hooks into the memory.
pub(super) fn absorb(observed: &Observed, memory: &mut Memory, now: Timestamp) {
    for outcome in &observed.outcomes {
        let Outcome::Task { key, outcome } = outcome else { continue };
        let Some(known) = memory.tasks.get_mut(key) else { continue };
        match &**outcome {
            Outcome::Launched { container, .. } => known.container = Some(container.clone()),
            Outcome::StartFailed { failure, .. } => known.end(not_started(failure), now),
            Outcome::Log { lines, .. } => known.log = Some(lines.clone()),
            Outcome::StepFailed { .. } => {
                memory.volatile.tasks.insert(key.clone(), now + AGAIN);
            }
            Outcome::Pulled { .. } | Outcome::PullFailed { .. } | Outcome::Task { .. } => {}
        }
    }
}

fn not_started(failure: &StartFailure) -> TaskOutcome {
    let message = match failure {
        StartFailure::Failed(message)
        | StartFailure::NoRoom(message)
        | StartFailure::Device(message)
        | StartFailure::Host(message)
        | StartFailure::Stuck(message) => message.clone(),
        StartFailure::PortTaken(port) => format!("port {port} of the host is taken"),
        StartFailure::ImageMissing => "the image has gone from the host".to_owned(),
        StartFailure::NameTaken(name) => format!("another container has the name `{name}`"),
        StartFailure::Forbidden(why) => return begin::policy(why),
    };
    TaskOutcome::NotStarted { message }
}

/// Decides for every hook that the plan names or that was begun, and says how those of the plan are.
pub(super) fn decide(turn: &mut Turn<'_>, seen: &Observed) -> Vec<TaskObservation> {
    let here: BTreeMap<&str, &Container> = seen
        .containers
        .iter()
        .filter(|seen| is_task(&seen.instance))
        .map(|seen| (seen.id.as_str(), seen))
        .collect();
    let wanted: Vec<(&PlanSlot, _)> = turn
        .wanted
        .values()
        .filter(|want| want.phase != Phase::Absent)
        .filter_map(|want| Some((*want, want.task.as_ref()?)))
        .collect();
    let mut reports = Vec::new();
    for (want, task) in &wanted {
        let key = task.to_string();
        if !turn.memory.tasks.contains_key(&key)
            && let Some(known) = known_otherwise(turn, want, task, &here)
        {
            turn.memory.tasks.insert(key.clone(), known);
        }
        let state = if turn.memory.tasks.contains_key(&key) {
            watch(turn, &key, &here, true)
        } else {
            begin::begin(turn, want, task)
        };
        reports.push(TaskObservation { task: (*task).clone(), slot: want.slot.clone(), state });
    }
    turn.memory.unsure_of_tasks = false;
    let is_wanted = |key: &str| wanted.iter().any(|(_, task)| task.to_string() == key);
    let others: Vec<String> = turn.memory.tasks.keys().filter(|key| !is_wanted(key)).cloned().collect();
    for key in others {
        let state = watch(turn, &key, &here, false);
        // One that still runs is told of until it has stopped.
        let known = turn.memory.tasks.get(&key).filter(|known| known.end.is_none());
        if let Some((known, task)) = known.zip(task_of(&key)) {
            reports.push(TaskObservation { task, slot: known.slot.clone(), state });
        }
    }
    let ids: Vec<Option<&str>> =
        turn.memory.tasks.values().map(|known| find(known, &here).map(|seen| seen.id.as_str())).collect();
    let left: Vec<String> = turn
        .memory
        .tasks
        .keys()
        .zip(&ids)
        .filter(|(_, id)| id.is_some())
        .map(|(key, _)| key.clone())
        .collect();
    turn.memory.forget_tasks(|key, _| is_wanted(key) || left.iter().any(|left| left == key));
    let tasks = &turn.memory.tasks;
    turn.memory.volatile.tasks.retain(|key, _| tasks.contains_key(key));
    reports
}

/// A hook that the journal does not know, and that may have run all the same: the engine has a container of it, or the
/// journal was lost and nobody can say.
fn known_otherwise(
    turn: &Turn<'_>,
    want: &PlanSlot,
    task: &Task,
    here: &BTreeMap<&str, &Container>,
) -> Option<TaskMemory> {
    let seen = here.values().find(|seen| claims::is_of(seen, &want.slot.service, task));
    let gpus = seen.map(|seen| seen.gpus.iter().map(|gpu| gpu.uuid.clone()).collect());
    let mut known = TaskMemory {
        slot: want.slot.clone(),
        release: seen.map_or(want.release, |seen| seen.release),
        instance: seen.map(|seen| seen.instance.clone()).unwrap_or_default(),
        begun_at: seen.map_or(turn.now, |seen| seen.created_at),
        container: seen.map(|seen| seen.id.clone()),
        memory: seen.map_or(0, |seen| seen.memory),
        gpus: gpus.unwrap_or_default(),
        started_at: None,
        stopped: None,
        log: None,
        end: None,
    };
    if seen.is_none() {
        if !turn.memory.unsure_of_tasks {
            return None;
        }
        known.end(TaskOutcome::Interrupted, turn.now);
    }
    Some(known)
}

/// The task of a key, as [`Task`] writes it.
fn task_of(key: &str) -> Option<Task> {
    let (rollout, hook) = key.split_once('/')?;
    Some(Task { rollout: rollout.parse().ok()?, hook: hook.to_owned() })
}

/// The container of a hook. One whose id never came is known by the engine's name of it, which nothing else can have.
fn find<'c>(known: &TaskMemory, here: &BTreeMap<&str, &'c Container>) -> Option<&'c Container> {
    match &known.container {
        Some(id) => here.get(id.as_str()).copied(),
        None => here
            .values()
            .find(|seen| seen.instance == known.instance && seen.name.ends_with(&known.instance))
            .copied(),
    }
}

/// Looks after a hook that was begun.
fn watch(turn: &mut Turn<'_>, key: &str, here: &BTreeMap<&str, &Container>, is_wanted: bool) -> TaskState {
    let Some(mut known) = turn.memory.tasks.get(key).cloned() else { return TaskState::Starting };
    let seen = find(&known, here);
    let busy = turn.observed.busy_tasks.contains(key);
    if known.container.is_none() {
        known.container = seen.map(|seen| seen.id.clone());
    }
    let step = if busy { None } else { next(turn, &mut known, seen, is_wanted) };
    if !is_wanted && let Some(end) = &mut known.end {
        end.log.clear(); // whoever asked for it has it
    }
    let state = match (&known.end, known.started_at) {
        (Some(end), _) => TaskState::Ended(Box::new(end.clone())),
        (None, Some(since)) => TaskState::Running { since },
        (None, None) => TaskState::Starting,
    };
    turn.memory.tasks.insert(key.to_owned(), known);
    if let Some(step) = step {
        push(turn, key, step);
    }
    state
}

/// The next step of a hook that has none under way.
fn next(
    turn: &mut Turn<'_>,
    known: &mut TaskMemory,
    seen: Option<&Container>,
    is_wanted: bool,
) -> Option<Step> {
    let Some(seen) = seen else {
        if known.end.is_none() {
            let stopped = known.stopped.take();
            known.end(stopped.unwrap_or(TaskOutcome::Interrupted), turn.now);
        }
        return None;
    };
    let target = Target {
        slot: known.slot.clone(),
        instance: known.instance.clone(),
        container: seen.id.clone(),
        release: known.release,
    };
    if known.end.is_some() {
        if seen.state.is_up() {
            return Some(Step::Stop(target));
        }
        return (!is_wanted).then_some(Step::Remove(target));
    }
    match seen.state {
        ContainerState::Created if is_wanted => Some(Step::Start(target)),
        ContainerState::Created => {
            known.end(TaskOutcome::Stopped, turn.now);
            Some(Step::Remove(target))
        }
        ContainerState::Running { started_at } => {
            known.started_at.get_or_insert(started_at);
            running(turn, known, started_at, is_wanted).then_some(Step::Stop(target))
        }
        ContainerState::Restarting => Some(Step::Stop(target)),
        ContainerState::Exited { code, oom_killed, finished_at } => {
            if known.log.is_none() {
                return Some(Step::CollectLog(target));
            }
            let outcome = match known.stopped.take() {
                Some(stopped) => stopped,
                None if oom_killed => TaskOutcome::OutOfMemory,
                None if code == 0 => TaskOutcome::Succeeded,
                None => TaskOutcome::Exited { code },
            };
            let began = known.started_at.unwrap_or(known.begun_at);
            known.end(outcome, turn.now);
            if let Some(end) = &mut known.end {
                end.took = Span::from_millis(millis(finished_at.since(began)));
            }
            (!is_wanted).then_some(Step::Remove(target))
        }
    }
}

/// Whether a hook that runs is to stop: the plan names it no more, or its time is over.
fn running(turn: &mut Turn<'_>, known: &mut TaskMemory, started_at: Timestamp, is_wanted: bool) -> bool {
    if !is_wanted {
        known.stopped.get_or_insert(TaskOutcome::Stopped);
        return true;
    }
    let name = known.instance.rsplit('.').next().unwrap_or_default();
    let release = turn.desired.releases.get(&known.release);
    let timeout = release.and_then(|release| release.release.spec.hooks.named(name)).map(|hook| hook.timeout);
    let Some(timeout) = timeout else { return false }; // it may not start here any more; what runs, runs
    let until = turn.times().measurable(started_at) + timeout.duration();
    if turn.now >= until {
        known.stopped.get_or_insert(TaskOutcome::TimedOut { after: timeout });
        return true;
    }
    turn.wake(until);
    false
}
