//! A rollout, as `rollout show`, `rollout watch` and a following `deploy` print it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fleet::Fleet;
use crate::host::Liveness;
use crate::id::{Counter, EnvironmentId, HostId, RolloutId, ServiceName, SlotId};
use crate::observation::{
    Evidence, Instance, InstanceState, LastExit, NotReady, PullProgress, Refusal, SlotStatus,
};
use crate::plan::{Order, Phase};
use crate::rollout::{Kind, Rollout, State, Waiting};
use crate::service::{Releases, Service, Slots};
use crate::time::Timestamp;
use crate::traffic::Weight;

use super::condition::{self, ConditionView};
use super::gates::{GateView, gates};
use super::hooks::{self, HookView};
use super::status::{Healthy, alone};
use super::waiting::Waits;

/// A rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RolloutView {
    /// Its identity.
    pub rollout: RolloutId,
    /// The service's name.
    pub service: ServiceName,
    /// The service's environment.
    pub environment: EnvironmentId,
    /// Forward or back.
    pub kind: Kind,
    /// Where it goes.
    pub release: Counter,
    /// The last good release when it began: what a deploy goes back to if it fails, or anything if a person aborts it.
    pub from: Option<Counter>,
    /// The release that the service was at when it began; absent if it was at none, or if a coordinator of version 0.1
    /// began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Counter>,
    /// Where it is.
    pub state: State,
    /// `succeeded | rolled_back | aborted | failed | paused | superseded`, once it is in one of these.
    pub outcome: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
    /// Whether any container was touched for the rollout.
    pub changed: bool,
    /// Its waits, in words.
    pub waiting: Vec<String>,
    /// The operator or program that asked for it.
    pub actor: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it came to its state.
    pub state_since: Timestamp,
    /// From its making to its end, or to now, in milliseconds.
    pub duration_ms: u64,
    /// Slots of the release it goes to, or, once it turned back, of the one it goes back to.
    pub total: u32,
    /// Those of them that are available.
    pub available: u32,
    /// Every slot of the service; none in `rollout ls`.
    pub slots: Vec<SlotView>,
    /// Steps of its strategy that were taken.
    #[serde(default)]
    pub step: u32,
    /// Steps of its strategy in all; none if it has none.
    #[serde(default)]
    pub steps: u32,
    /// Shares of the traffic, while two releases share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficView>,
    /// The approval that it needs to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<AskedView>,
    /// The gates of the step that it is at, with the newest verdict of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateView>,
    /// The hooks that it runs or has run, by their beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookView>,
    /// Failures, with evidence.
    pub failures: Vec<FailureView>,
    /// Hosts that were lost and get the outcome when they return.
    pub stragglers: Vec<HostId>,
    /// Healthy instances by release.
    pub serving: BTreeMap<Counter, u32>,
    /// Conditions of the service's instances and slots now; none once another rollout came after.
    #[serde(default)]
    pub conditions: Vec<ConditionView>,
}

/// An approval that a rollout needs: of this step, for this release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AskedView {
    /// The step that it is at; 0 before the first one.
    pub step: u32,
    /// Digest of the release that it goes to.
    pub release: Digest,
}

/// Shares of two releases in the traffic of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TrafficView {
    /// The release that the traffic moves to.
    pub release: Counter,
    /// Its share, in thousandths.
    pub weight: Weight,
    /// The release that has the rest.
    pub other: Counter,
    /// The one of the two that has every request meanwhile: the other one has no instance that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<Counter>,
    /// Steps that were taken.
    pub step: u32,
    /// Steps in all; none if the rollout moves no traffic.
    pub steps: u32,
    /// Since when every ingress divides the requests so.
    pub since: Option<Timestamp>,
}

