//! The only writer of a slot.

use super::model::{Occupant, Older, Role, Slot, Trial};
use super::transition::Transition;
use crate::digest::Digest;
use crate::id::HostId;
use crate::plan::{Order, Phase, PlanSlot};
use crate::time::Timestamp;

/// A transition that does not fit the slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a slot that {state} cannot {transition}")]
pub struct InvalidTransition {
    state: &'static str,
    transition: &'static str,
}

/// The slot after `transition`.
///
/// # Errors
/// There is no slot to change, or there is one where it would come to be.
pub fn apply(slot: Option<&Slot>, transition: &Transition) -> Result<Slot, InvalidTransition> {
    match (slot, transition) {
        (None, Transition::Create { id, host, release, runs, good, retry, gpus, stands_in_for }) => {
            Ok(Slot {
                id: id.clone(),
                host: host.clone(),
                order: Order::StartFirst,
                role: stands_in_for.clone().map_or(Role::Member, Role::StandsInFor),
                trial: (!good).then(Trial::default),
                retry: *retry,
                target: Occupant {
                    release: *release,
                    run: if *runs { Phase::Running } else { Phase::Pulled },
                    generation: 0,
                    gpus: gpus.clone(),
                    until: None,
                },
                other: None,
                older: None,
                task: None,
            })
        }
        (Some(_), Transition::Create { .. }) => {
            Err(InvalidTransition { state: "exists", transition: "be created" })
        }
        (before, Transition::Adopt { host, part, until }) => Ok(adopt(before, host, part, *until)),
        (None, _) => Err(InvalidTransition { state: "does not exist", transition: "be changed" }),
        (Some(before), transition) => {
            let mut slot = before.clone();
            change(&mut slot, transition);
            keep_older(&mut slot, before.restarted().map(|of| of.release));
            Ok(slot)
        }
    }
}

fn adopt(before: Option<&Slot>, host: &HostId, part: &PlanSlot, until: Timestamp) -> Slot {
    let before = before.filter(|before| before.host() == host);
    let mut slot = Slot::adopted(host.clone(), part.clone());
    slot.role = before.map(|before| before.role.clone()).unwrap_or_default();
    // When it was to go is lost; it gets the whole time again.
    let stands_by = slot.is_good() && slot.other.as_ref().is_some_and(|other| other.run == Phase::Standby);
    slot.other.iter_mut().for_each(|other| other.until = stands_by.then_some(until));
    slot
}

fn change(slot: &mut Slot, transition: &Transition) {
    match transition {
        // They make a slot and change none: `apply` answers them.
        Transition::Create { .. } | Transition::Adopt { .. } => {}
        Transition::Prepare { release, incumbent, good, fallback, retry, gpus, stopped } => {
            let stays = incumbent.as_ref() == Some(release);
            rejoin(slot);
            let gpus_before = slot.target.gpus.clone();
            let other = incumbent.filter(|_| !stays).map(|release| slot.beside(release, gpus_before));
            retarget(slot, *release);
            slot.target.run = if stays { Phase::Running } else { Phase::Pulled };
            slot.target.gpus.clone_from(gpus);
            slot.trial = (!good).then_some(Trial { fallback: *fallback });
            slot.order = if *stopped { Order::StopFirst } else { Order::StartFirst };
            slot.retry = *retry;
            slot.other = other;
        }
        Transition::Start { order, generation, makes_way, keeps_older } => {
            let restarts = slot.target.run.runs() && *generation > slot.target.generation;
            slot.older = (restarts && *keeps_older).then_some(Older::Kept);
            slot.target.run = Phase::Running;
            slot.target.generation = slot.target.generation.max(*generation);
            slot.order = *order;
            if *order == Order::StopFirst || *makes_way {
                rest(slot);
            }
        }
        Transition::LetGo { by_host } => {
            slot.older = slot.older.filter(|_| !by_host).map(|_| Older::LetGo);
        }
        Transition::Drain { target, other } => {
            let drain = |occupant: &mut Occupant, asked: bool| {
                if asked && occupant.run == Phase::Running {
                    occupant.run = Phase::Draining;
                }
            };
            drain(&mut slot.target, *target);
            slot.other.iter_mut().for_each(|occupant| drain(occupant, *other));
        }
        Transition::Rest { until } => {
            rest(slot);
            slot.other.iter_mut().for_each(|other| other.until = until.or(other.until));
        }
        Transition::Keep { until } => {
            slot.trial = None;
            slot.retry = false;
            // Said again in a later decision, it changes nothing.
            if let Some(other) = &mut slot.other {
                other.until.get_or_insert(*until);
            }
        }
        Transition::Forget => slot.other = None,
        Transition::Promote { serves, until } => {
            slot.trial = None;
            slot.retry = false;
            let runs = slot.target.run == Phase::Running;
            if let Some(other) =
                slot.other.as_mut().filter(|other| runs && (*serves || other.run == Phase::Standby))
            {
                other.run = Phase::Standby;
                other.until.get_or_insert(*until);
            }
        }
        Transition::Park { makes_way } => {
            if slot.target.run != Phase::Pulled {
                slot.target.run = Phase::Standby;
            }
            rest(slot);
            if *makes_way {
                slot.order = Order::StopFirst;
            }
        }
        Transition::Resume => slot.target.run = Phase::Running,
        Transition::Abandon => {
            slot.target.run = Phase::Standby;
            slot.other = None;
            slot.retry = false;
        }
        Transition::Revert { to, beside: other, order, starts } => {
            // An instance that was told to stop, so that old and new never run together, is not started again.
            let rests = *order == Order::StopFirst || slot.target.run == Phase::Standby;
            let run = if rests { Phase::Standby } else { Phase::Running };
            rejoin(slot);
            // Each keeps its own devices.
            let gpus = slot.devices_of(to).to_vec();
            let other = other
                .map(|release| Occupant { run, ..slot.beside(release, slot.devices_of(&release).to_vec()) });
            retarget(slot, *to);
            slot.other = other;
            slot.target.gpus = gpus;
            slot.target.run = if *starts { Phase::Running } else { Phase::Standby };
            slot.trial = None;
            slot.order = *order;
            slot.retry = false;
        }
        Transition::Stand { good } => {
            if let Some(good) = good {
                retarget(slot, *good);
            }
            slot.trial = good.is_none().then(Trial::default);
            slot.target.run = Phase::Standby;
            slot.order = Order::StartFirst;
            slot.other = None;
            slot.retry = false;
            slot.role = Role::Member;
        }
        Transition::Move { gpus, order, keeps_older } => {
            slot.target.gpus.clone_from(gpus);
            if slot.target.run.runs() {
                slot.target.run = Phase::Running;
                slot.target.generation = slot.target.generation.saturating_add(1);
                slot.order = *order;
                slot.older = keeps_older.then_some(Older::Kept);
            }
        }
        Transition::Restored { release } => {
            let gpus = slot.devices_of(release).to_vec();
            slot.other = Some(slot.beside(*release, gpus));
            if slot.target.run.runs() {
                slot.target.run = Phase::Pulled;
            }
        }
        Transition::Retry => slot.retry = true,
        Transition::Disarm => slot.retry = false,
        Transition::Retain { until } => {
            // Said again in a later decision, it changes nothing.
            if !slot.is_kept() {
                slot.role = Role::Kept { until: *until };
            }
        }
        Transition::Unpair => slot.role = Role::Member,
        Transition::Assign { task } => slot.task = Some(task.clone()),
        Transition::Withdraw => slot.task = None,
        Transition::Leave => {
            slot.task = None;
            slot.target.run = Phase::Absent;
            slot.other = None;
            slot.role = Role::Member;
        }
        Transition::BringTo { release, good, fallback } => bring_to(slot, *release, *good, *fallback),
    }
}

