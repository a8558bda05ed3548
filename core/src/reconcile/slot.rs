//! The decision of one slot: at most one step, and how far it is.

use std::time::Duration;

use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::{Clock, Evidence, Refusal, RefusalCode, SlotStatus};
use crate::plan::{Phase, PlanSlot};
use crate::time::Timestamp;

use super::Turn;
use super::fate::{Fate, Scene};
use super::input::{Container, ContainerState, Lease, RestartPolicy};
use super::judge::{self, Trial, Verdict};
use super::memory::{self, Restarts};
use super::outcome::START_DELAY;
use super::step::{Step, Target};

mod launch;
mod marks;

use launch::Hold;

/// An instance that ran for so long starts its delays anew.
const LASTING: Duration = Duration::from_secs(600);

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
    if busy {
        return standing_failure(turn, want, &seen).unwrap_or(SlotStatus::Converging);
    }
    marks::note_availability(turn, &seen);
    marks::judge_target(turn, want, &seen);
    let delayed = is_delayed(turn, slot);
    let (step, hold) = if delayed { (None, None) } else { next(turn, want, &seen) };
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
        Some(Hold::Pull | Hold::Lease) => SlotStatus::Converging,
        Some(Hold::PullFailed(evidence)) => SlotStatus::Failed { restored: None, evidence },
        None if idle && is_settled(turn, want, &seen) => SlotStatus::Settled,
        None => SlotStatus::Converging,
    }
}

/// Did the engine refuse a step of this slot a moment ago?
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
            | Self::CollectLog(_) => {}
        }
    }
}

/// A slot that the plan does not list: everything in it goes, one after the other.
fn clear(turn: &mut Turn<'_>, slot: &SlotId, seen: &[&Container]) -> Option<Step> {
    let known = turn.memory.slot(slot);
    known.failed = None;
    known.kept = None;
    let up = seen.iter().find(|seen| seen.state.is_up());
    up.map(|seen| Step::Stop(target(seen))).or_else(|| seen.first().map(|seen| Step::Remove(target(seen))))
}

fn target(seen: &Container) -> Target {
    Target {
        slot: seen.slot.clone(),
        instance: seen.instance.clone(),
        container: seen.id.clone(),
        release: seen.release,
    }
}

pub(super) const fn times(turn: &Turn<'_>) -> judge::Times {
    let observed = turn.observed;
    judge::Times {
        now: turn.now,
        interrupted_before: observed.interrupted_before,
        watching_since: observed.watching_since,
        asked_since: observed.watching_since,
        clock_set_at: observed.clock_set_at,
    }
}

impl<'a> Scene<'a> {
    fn new<'t: 'a>(turn: &Turn<'t>, want: &'a PlanSlot, seen: &'a [&'a Container]) -> Self {
        let known = turn.memory.slots.get(&want.slot).cloned().unwrap_or_default();
        let release = turn.desired.releases.get(&want.release).map(AsRef::as_ref);
        let limit = release.and_then(|release| release.release.spec.on_lost.stop_isolated_after);
        let silent = turn.observed.coordinator_last_seen.map(|seen| turn.now.since(seen));
        let releases = &turn.desired.releases;
        let says = |digest: &Digest| releases.get(digest).is_some_and(|r| r.release.spec.exclusive);
        let exclusive = says(&want.release) || seen.iter().any(|seen| says(&seen.release));
        let lease = turn.observed.lease;
        let alone = if exclusive {
            let over = |lease: Lease| limit.is_some_and(|l| turn.now.since(lease.renewed_at) >= l.duration());
            lease.is_none_or(over)
        } else {
            limit.zip(silent).is_some_and(|(limit, silent)| silent >= limit.duration())
        };
        let isolated = alone || (!exclusive && known.isolated_at.is_some());
        let unleased = exclusive && !lease.is_some_and(|lease| lease.current);
        let restoring = false;
        let (blocked, available, predecessor_starts, barred, tight) = (false, false, false, false, false);
        let mut scene = Self {
            want,
            seen,
            known,
            release,
            restoring,
            blocked,
            available,
            predecessor_starts,
            isolated,
            alone,
            exclusive,
            unleased,
            barred,
            tight,
        };
        // Where the plan has everything stand still, so does what would be gone back to.
        let stands_still = matches!(want.phase, Phase::Standby | Phase::Absent);
        scene.restoring = scene.known.failed.as_ref().filter(|_| !stands_still).is_some_and(|failed| {
            // A restart with nothing to go back to goes on trying.
            failed.restart.is_none() || scene.outdated().is_some()
        });
        let spec = release.map(|release| &release.release.spec);
        let standing = |seen: &Container| judge::standing(seen, turn.memory.of(seen), spec, times(turn));
        scene.available = scene.target().is_some_and(|seen| standing(seen).available);
        scene.barred = scene.running_predecessor().is_some_and(|release| {
            let content = turn.desired.releases.get(&release).map(|release| release.content);
            let serves = scene.instance_of(&release).is_some_and(|seen| {
                seen.state.is_up() && seen.health.as_ref().is_none_or(|health| health.live)
            });
            // What the plan falls back on is good, whatever failed here before.
            scene.armed_fallback() != Some(release)
                && !serves
                && content.is_some_and(|content| turn.memory.is_quarantined(&want.slot.service, &content))
        });
        scene.predecessor_starts = scene.running_predecessor().is_some_and(|release| {
            let spec = turn.desired.releases.get(&release).map(|release| &release.release.spec);
            let ready =
                |seen: &Container| judge::standing(seen, turn.memory.of(seen), spec, times(turn)).ready;
            !scene.instance_of(&release).is_some_and(|seen| seen.state.is_up() && ready(seen))
        });
        scene
    }
}

