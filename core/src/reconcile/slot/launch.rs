//! A new instance: what holds it up, and what it is made of.

use std::sync::Arc;
use std::time::Duration;

use crate::capacity::{GpuTaken, Need};
use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::{Evidence, Refusal, RefusalCode};
use crate::plan::Phase;
use crate::release::{Image, Spec};

use super::super::Turn;
use super::super::asks;
use super::super::container::{Container, GpuClaim};
use super::super::disposition::{Disposition, Mode, SlotContext};
use super::super::input::VerifiedRelease;
use super::super::judge;
use super::super::memory::{PullTrouble, Retry};
use super::super::networks;
use super::super::ports;
use super::super::room;
use super::super::step::{Launch, Step};
use super::devices;
use super::status::pull_evidence;

/// A registry that cannot answer just now is asked again for so long before the pull counts as failed.
const PULL_PATIENCE: Duration = Duration::from_secs(120);
/// A pull that failed is not tried again sooner, whatever plans come.
const PULL_PAUSE: Duration = Duration::from_secs(1);

/// The thing that holds up the new instance.
#[derive(Debug)]
pub(super) enum Hold {
    /// Its image is being pulled.
    Pull,
    /// Its release asks for checks, which are being made.
    Checks,
    /// Nobody knows whether its devices work, as they do not answer.
    Devices,
    /// It may never run twice, and the coordinator has not said that nothing has changed.
    Lease,
    /// Its image could not be pulled; that is tried again.
    PullFailed(Box<Evidence>),
    /// It may not, or cannot, be started here.
    Refused(Refusal),
}

/// Steps 10 to 12 and 14 of the verification, and the pull. `None`: it may be started, or it runs.
pub(super) fn hold(turn: &mut Turn<'_>, context: &mut SlotContext<'_>) -> Option<Hold> {
    let want = context.want;
    let instance = context.target();
    let begins = match want.phase {
        Phase::Running | Phase::Draining => !instance.is_some_and(|seen| seen.state.is_up()),
        Phase::Pulled => true,
        Phase::Standby | Phase::Absent => false,
    };
    if context.mode != Mode::Usual || !begins {
        return None;
    }
    if let Some(refusal) = turn.desired.refusals.get(&want.slot) {
        return Some(Hold::Refused(refusal.clone()));
    }
    let Some(release) = context.release else {
        return Some(Hold::Refused(Refusal::new(RefusalCode::UnsignedRelease, "the release is not here")));
    };
    if !want.good && turn.memory.is_quarantined(&want.slot.service, &release.content) {
        let known = turn.memory.quarantine.get(&want.slot.service).and_then(|q| q.get(&release.content));
        let reason = known.map_or_else(String::new, |known| known.reason.clone());
        return Some(Hold::Refused(Refusal::new(RefusalCode::Quarantined, reason)));
    }
    if instance.is_some() && context.wants_running() {
        return context.unleased.then_some(Hold::Lease);
    }
    let checks = if want.good { None } else { asks::check(turn, &want.slot, release) };
    if let Some(asks::Held::Failed(detail)) = checks {
        return Some(Hold::Refused(Refusal::new(RefusalCode::CheckFailed, detail)));
    }
    if context.unleased && context.wants_running() {
        return Some(Hold::Lease);
    }
    // The checks are made while the image is pulled.
    image(turn, context, &release.release.spec)
        .or_else(|| checks.map(|_| Hold::Checks))
        .or_else(|| if context.wants_running() { room(turn, context, release) } else { None })
}

fn image(turn: &mut Turn<'_>, context: &SlotContext<'_>, spec: &Spec) -> Option<Hold> {
    let image = &spec.image;
    if turn.observed.image(image).is_some() {
        return None;
    }
    let seq = turn.desired.plan.as_ref().map_or(0, |plan| plan.seq);
    let trouble = turn.memory.volatile.pulls.get(&image.digest).cloned();
    let known = trouble.filter(|retry| retry.what.seq == seq);
    if known.as_ref().is_some_and(|retry| retry.what.wrong) {
        let detail = known.map_or_else(String::new, |retry| retry.what.reason.to_string());
        return Some(Hold::Refused(Refusal::new(RefusalCode::WrongImage, detail)));
    }
    if !turn.observed.pulls.contains_key(&image.digest) {
        if let Err(shortage) = room::disk_fits(&turn.observed.capacity, image.size.saturating_mul(2)) {
            return Some(Hold::Refused(Refusal::new(RefusalCode::NoRoom, shortage.to_string())));
        }
        pull(turn, image, seq);
    }
    let patience = PULL_PATIENCE.min(judge::before_deadline(spec).duration());
    let is_waited_for =
        |retry: &Retry<PullTrouble>| retry.what.transient && turn.now.since(retry.what.first_at) < patience;
    if let Some(retry) = known.as_ref().filter(|retry| is_waited_for(retry)) {
        turn.wake(retry.what.first_at + patience);
        return Some(Hold::Pull);
    }
    let evidence = known.and_then(|retry| pull_evidence(turn, context.want, &retry.what));
    Some(evidence.map_or(Hold::Pull, Hold::PullFailed))
}