/// A slot in a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SlotView {
    /// Which.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
    /// Whether the slot's host is there.
    pub host_state: Liveness,
    /// The release it is to have.
    pub release: Counter,
    /// The phase that the plan says.
    pub phase: Phase,
    /// Which of its two instances goes first.
    pub order: Order,
    /// The state of the instance of that release.
    pub state: Option<InstanceState>,
    /// Whether that instance has been healthy for min ready.
    pub available: bool,
    /// The pull under way.
    pub pull: Option<PullProgress>,
    /// Why it was refused.
    pub refused: Option<Refusal>,
    /// Why the instance is not ready, while it runs and is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<NotReady>,
    /// Restarts of the instance.
    #[serde(default)]
    pub restarts: u32,
    /// Its last exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
}

/// A failure, with what a person needs to see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FailureView {
    /// Where.
    pub host: HostId,
    /// Which slot.
    pub slot: SlotId,
    /// The event, in words.
    pub message: String,
    /// The evidence of the agent.
    pub evidence: Option<Evidence>,
    /// Its refusal.
    pub refused: Option<Refusal>,
}

/// Shows a rollout. `waiting` is what [`crate::rollout::advance`] last said.
pub fn rollout(
    rollout: &Rollout,
    service: &Service,
    slots: &Slots,
    releases: &Releases,
    fleet: &dyn Fleet,
    waiting: &[Waiting],
    now: Timestamp,
) -> RolloutView {
    let active = service.rollout.as_ref() == Some(&rollout.id);
    let outcome = (rollout.state.is_final() || rollout.state == State::Paused)
        .then(|| rollout.state.as_str().to_owned());
    // A slot that the restart has not reached is available, and does not count yet.
    let restarts = active && rollout.kind == Kind::Restart;
    let outdated: BTreeSet<SlotId> = slots
        .iter()
        .filter(|(_, a)| restarts && a.target().generation < rollout.generation)
        .map(|(slot, _)| slot.clone())
        .collect();
    // Of one that others came after nothing runs any more.
    let is_newest = active || service.current == Some(rollout.to) || service.current == rollout.from;
    let conditions = if is_newest { condition::of_service(slots, fleet) } else { Vec::new() };
    let waits = Waits { rollout, releases, slots, fleet };
    let waiting: Vec<String> = waiting.iter().map(|waiting| waits.text(waiting)).collect();
    let serving = Healthy::of(service, slots, fleet).serving();
    let slots: Vec<SlotView> = slots.iter().map(|(id, a)| slot(id, a, releases, fleet)).collect();
    let goal = goal(rollout);
    let (mut total, mut available) = (0, 0);
    for slot in slots.iter().filter(|slot| slot.release == goal) {
        total += 1;
        let counts = slot.available && slot.host_state != Liveness::Lost;
        available += u32::from(counts && !outdated.contains(&slot.slot));
    }
    let ended_at = if rollout.state.is_final() { rollout.state_since } else { now };
    RolloutView {
        rollout: rollout.id.clone(),
        service: service.id.name.clone(),
        environment: service.id.environment.clone(),
        kind: rollout.kind,
        release: rollout.to.counter,
        from: rollout.from.map(|from| from.counter),
        left: rollout.left,
        state: rollout.state,
        outcome,
        reason: rollout.reason.as_ref().map(ToString::to_string),
        changed: rollout.changed,
        waiting: if active { waiting } else { Vec::new() },
        actor: rollout.actor.clone(),
        created_at: rollout.created_at,
        state_since: rollout.state_since,
        duration_ms: u64::try_from(ended_at.since(rollout.created_at).as_millis()).unwrap_or(u64::MAX),
        total,
        available,
        serving,
        slots,
        step: rollout.shift.as_ref().map_or(0, |shift| shift.taken),
        steps: steps(rollout, releases),
        traffic: traffic(rollout, service, releases, fleet).filter(|_| active),
        asks: asked(rollout, releases, now).filter(|_| active),
        gates: gates(rollout, releases, now),
        hooks: hooks::of(rollout),
        failures: rollout.failures.iter().map(failure).collect(),
        stragglers: rollout.stragglers.iter().cloned().collect(),
        conditions,
    }
}