/// The next step, and what holds up the new instance.
fn next(turn: &mut Turn<'_>, want: &PlanSlot, seen: &[&Container]) -> (Option<Step>, Option<Hold>) {
    if let Some(step) = collect_log(turn, want, seen) {
        return (Some(step), None);
    }
    let mut scene = Scene::new(turn, want, seen);
    if scene.exclusive {
        // It is judged by the lease alone, which outlives the agent.
        if let (Some(release), Some(lease)) = (scene.release, turn.observed.lease)
            && let Some(limit) = release.release.spec.on_lost.stop_isolated_after
        {
            // Once it is over, there is nothing to wait for but the next acknowledgement.
            let over_at = lease.renewed_at + limit.duration();
            Some(over_at).filter(|at| *at > turn.now).into_iter().for_each(|at| turn.wake(at));
        }
    } else if scene.isolated {
        turn.memory.slot(&want.slot).isolated_at.get_or_insert(turn.now);
    }
    if !scene.exclusive && !scene.alone {
        wake_when_isolated(turn, &scene);
    }
    let mut hold = launch::hold(turn, &mut scene);
    scene.blocked = hold.is_some() && scene.wants_running();
    let fates = scene.fates();
    let mut step = stop_one(&fates, launch::needs_a_side(&scene, &fates));
    if step.is_none() {
        // The new instance comes first, so that a predecessor that cannot be made holds up nothing.
        let planned: Vec<_> =
            fates.iter().filter(|(seen, _)| seen.release == want.release).copied().collect();
        step = start_one(turn, want, &planned, hold.is_some(), scene.unleased);
    }
    if step.is_none() {
        match launch::missing(turn, &scene, &fates) {
            Ok(launch) => step = launch,
            Err(reason) => hold = hold.or(Some(reason)),
        }
    }
    let step = step
        .or_else(|| start_one(turn, want, &fates, hold.is_some(), scene.unleased))
        .or_else(|| if scene.exclusive { None } else { keep_one(turn, &fates) })
        .or_else(|| {
            let gone = fates.iter().find(|(seen, fate)| *fate == Fate::Gone && !seen.state.is_up());
            gone.map(|(seen, _)| Step::Remove(target(seen)))
        });
    (step, hold)
}

fn wake_when_isolated(turn: &mut Turn<'_>, scene: &Scene<'_>) {
    let limit = scene.release.and_then(|release| release.release.spec.on_lost.stop_isolated_after);
    if let Some((limit, seen)) = limit.zip(turn.observed.coordinator_last_seen) {
        turn.wake(seen + limit.duration());
    }
}

/// Evidence first: reading a few lines takes milliseconds, and the first report has them.
fn collect_log(turn: &mut Turn<'_>, want: &PlanSlot, seen: &[&Container]) -> Option<Step> {
    let failed = turn.memory.slot(&want.slot).failed.as_mut().filter(|failed| !failed.complete)?;
    let container = seen.iter().find(|seen| Some(&seen.instance) == failed.evidence.instance.as_ref());
    failed.complete = container.is_none();
    container.map(|seen| Step::CollectLog(target(seen)))
}

fn stop_one(fates: &[(&Container, Fate)], needs_a_side: bool) -> Option<Step> {
    let stops = |fate: Fate| matches!(fate, Fate::Rest | Fate::Gone) || (needs_a_side && fate == Fate::Leave);
    let up = fates.iter().find(|(seen, fate)| stops(*fate) && seen.state.is_up());
    up.map(|(seen, _)| Step::Stop(target(seen)))
}

/// Starts, or starts again, one that is meant to run. The new instance comes first: `seen` is newest first.
fn start_one(
    turn: &mut Turn<'_>,
    want: &PlanSlot,
    fates: &[(&Container, Fate)],
    target_held: bool,
    unleased: bool,
) -> Option<Step> {
    for (seen, fate) in fates {
        let spec = turn.desired.releases.get(&seen.release).map(|release| &release.release.spec);
        // What is not verified, or is refused, is never started.
        let held = spec.is_none() || unleased || (target_held && seen.release == want.release);
        if *fate != Fate::Run || (held && !seen.state.is_up()) {
            continue;
        }
        let known = turn.memory.of(seen).cloned().unwrap_or_default();
        let times = times(turn);
        match judge::judge(seen, Some(&known), spec, Trial::Over, times) {
            Verdict::Fine(at) => at.into_iter().for_each(|at| turn.wake(at)),
            Verdict::Failed(..) => debug_assert!(false, "only an armed release fails"),
            Verdict::Start { again: false } => return Some(Step::Start(target(seen))),
            Verdict::Start { again: true } if may_start_again(turn, seen) => {
                return Some(Step::Start(target(seen)));
            }
            Verdict::Restart if may_start_again(turn, seen) => return Some(Step::Restart(target(seen))),
            Verdict::Start { again: true } | Verdict::Restart => {}
        }
    }
    None
}

