//! The judgement of an instance: ready, available, failed.

use std::time::Duration;

use crate::observation::{Clock, Evidence, FailureReason, Fault};
use crate::plan::PlanSlot;
use crate::release::Spec;
use crate::time::Timestamp;
use crate::units::Span;

use super::container::{Container, ContainerState, RestartPolicy};
use super::input::Desired;
use super::memory::{FailedSlot, InstanceMemory, Memory, Quarantined};

/// The health deadline of a release without a startup probe.
const HEALTH_DEADLINE: Span = Span::from_secs(150);

/// The longest time until a running process is ready. Without a startup probe it is judged here before its rollout
/// gives up: who gives up there has no log.
pub(crate) fn health_deadline(spec: &Spec) -> Span {
    spec.health.startup.as_ref().map_or_else(
        || HEALTH_DEADLINE.min(before_deadline(spec)),
        |probe| {
            let every = u64::try_from(probe.every.duration().as_millis()).unwrap_or(u64::MAX);
            Span::from_millis(every.saturating_mul(u64::from(probe.failures.max(1))))
        },
    )
}

/// Nine tenths of how long a rollout may go without progress.
pub(super) fn before_deadline(spec: &Spec) -> Span {
    let millis = u64::try_from(spec.progress_deadline.duration().as_millis()).unwrap_or(u64::MAX);
    Span::from_millis(millis / 10 * 9)
}

/// The health of an instance at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InstanceHealth {
    /// Its process runs.
    pub(super) running: bool,
    /// It is ready for work.
    pub(super) ready: bool,
    /// It has been ready for min ready, without a break until now.
    pub(super) available: bool,
    /// It was available at some time.
    pub(super) proven: bool,
    /// Since when it is ready, or is not.
    pub(super) since: Timestamp,
    /// The number of its restarts in all.
    pub(super) restarts: u32,
    /// It would be ready, and is being warmed up.
    pub(super) warming: bool,
    /// When it will be available if nothing changes.
    pub(super) available_at: Option<Timestamp>,
}

/// The number of restarts of an instance in all.
fn restarts(seen: &Container, known: Option<&InstanceMemory>) -> u32 {
    known.map_or(0, |known| known.restarts).saturating_add(seen.restarts)
}

/// Looks at an instance; `spec` is its release's, if that is known.
pub(super) fn standing(
    seen: &Container,
    known: Option<&InstanceMemory>,
    spec: Option<&Spec>,
    times: Times,
) -> InstanceHealth {
    let restarts = restarts(seen, known);
    let proven =
        seen.policy == RestartPolicy::UnlessStopped || known.is_some_and(|k| k.available_at.is_some());
    let started_at = match seen.state {
        ContainerState::Running { started_at } => started_at,
        ContainerState::Created | ContainerState::Restarting => {
            let since = seen.health.as_ref().map_or(seen.created_at, |health| health.since);
            return InstanceHealth::down(proven, since, restarts);
        }
        ContainerState::Exited { finished_at, .. } => {
            return InstanceHealth::down(proven, finished_at, restarts);
        }
    };
    let remembered = is_remembered(known, started_at);
    let (healthy, since, unbroken) = probed(seen, known, spec, started_at);
    // A good release serves as soon as it is ready, so its warm-up comes before that.
    let warming = healthy && times.owes == Owes::WarmUp;
    let ready = healthy && !warming;
    let min_ready = spec.map_or(Duration::ZERO, |spec| spec.strategy.min_ready().duration());
    let available_at = times.measurable(since) + min_ready;
    let goes_on = ready && remembered && unbroken;
    let lasted = available_at <= times.now;
    let available = ready && (goes_on || (lasted && times.owes == Owes::Nothing));
    let available_at = (ready && !available && !lasted).then_some(available_at);
    // An agent that begins finds it ready, and it has been since before.
    let since = if goes_on && started_at < times.watching_since { started_at } else { since };
    InstanceHealth { running: true, ready, available, proven, since, restarts, warming, available_at }
}

/// The run in which it became available goes on: an agent that was restarted does not doubt it before a probe does.
fn is_remembered(known: Option<&InstanceMemory>, started_at: Timestamp) -> bool {
    known.is_some_and(|known| known.available_run == Some(started_at))
}

/// Since when it has been ready by its probes, without a break.
fn probed(
    seen: &Container,
    known: Option<&InstanceMemory>,
    spec: Option<&Spec>,
    started_at: Timestamp,
) -> (bool, Timestamp, bool) {
    let has_probes = spec.is_none_or(|spec| {
        spec.health.startup.is_some() || spec.health.readiness.is_some() || spec.health.liveness.is_some()
    });
    match &seen.health {
        Some(health) => (health.ready, health.since, health.unbroken),
        None if has_probes => (is_remembered(known, started_at), started_at, true),
        None => (true, started_at, true),
    }
}