fn retarget(slot: &mut Slot, release: Digest) {
    if slot.target.release != release {
        slot.target.generation = slot.generation_of(&release);
        slot.task = None;
    }
    slot.target.release = release;
}

/// Forgets the instances that a restart of `release` has replaced, unless that runs on as the target; those that are kept also
/// where it runs on beside a target that is not begun.
fn keep_older(slot: &mut Slot, release: Option<Digest>) {
    let stays = |of: &Occupant| Some(of.release) == release && of.run.runs();
    let is_kept = slot.older == Some(Older::Kept) && slot.restarted().is_some_and(stays);
    slot.older = slot.older.filter(|_| is_kept || stays(&slot.target));
}

/// One that gets a part in a rollout is a member, whatever it was kept for.
fn rejoin(slot: &mut Slot) {
    if slot.is_kept() {
        slot.role = Role::Member;
    }
}

impl Slot {
    /// The generation of its instance of `release`, as far as that tells it from one that is kept beside it.
    fn generation_of(&self, release: &Digest) -> u64 {
        let of = self.restarted().filter(|of| &of.release == release && self.older == Some(Older::Kept));
        of.map_or(0, |of| of.generation)
    }

    /// Its instance of `release` as the second one, which runs.
    fn beside(&self, release: Digest, gpus: Vec<String>) -> Occupant {
        let generation = self.generation_of(&release);
        Occupant { release, run: Phase::Running, generation, gpus, until: None }
    }
}

fn rest(slot: &mut Slot) {
    slot.other.iter_mut().for_each(|other| other.run = Phase::Standby);
}

/// Gives a slot that another word left behind its part, as the rollout to `release` would have: what serves goes on serving,
/// and the care of the service, or the rollout, does the rest.
fn bring_to(slot: &mut Slot, release: Digest, good: bool, fallback: Option<Digest>) {
    if slot.is_kept() {
        // One of another release goes when its time is over, as it would have.
        if slot.target.release != release {
            return;
        }
        rejoin(slot);
    }
    if slot.target.release == release && slot.is_good() == good {
        return;
    }
    slot.trial = (!good).then_some(Trial { fallback });
    slot.retry = false;
    if slot.target.release == release {
        return;
    }
    // Of two that run, the older one is the one that surely serves.
    let older = slot.other.as_ref().filter(|other| other.run == Phase::Running).map(|other| other.release);
    let incumbent = match slot.target.run {
        Phase::Running | Phase::Draining => older.or(Some(slot.target.release)),
        Phase::Pulled | Phase::Standby | Phase::Absent => older,
    };
    let stays = incumbent == Some(release);
    let other = incumbent.filter(|_| !stays).map(|of| slot.beside(of, slot.target.gpus.clone()));
    retarget(slot, release);
    slot.target.run = if stays { Phase::Running } else { Phase::Pulled };
    // Its order stays: where the older one stopped first, nothing may serve yet, and that counts until something does.
    slot.other = other;
}
