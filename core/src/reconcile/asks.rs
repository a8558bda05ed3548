//! The requests that an instance answers before it counts: warm-up first, then smoke tests; and smoke tests that come
//! later, while it serves.
//!
//! The caller gets the requests that are to be sent *now*, again with every decision: a request that left the list
//! is no longer sent. Answers come back in [`Container::answers`] and hold for one run. A release that is good is
//! warmed up and not tested.

use std::sync::Arc;

use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::Pending;
use crate::plan::{Phase, PlanSlot};
use crate::release::{Smoke, Spec, WarmUp};
use crate::time::Timestamp;

use super::container::{Answers, Container, ContainerState};
use super::input::VerifiedRelease;
use super::judge::{self, Owes};
use super::questions::{Ask, Question, WantedChecks};
use super::turn::Turn;

/// The answers that `seen` owes at this moment. A run in which it was available once owes nothing more.
pub(super) fn owes(turn: &Turn<'_>, seen: &Container) -> Owes {
    let Some(asked) = Asked::of(turn, seen).filter(|asked| !asked.counted) else { return Owes::Nothing };
    let on_trial = asked.on_trial;
    match (asked.next_warm_up(), asked.next_smoke()) {
        (None, None) => Owes::Nothing,
        _ if asked.healthy_since.is_none() => Owes::Answers,
        (Some(_), _) if !on_trial => Owes::WarmUp,
        (Some(_), _) | (None, Some(_)) => Owes::Answers,
    }
}

/// The answer that `seen` still owes before its rollout may succeed, in words.
pub(super) fn pending(turn: &Turn<'_>, seen: &Container) -> Option<Pending> {
    let asked = Asked::of(turn, seen)?;
    let waits = asked.on_trial || owes(turn, seen) != Owes::Nothing;
    if !waits || seen.failed_smoke().is_some() {
        return None;
    }
    if let Some((_, warm_up)) = asked.next_warm_up().filter(|_| !asked.counted) {
        return Some(Pending { asked: format!("warm-up {}", warm_up.request), due: None });
    }
    if let Some((_, smoke)) = asked.next_smoke().filter(|_| !asked.counted) {
        return Some(Pending { asked: format!("smoke test {}", smoke.request), due: None });
    }
    let due = |smoke: &Smoke| asked.due(turn, smoke);
    let (_, smoke) = asked.delayed().min_by_key(|(_, smoke)| due(smoke))?;
    Some(Pending {
        asked: format!("smoke test {}", smoke.request),
        due: due(smoke).filter(|at| *at > turn.now),
    })
}

/// Everything that is to be asked now, of all instances that are healthy and meant to run.
pub(super) fn now(turn: &mut Turn<'_>) -> Vec<Ask> {
    let mut asks = Vec::new();
    let all: Vec<&Container> = turn.by_slot.values().flatten().copied().collect();
    for seen in all {
        let Some(asked) = Asked::of(turn, seen).filter(|asked| asked.healthy_since.is_some()) else {
            continue;
        };
        if seen.failed_smoke().is_some() || !is_meant_to_run(turn, seen) {
            continue;
        }
        let mut questions = Vec::new();
        if let Some((place, _)) = asked.next_warm_up().filter(|_| !asked.counted) {
            questions.push(Question::WarmUp(place));
        } else if let Some((place, _)) = asked.next_smoke().filter(|_| !asked.counted) {
            questions.push(Question::Smoke(place));
        } else {
            let due: Vec<_> = asked.delayed().map(|(place, smoke)| (place, asked.due(turn, smoke))).collect();
            for (place, due) in due {
                match due {
                    Some(due) if due > turn.now => turn.wake(due),
                    Some(_) => questions.push(Question::Smoke(place)),
                    None => {}
                }
            }
        }
        let (container, run) = (seen.id.clone(), asked.run);
        let ask = |question| Ask {
            container: container.clone(),
            run,
            ports: seen.ports.clone(),
            release: asked.release.clone(),
            question,
        };
        asks.extend(questions.into_iter().map(ask));
    }
    asks
}

fn is_meant_to_run(turn: &Turn<'_>, seen: &Container) -> bool {
    let Some(want) = turn.wanted.get(&seen.slot) else { return false };
    let kept = turn.memory.slots.get(&seen.slot).and_then(|known| known.kept.as_ref());
    let stopping = turn.memory.of(seen).is_some_and(|known| known.stopped || known.discard);
    let stands = if seen.release == want.release {
        want.phase != Phase::Running
    } else {
        matches!(want.phase, Phase::Standby | Phase::Absent)
    };
    kept != Some(&seen.instance) && !stopping && !stands
}