/// Counts one more start of an instance that ended or hangs, once its delay is over.
fn may_start_again(turn: &mut Turn<'_>, seen: &Container) -> bool {
    let before = turn.memory.volatile.starts.get(&seen.instance).copied();
    let (from, lasted_until) = match seen.state {
        ContainerState::Exited { finished_at, .. } => (finished_at, finished_at),
        // It hangs: there is no end to count from, but its last start.
        ContainerState::Created | ContainerState::Restarting | ContainerState::Running { .. } => {
            (before.map_or(Timestamp::ZERO, |before| before.last_at), turn.now)
        }
    };
    let before = before.filter(|before| lasted_until.since(before.last_at) < LASTING);
    let count = before.map_or(0, |before| before.count);
    // An end that is still to come was noted before the clock was set back.
    let not_before = from.min(turn.now) + memory::doubled(START_DELAY.0, count, START_DELAY.1);
    if not_before > turn.now {
        turn.wake(not_before);
        return false;
    }
    let restarts = Restarts { count: count.saturating_add(1), last_at: turn.now };
    turn.memory.volatile.starts.insert(seen.instance.clone(), restarts);
    let known = turn.memory.instance(&seen.slot, &seen.instance);
    // Starting it resets the engine's own count.
    known.restarts = known.restarts.saturating_add(seen.restarts).saturating_add(1);
    true
}

/// What has proven itself survives its agent.
fn keep_one(turn: &Turn<'_>, fates: &[(&Container, Fate)]) -> Option<Step> {
    fates.iter().find_map(|(seen, fate)| {
        let spec = turn.desired.releases.get(&seen.release).map(|release| &release.release.spec)?;
        let at = judge::standing(seen, turn.memory.of(seen), Some(spec), times(turn));
        let keep = *fate == Fate::Run && at.available && seen.policy == RestartPolicy::No;
        keep.then(|| Step::KeepRunning(target(seen)))
    })
}

/// The failure to report, if the planned release failed here.
fn standing_failure(turn: &Turn<'_>, want: &PlanSlot, seen: &[&Container]) -> Option<SlotStatus> {
    let failed = turn.memory.slots.get(&want.slot)?.failed.as_ref().filter(|failed| failed.complete)?;
    if failed.restart.is_some_and(|generation| generation != want.generation) {
        return None; // of a restart before this one
    }
    let serves = |release: &Digest| {
        let spec = turn.desired.releases.get(release).map(|release| &release.release.spec);
        let mine = seen.iter().filter(|seen| &seen.release == release);
        mine.into_iter().any(|seen| judge::standing(seen, turn.memory.of(seen), spec, times(turn)).ready)
    };
    let back = failed.fallback.or(failed.restart.map(|_| failed.release));
    let restored = back.filter(serves);
    Some(SlotStatus::Failed { restored, evidence: Box::new(failed.evidence.clone()) })
}

fn is_settled(turn: &Turn<'_>, want: &PlanSlot, seen: &[&Container]) -> bool {
    let scene = Scene::new(turn, want, seen);
    let image = scene.release.map(|release| release.release.spec.image.digest);
    let target = scene.target();
    let done = match want.phase {
        Phase::Running => scene.available && !scene.isolated,
        Phase::Draining => target.is_some_and(|seen| seen.state.is_up()),
        Phase::Pulled => image.is_some_and(|image| turn.observed.images.contains_key(&image)),
        Phase::Standby | Phase::Absent => true,
    };
    done && scene.fates().iter().all(|(seen, fate)| *fate != Fate::Run || seen.state.is_up())
}

fn refused(code: RefusalCode, detail: impl Into<String>) -> Refusal {
    Refusal { code, detail: detail.into() }
}

/// Evidence of a pull that failed, when no instance was made yet.
fn pull_evidence(
    turn: &Turn<'_>,
    want: &PlanSlot,
    trouble: &super::memory::PullTrouble,
) -> Option<Box<Evidence>> {
    let release = turn.desired.releases.get(&want.release)?;
    Some(Box::new(Evidence {
        instance: None,
        release: want.release,
        counter: release.release.counter,
        clock: Clock::Pull,
        reason: trouble.reason.clone(),
        exit_code: None,
        oom_killed: false,
        restarts: 0,
        log: Vec::new(),
        probes: Vec::new(),
        at: trouble.at,
    }))
}