fn traffic(
    rollout: &Rollout,
    service: &Service,
    releases: &Releases,
    fleet: &dyn Fleet,
) -> Option<TrafficView> {
    let split = service.split.as_ref()?;
    let (new, old) = (releases.get(&split.new)?, releases.get(&split.old)?);
    let shift = rollout.shift.as_ref();
    Some(TrafficView {
        release: new.counter,
        weight: split.weight,
        other: old.counter,
        alone: alone(service, releases, fleet),
        step: shift.map_or(0, |shift| shift.taken),
        steps: steps(rollout, releases),
        since: shift.and_then(|shift| shift.watched_since),
    })
}

fn steps(rollout: &Rollout, releases: &Releases) -> u32 {
    let steps = releases.get(&rollout.to.digest).map_or(0, |release| release.spec.strategy.steps());
    u32::try_from(steps).unwrap_or(u32::MAX)
}

fn asked(rollout: &Rollout, releases: &Releases, now: Timestamp) -> Option<AskedView> {
    let shift =
        rollout.shift.as_ref().filter(|shift| shift.approval(now).is_none() && shift.promoted.is_none())?;
    let release = releases.get(&rollout.to.digest).filter(|_| rollout.kind == Kind::Deploy)?;
    let wanted = rollout.state == State::Advancing && release.spec.strategy.wants_approval(shift.taken);
    wanted.then_some(AskedView { step: shift.taken, release: rollout.to.digest })
}

/// The release whose instances count: the one it goes to, or goes back to.
fn goal(rollout: &Rollout) -> Counter {
    let back = matches!(rollout.state, State::RollingBack | State::RolledBack | State::Aborted);
    rollout.from.filter(|_| back).map_or(rollout.to.counter, |from| from.counter)
}

fn failure(failure: &crate::rollout::Failure) -> FailureView {
    let message = match (&failure.evidence, &failure.refusal) {
        (Some(evidence), _) => evidence.words(),
        (None, Some(refusal)) => format!("refused by the host: {refusal}"),
        (None, None) => "no evidence".to_owned(),
    };
    FailureView {
        host: failure.host.clone(),
        slot: failure.slot.clone(),
        message,
        evidence: failure.evidence.clone(),
        refused: failure.refusal.clone(),
    }
}

fn slot(id: &SlotId, assignment: &crate::slot::Slot, releases: &Releases, fleet: &dyn Fleet) -> SlotView {
    let member = fleet.member(assignment.host());
    let seen = member.and_then(|m| m.observation.as_deref()).and_then(|o| o.slot(id));
    let release: &Digest = &assignment.release();
    let generation = assignment.target().generation;
    let of = |i: &&Instance| &i.release == release && i.generation >= generation;
    let instance = seen.and_then(|seen| seen.instances.iter().find(of));
    // A reason about an older release says nothing of this one.
    let current = seen.filter(|seen| seen.release.as_ref() == Some(release));
    let refused = current.and_then(|seen| match &seen.status {
        SlotStatus::Refused(refusal) => Some(refusal.clone()),
        SlotStatus::Converging | SlotStatus::Settled | SlotStatus::Failed { .. } => None,
    });
    SlotView {
        slot: id.clone(),
        host: assignment.host().clone(),
        host_state: member.map_or(Liveness::Lost, |m| m.liveness),
        release: releases.get(release).map_or(crate::id::Counter(0), |r| r.counter),
        phase: assignment.run(),
        order: assignment.order(),
        state: instance.map(|i| i.state),
        available: instance.is_some_and(|i| i.available && i.state == InstanceState::Healthy),
        pull: seen.and_then(|seen| seen.pull),
        refused,
        not_ready: instance.and_then(|i| i.vitals.not_ready.clone()),
        restarts: instance.map_or(0, |i| i.restarts),
        last_exit: instance.and_then(|i| i.vitals.last_exit),
    }
}
