//! The report on a slot.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::{
    Instance, InstanceState, SlotObservation, SlotStatus, SlotTrouble, TroubleCode, Vitals,
};
use crate::plan::{Phase, PlanSlot};
use crate::traffic::PortSide;

use super::Turn;
use super::asks;
use super::container::{Container, ContainerState};
use super::judge;
use super::memory::StepTrouble;
use super::step::Step;

/// The observation of a slot whose status is known.
pub(super) fn slot(
    turn: &Turn<'_>,
    slot: &SlotId,
    want: Option<&PlanSlot>,
    status: SlotStatus,
) -> SlotObservation {
    let release = want.and_then(|want| turn.desired.releases.get(&want.release));
    let image = release.map(|release| &release.release.spec.image);
    let pull = image.and_then(|image| turn.observed.pulls.get(&image.digest).copied());
    let containers = turn.containers(slot);
    let checking = turn.checking.contains(slot);
    SlotObservation {
        slot: slot.clone(),
        release: want.map(|want| want.release),
        status,
        pulled: !checking && image.is_some_and(|image| turn.observed.image(image).is_some()),
        checking,
        pull,
        instances: containers.iter().map(|seen| instance(turn, want, seen)).collect(),
        trouble: trouble(turn, slot, want),
    }
}

/// The trouble of a slot: a step that the engine refused, else a pull of an image that it needs.
fn trouble(turn: &Turn<'_>, slot: &SlotId, want: Option<&PlanSlot>) -> Option<SlotTrouble> {
    let volatile = &turn.memory.volatile;
    let (code, message, since, (tries, retry_at)) = match volatile.steps.get(slot) {
        Some(retry) => {
            let StepTrouble { code, message, first_at } = &retry.what;
            (*code, message.clone(), *first_at, (retry.failures, retry.not_before))
        }
        None => {
            let previous = want.and_then(|want| want.previous.as_ref()).map(|previous| previous.release);
            let fallback = want.and_then(|want| want.fallback);
            let named = [want.map(|want| want.release), previous, fallback].into_iter().flatten();
            let missing = |release: Digest| {
                let image = &turn.spec(&release)?.image;
                volatile.pulls.get(&image.digest).filter(|_| turn.observed.image(image).is_none())
            };
            let retry = named.filter_map(missing).next()?;
            let (reason, first_at) = (retry.what.reason.to_string(), retry.what.first_at);
            (TroubleCode::PullFailed, reason, first_at, (retry.failures, retry.not_before))
        }
    };
    let mut trouble = SlotTrouble { code, message, tries, since, retry_at };
    trouble.bound();
    Some(trouble)
}

/// `10.0.0.5:20001`, `[2001:db8::5]:20001`.
fn endpoint(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn instance(turn: &Turn<'_>, want: Option<&PlanSlot>, seen: &Container) -> Instance {
    let at = asks::standing(turn, seen);
    let address = &turn.desired.local.address;
    let endpoints = seen.ports.iter().map(|(name, port)| (name.clone(), endpoint(address, *port)));
    let state = state(turn, want, seen, &at);
    Instance {
        id: seen.instance.clone(),
        container: Some(seen.id.clone()),
        release: seen.release,
        counter: seen.counter,
        state,
        since: at.since,
        available: at.available,
        endpoints: endpoints.collect(),
        restarts: at.restarts,
        generation: seen.generation,
        side: if seen.side == 0 { PortSide::A } else { PortSide::B },
        readiness_unknown: turn.spec(&seen.release).is_some()
            && !at.ready
            && is_readiness_unknown(turn, seen, state),
        vitals: vitals(turn, seen, (state, at.proven)),
    }
}

fn vitals(turn: &Turn<'_>, seen: &Container, (state, proven): (InstanceState, bool)) -> Vitals {
    let known = turn.memory.of(seen);
    let started_at = match seen.state {
        ContainerState::Running { started_at } => Some(started_at),
        ContainerState::Created | ContainerState::Restarting | ContainerState::Exited { .. } => None,
    };
    let waits = matches!(state, InstanceState::Starting | InstanceState::Unready);
    let why = seen.health.as_ref().and_then(|health| health.why.clone());
    Vitals {
        started_at,
        last_exit: known.and_then(|known| known.last_exit),
        unproven: !proven,
        crash_loop: known.and_then(|known| known.crash_loop),
        not_ready: why.filter(|_| waits && seen.state.is_up()),
        pending: asks::pending(turn, seen).filter(|_| state.is_running()),
        gpu_errors: turn.observed.gpu_errors.get(&seen.id).cloned(),
    }
}

/// Returns whether only its probes can tell if the instance serves, and they have not yet. An instance that the agent
/// has seen to start has not served.
fn is_readiness_unknown(turn: &Turn<'_>, seen: &Container, state: InstanceState) -> bool {
    let ContainerState::Running { started_at } = seen.state else { return false };
    let decided = seen.health.as_ref().is_some_and(|health| health.decided);
    let may_be_ready = matches!(state, InstanceState::Starting | InstanceState::Unready);
    may_be_ready && !decided && started_at < turn.observed.watching_since && !is_kept(turn, seen)
}

fn is_kept(turn: &Turn<'_>, seen: &Container) -> bool {
    let known = turn.memory.slots.get(&seen.slot);
    known.is_some_and(|known| known.kept.as_ref() == Some(&seen.instance))
}

/// Returns whether the engine was asked to stop it a moment ago, or is asked now.
fn is_stopping(turn: &Turn<'_>, seen: &Container) -> bool {
    let stops = |step: &Step| matches!(step, Step::Stop(target) if target.container == seen.id);
    let asked =
        turn.observed.busy.contains(&seen.slot) && turn.memory.of(seen).is_some_and(|known| known.stopped);
    asked || turn.steps.iter().any(stops)
}

fn state(
    turn: &Turn<'_>,
    want: Option<&PlanSlot>,
    seen: &Container,
    at: &judge::InstanceHealth,
) -> InstanceState {
    let kept = is_kept(turn, seen);
    let phase = want.and_then(|want| {
        let previous = want.previous.as_ref().filter(|previous| previous.release == seen.release);
        if seen.release == want.release { Some(want.phase) } else { previous.map(|previous| previous.phase) }
    });
    let fallback = want.filter(|want| !want.good).and_then(|want| want.fallback);
    let was_ready = at.proven || seen.health.as_ref().is_some_and(|health| health.was_ready);
    match seen.state {
        ContainerState::Running { .. } | ContainerState::Restarting if kept => InstanceState::Unready,
        _ if kept => InstanceState::Failed,
        ContainerState::Created => InstanceState::Starting,
        ContainerState::Running { .. } | ContainerState::Restarting => match phase {
            Some(Phase::Draining) => InstanceState::Draining,
            _ if is_stopping(turn, seen) => InstanceState::Draining,
            _ if at.ready => InstanceState::Healthy,
            _ if at.warming => InstanceState::Starting,
            _ if was_ready => InstanceState::Unready,
            Some(Phase::Pulled | Phase::Running | Phase::Standby | Phase::Absent) | None => {
                InstanceState::Starting
            }
        },
        ContainerState::Exited { .. } if phase == Some(Phase::Standby) || fallback == Some(seen.release) => {
            InstanceState::Standby
        }
        ContainerState::Exited { .. } => InstanceState::Stopped,
    }
}