/// An instance that runs, and what its release asks of it.
struct Asked<'a> {
    run: Timestamp,
    release: &'a Arc<VerifiedRelease>,
    answers: Answers,
    /// It was available in this run: what comes before that is over.
    counted: bool,
    /// Its release is not good yet, and the slot's target.
    on_trial: bool,
    /// Since when its probes say that it is ready.
    healthy_since: Option<Timestamp>,
}

impl<'a> Asked<'a> {
    /// `None` if nothing is ever asked of it.
    fn of(turn: &Turn<'a>, seen: &Container) -> Option<Self> {
        let release = turn.desired.releases.get(&seen.release)?;
        let spec = &release.release.spec;
        if spec.warm_up.is_empty() && spec.smoke.is_empty() {
            return None;
        }
        let ContainerState::Running { started_at: run } = seen.state else { return None };
        let known = turn.memory.of(seen);
        let counted = known.is_some_and(|known| known.available_run == Some(run));
        let on_trial = turn.wanted.get(&seen.slot).is_some_and(|want| is_on_trial(want, &seen.release));
        let answers = if seen.answers.run == run { seen.answers.clone() } else { Answers::default() };
        let healthy_since = judge::healthy_since(seen, known, spec, run);
        Some(Self { run, release, answers, counted, on_trial, healthy_since })
    }

    fn spec(&self) -> &'a Spec {
        &self.release.release.spec
    }

    fn next_warm_up(&self) -> Option<(usize, &'a WarmUp)> {
        self.spec().warm_up.iter().enumerate().find(|(place, _)| !self.answers.warmed.contains(place))
    }

    /// The next smoke test that comes before it counts.
    fn next_smoke(&self) -> Option<(usize, &'a Smoke)> {
        self.smoke().find(|(_, smoke)| smoke.after.is_none())
    }

    /// Smoke tests that come later and have no verdict.
    fn delayed(&self) -> impl Iterator<Item = (usize, &'a Smoke)> {
        self.smoke().filter(|(_, smoke)| smoke.after.is_some())
    }

    fn smoke(&self) -> impl Iterator<Item = (usize, &'a Smoke)> {
        let open = |(place, _): &(usize, &Smoke)| !self.answers.tested.contains_key(place);
        self.spec().smoke.iter().enumerate().filter(|_| self.on_trial).filter(open)
    }

    fn due(&self, turn: &Turn<'_>, smoke: &Smoke) -> Option<Timestamp> {
        let since = turn.times().measurable(self.healthy_since?);
        Some(since + smoke.after.unwrap_or(crate::units::Span::ZERO).duration())
    }
}

fn is_on_trial(want: &PlanSlot, release: &Digest) -> bool {
    want.release == *release && !want.good
}

/// The checks that come before the first start of a slot's release: `None` if there is nothing to wait for.
pub(super) fn check(turn: &mut Turn<'_>, slot: &SlotId, release: &VerifiedRelease) -> Option<Held> {
    if release.release.spec.checks.is_empty() {
        return None;
    }
    let known = turn.observed.checks.get(&release.digest);
    let current = turn.plan_number();
    let valid = known.filter(|known| known.failed.is_empty() || known.plan == current);
    let plan = valid.map_or(current, |known| known.plan);
    let release = turn.desired.releases.get(&release.digest)?.clone();
    turn.checks.insert(release.digest, WantedChecks { release, plan });
    match valid {
        Some(known) if known.failed.is_empty() => None,
        Some(known) => Some(Held::Failed(known.failed.join("; "))),
        None => {
            turn.checking.insert(slot.clone());
            Some(Held::Waits)
        }
    }
}

/// The way in which checks hold a start up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    /// They are being made.
    Waits,
    /// Some failed, in words.
    Failed(String),
}

/// The health of `seen` now.
pub(super) fn standing(turn: &Turn<'_>, seen: &Container) -> judge::InstanceHealth {
    judge::standing(seen, turn.memory.of(seen), turn.spec(&seen.release), times_of(turn, seen))
}

/// The times for a judgement of `seen`, with the answers that it owes.
pub(super) fn times_of(turn: &Turn<'_>, seen: &Container) -> judge::Times {
    judge::Times { owes: owes(turn, seen), ..turn.times() }
}