/// Since when an instance whose run began at `run` is ready by its probes; `None` if it is not.
pub(super) fn healthy_since(
    seen: &Container,
    known: Option<&InstanceMemory>,
    spec: &Spec,
    run: Timestamp,
) -> Option<Timestamp> {
    let (healthy, since, _) = probed(seen, known, Some(spec), run);
    healthy.then_some(since)
}

impl InstanceHealth {
    const fn down(proven: bool, since: Timestamp, restarts: u32) -> Self {
        let (running, ready, available, warming, available_at) = (false, false, false, false, None);
        Self { running, ready, available, proven, since, restarts, warming, available_at }
    }
}

/// The verdict on an instance that is meant to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing, until the time given.
    Fine(Option<Timestamp>),
    /// It failed: the slot's fallback is restored.
    Failed(Clock, FailureReason),
    /// It does not run and is started; `again` if it ran and ended by itself.
    Start {
        /// Whether it ended by itself.
        again: bool,
    },
    /// It runs and does not answer.
    Restart,
}

/// The times that a judgement needs beside those of the instance, and the answers that this owes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) now: Timestamp,
    /// An end before this time is that of a reboot or of the engine.
    pub(super) interrupted_before: Timestamp,
    /// Nobody asked before.
    pub(super) watching_since: Timestamp,
    /// The instance's probes were not asked before; later than `watching_since` where its release was not known then.
    pub(super) asked_since: Timestamp,
    /// The clock was set then: how long anything has lasted can only be told from there on.
    pub(super) clock_set_at: Timestamp,
    /// The answers that the instance owes.
    pub(super) owes: Owes,
}

impl Times {
    /// Since when something that began at `at` has lasted for sure. A time that is still to come, or that was before the
    /// clock was set, says nothing.
    pub(super) fn measurable(self, at: Timestamp) -> Timestamp {
        if at > self.now {
            self.clock_set_at.max(self.watching_since).min(self.now)
        } else {
            at.max(self.clock_set_at)
        }
    }
}

/// Whether an instance is on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// No: its release is good.
    Over,
    /// It is not good yet, so that it may fail.
    On,
    /// And its content has failed in another slot of this host meanwhile: it goes on, and is not started again.
    Last,
}

/// Returns whether this is the first try of a restart in this slot and it has not served yet. `seen` is its container,
/// if there is one.
pub(super) fn is_restart_on_trial(memory: &Memory, want: &PlanSlot, seen: Option<&Container>) -> bool {
    let proven = |seen: &Container| {
        seen.policy == RestartPolicy::UnlessStopped
            || memory.of(seen).is_some_and(|known| known.available_at.is_some())
    };
    let failed = memory.slots.get(&want.slot).is_some_and(|known| known.failed.is_some());
    let is_new = |seen: &Container| seen.generation >= want.generation && !proven(seen);
    want.generation > 0 && !failed && seen.is_none_or(is_new)
}

/// Judges an instance that is meant to run.
pub(super) fn judge(
    seen: &Container,
    known: Option<&InstanceMemory>,
    spec: Option<&Spec>,
    trial: Trial,
    times: Times,
) -> Verdict {
    let at = standing(seen, known, spec, times);
    let armed = trial != Trial::Over;
    let fails_now = armed && (!at.proven || trial == Trial::Last);
    let spec = spec.filter(|_| armed);
    let most_restarts = spec.map(|spec| spec.rollback_on.restarts.max(1));
    let too_often = |restarts: u32| most_restarts.is_some_and(|most| at.proven && restarts >= most);
    let clock = if at.proven { Clock::Soak } else { Clock::Health };
    if let Some(test) = seen.failed_smoke().filter(|_| armed) {
        return Verdict::Failed(clock, FailureReason::SmokeFailed { test: Box::new(test.clone()) });
    }
    match seen.state {
        ContainerState::Created => Verdict::Start { again: false },
        ContainerState::Exited { code, oom_killed, finished_at } => {
            let meant = known.is_some_and(|known| known.stopped || known.answered_end == Some(finished_at));
            if meant || finished_at < times.interrupted_before {
                Verdict::Start { again: false }
            } else if fails_now || too_often(at.restarts.saturating_add(1)) {
                Verdict::Failed(clock, ended(code, oom_killed))
            } else {
                Verdict::Start { again: true }
            }
        }
        ContainerState::Restarting | ContainerState::Running { .. } if too_often(at.restarts) => {
            let (code, oom_killed) = seen.last_exit.unwrap_or_default();
            Verdict::Failed(clock, ended(code, oom_killed))
        }
        ContainerState::Restarting => Verdict::Fine(None),
        ContainerState::Running { .. } if seen.health.as_ref().is_some_and(|health| !health.live) => {
            if fails_now || too_often(at.restarts.saturating_add(1)) {
                Verdict::Failed(clock, FailureReason::LivenessFailed)
            } else {
                Verdict::Restart
            }
        }
        ContainerState::Running { started_at } => match spec {
            // Its warm-up ends by itself.
            Some(_) if times.owes == Owes::WarmUp => Verdict::Fine(None),
            Some(spec) if !at.ready => {
                // As long as its probes have not said yes or no, its time counts from when they were first asked.
                let is_decided = seen.health.as_ref().is_some_and(|health| health.decided);
                let is_older = !is_decided && started_at < times.watching_since;
                let unasked = if is_older { times.asked_since } else { Timestamp::ZERO };
                unready(&at, spec, (started_at, unasked), times)
            }
            Some(_) | None => Verdict::Fine(at.available_at),
        },
    }
}