/// Queues a pull, unless it failed a moment ago.
pub(super) fn pull(turn: &mut Turn<'_>, image: &Image, seq: u64) {
    let failed = turn.memory.volatile.pulls.get(&image.digest);
    let due =
        failed.map(|retry| if retry.what.seq == seq { retry.not_before } else { retry.what.at + PULL_PAUSE });
    match due {
        Some(due) if due > turn.now => turn.wake(due),
        Some(_) | None => drop(turn.pulls.insert(image.digest, image.clone())),
    }
}

fn room(turn: &Turn<'_>, context: &mut SlotContext<'_>, release: &VerifiedRelease) -> Option<Hold> {
    let want = context.want;
    let wish = release.release.spec.resources.gpus.map_or(0, |wish| wish.count);
    let given = want.gpus.len();
    let too_few = (wish as usize > given).then_some(room::Shortage::TooFewGpus { asked: wish, given });
    let new = Need::of_release(&release.release.spec, &want.gpus);
    let capacity = &turn.observed.capacity;
    let predecessor = context.running_predecessor();
    let outdated = context.outdated().map(|seen| seen.id.clone());
    let named = |seen: &Container| predecessor == Some(seen.release) || outdated.as_ref() == Some(&seen.id);
    // Instances that run in the slot until the new one serves, devices included: unless they stop first.
    let runs = |counts: &dyn Fn(&Container) -> bool| {
        let mut beside = Need::default();
        let stays = context.seen.iter().filter(|seen| seen.state.is_up() && !context.stops_first());
        stays.filter(|seen| counts(seen)).for_each(|seen| beside.add(&room::need(seen)));
        beside
    };
    let (all, stays) = (runs(&|_| true), runs(&named));
    let fits = |beside: &Need| {
        let others = turn.claims.iter().filter(|(slot, _)| **slot != want.slot).map(|(_, need)| need);
        let others = others.chain(&turn.task_claims).chain([beside]);
        room::fits(capacity, &turn.desired.local.policy, others, &new)
    };
    let verdict = too_few.map_or(Ok(()), Err).and_then(|()| room::disk_fits(capacity, 0)).and_then(|()| {
        fits(&all).or_else(|_| {
            context.tight = true;
            fits(&stays)
        })
    });
    verdict.err().map(|shortage| {
        // It is waited for, until the deadline of the rollout: what serves goes on meanwhile.
        if matches!(shortage, room::Shortage::GpusSilent(_)) {
            return Hold::Devices;
        }
        Hold::Refused(Refusal::new(RefusalCode::NoRoom, shortage.to_string()))
    })
}

/// Launches what is to run and has no container: the new instance, the fallback of a failed one, or the
/// predecessor as long as the new one does not serve.
pub(super) fn missing(
    turn: &mut Turn<'_>,
    context: &SlotContext<'_>,
    dispositions: &[(&Container, Disposition)],
) -> Result<Option<Step>, Hold> {
    let want = context.want;
    let release = if context.is_isolated() || context.unleased {
        None
    } else if context.mode == Mode::Restoring {
        context.armed_fallback()
    } else if context.wants_running() && context.target().is_none() && !context.blocked {
        Some(want.release)
    } else if context.wants_running() && (context.available || context.stops_first()) && !context.blocked {
        None
    } else {
        context.running_predecessor()
    };
    let is_here = |release: &Digest| match release {
        planned if *planned == want.release => context.target().is_some(),
        other => context.instance_of(other).is_some(),
    };
    let release = release.filter(|release| !is_here(release));
    let Some(release) = release.and_then(|release| turn.desired.releases.get(&release)).cloned() else {
        return Ok(None);
    };
    let failed = context.known.failed.as_ref();
    let failed = failed.is_some_and(|failed| failed.restart.is_none() && failed.content == release.content);
    let wanted = &release.release.spec.image;
    let Some(image) = turn.observed.image(wanted).map(|image| image.id.clone()) else {
        // The last resort: kept images of fallbacks need no registry.
        let seq = turn.desired.plan.as_ref().map_or(0, |plan| plan.seq);
        if (context.mode == Mode::Restoring || context.barred)
            && !failed
            && !turn.observed.pulls.contains_key(&wanted.digest)
        {
            pull(turn, wanted, seq);
        }
        return Ok(None);
    };
    let Some(side) = free_side(dispositions).filter(|_| !failed) else { return Ok(None) };
    let gpus = devices::of_launch(turn, context, &release);
    // An instance that goes back gets the devices of the target when nothing of the slot has them any more.
    if release.digest != want.release
        && devices::is_held(&Need::of_release(&release.release.spec, &gpus), dispositions)
    {
        return Ok(None);
    }
    launch(turn, context, release, image, side, &gpus).map(Some)
}