fn unready(
    at: &InstanceHealth,
    spec: &Spec,
    (started_at, unasked): (Timestamp, Timestamp),
    times: Times,
) -> Verdict {
    let (from, span) = if at.proven {
        (at.since, spec.rollback_on.unhealthy_for)
    } else {
        (started_at, health_deadline(spec))
    };
    let deadline = times.measurable(from).max(unasked) + span.duration();
    if times.now < deadline {
        Verdict::Fine(Some(deadline))
    } else if at.proven {
        Verdict::Failed(Clock::Soak, FailureReason::UnreadyTooLong { after: span })
    } else {
        Verdict::Failed(Clock::Health, FailureReason::NotHealthyInTime { deadline: span })
    }
}

const fn ended(code: i64, oom_killed: bool) -> FailureReason {
    if oom_killed { FailureReason::OutOfMemory } else { FailureReason::Exited { code } }
}

/// Marks the slot failed and quarantines the content. `older` is the instance that a restart was to replace. Nothing is touched yet: this is journaled first.
pub(super) fn mark_failed(
    desired: &Desired,
    memory: &mut Memory,
    want: &PlanSlot,
    (seen, older): (Option<&Container>, Option<&str>),
    (clock, reason, fault): (Clock, FailureReason, Fault),
    now: Timestamp,
) {
    let Some(release) = desired.releases.get(&want.release) else { return };
    let exit = seen.and_then(|seen| match seen.state {
        ContainerState::Exited { code, oom_killed, .. } => Some((code, oom_killed)),
        ContainerState::Created | ContainerState::Running { .. } | ContainerState::Restarting => {
            seen.last_exit
        }
    });
    let restarts = seen.map_or(0, |seen| restarts(seen, memory.of(seen)));
    let health = seen.and_then(|seen| seen.health.as_ref());
    let restart = want.good.then_some(want.generation);
    let has_older = seen.is_some_and(|seen| older.is_some_and(|older| older != seen.instance));
    // A port conflict or a lost device does not fail the release. Nor is it bad, if a new
    // instance of it fails where others serve.
    if restart.is_none() && fault.is_releases() && reason.quarantines() {
        let service = want.slot.service.clone();
        memory.quarantine(&service, release.content, Quarantined { at: now, reason: reason.to_string() });
    }
    let known = memory.slot(&want.slot);
    // With nothing to go back to it is tried again, and not kept for inspection.
    let keep = restart.is_none() || has_older;
    known.kept = seen.filter(|_| keep).map(|seen| seen.instance.clone());
    known.failed = Some(FailedSlot {
        release: want.release,
        content: release.content,
        fallback: want.fallback,
        complete: seen.is_none(),
        restart,
        evidence: Evidence {
            instance: seen.map(|seen| seen.instance.clone()),
            exit_code: exit.map(|(code, _)| code),
            oom_killed: exit.is_some_and(|(_, oom_killed)| oom_killed),
            restarts,
            probes: health.map_or_else(Vec::new, |health| health.history.clone()),
            not_ready: health.and_then(|health| health.why.clone()),
            fault,
            ..Evidence::of(want.release, release.release.counter, (clock, reason), now)
        },
    });
}

/// The answers that an instance still owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owes {
    /// Nothing.
    Nothing,
    /// Its warm-up. A good release would get requests as soon as it is ready, so it is not ready yet.
    WarmUp,
    /// Its warm-up or smoke tests: it does not count as available.
    Answers,
}