fn launch(
    turn: &mut Turn<'_>,
    context: &SlotContext<'_>,
    release: Arc<VerifiedRelease>,
    image: String,
    side: u8,
    gpus: &[String],
) -> Result<Step, Hold> {
    let slot = context.want.slot.clone();
    let ports = ports::assign(turn.desired, &mut turn.memory, &slot, &release, side).map_err(
        |ports::RangeExhausted| {
            Hold::Refused(Refusal::new(RefusalCode::NoRoom, "ports: the range is used up"))
        },
    )?;
    let known = turn.memory.slot(&slot);
    known.serial += 1;
    let instance = instance_name(&slot, &release, known.serial);
    let network = networks::of_launch(turn, &slot, &instance, &release).map_err(Hold::Refused)?;
    let known = turn.memory.slot(&slot);
    let generation = if release.digest == context.want.release { context.want.generation } else { 0 };
    if release.digest == context.want.release {
        known.kept = None; // it makes way for the new one
    }
    devices::note(&mut known.devices, context, &release.digest, gpus);
    if let Some(pulled) = turn.memory.pulled.get_mut(&release.release.spec.image.digest) {
        pulled.used_at = turn.now;
    }
    let plan = turn.plan_number();
    let need = Need::of_release(&release.release.spec, gpus);
    turn.claims.entry(slot.clone()).or_default().add(&need);
    let memory = |taken: &GpuTaken| match taken {
        GpuTaken::Exclusively => None,
        GpuTaken::Memory(memory) => Some(*memory),
    };
    let gpus = need
        .gpus
        .iter()
        .map(|(uuid, taken)| GpuClaim { uuid: uuid.clone(), memory: memory(taken) })
        .collect();
    let hook = None;
    let launch =
        Launch { plan, slot, instance, release, generation, image, side, ports, gpus, network, hook };
    Ok(Step::Launch(Box::new(launch)))
}

/// `production.web.0.r7.3`: unique in the fleet as long as the host keeps its memory.
fn instance_name(slot: &SlotId, release: &VerifiedRelease, serial: u64) -> String {
    let service = &slot.service;
    format!("{}.{}.{}.{}.{serial}", service.environment, service.name, slot.index, release.release.counter)
}

/// Which side a new instance gets: one without a container, else one whose containers stand still.
fn free_side(dispositions: &[(&Container, Disposition)]) -> Option<u8> {
    let rank = |side: u8| {
        let mine = dispositions.iter().filter(|(seen, _)| seen.side == side && !seen.ports.is_empty());
        mine.map(|(seen, disposition)| {
            if seen.state.is_up() {
                3
            } else if *disposition == Disposition::Remove {
                1
            } else {
                2
            }
        })
        .max()
    };
    [0_u8, 1].into_iter().min_by_key(|side| rank(*side)).filter(|side| rank(*side) != Some(3))
}

/// Returns whether there is no side for the instance that is to be made before something has stopped.
pub(super) fn needs_a_side(context: &SlotContext<'_>, dispositions: &[(&Container, Disposition)]) -> bool {
    let missing = if context.wants_running() {
        context.target().is_none()
    } else {
        let predecessor = context.running_predecessor();
        predecessor.is_some_and(|release| context.instance_of(&release).is_none())
    };
    missing && !context.blocked && context.mode == Mode::Usual && free_side(dispositions).is_none()
}
