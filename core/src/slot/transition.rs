//! The closed set of changes of a slot. Everything that ever changes in one goes through [`apply`].
//!
//! | transition | from | the slot afterwards |
//! |---|---|---|
//! | Create | nothing | its target is pulled, or runs, alone |
//! | Adopt | anything | as a host's plan has it; recovery only |
//! | Prepare | any | another target is pulled, beside the instance that serves |
//! | Start | any | its target runs, beside the second instance or in its place |
//! | Drain | one that is about to stop | the instances that stop get no new requests, and finish what they have |
//! | Rest | two instances | the second one is stopped and kept |
//! | Forget | two instances | the second one is removed |
//! | Promote | any | its target is good |
//! | Park | any | nothing runs in it; what it was at, it is at |
//! | Resume | a target that is not begun, or parked | its target runs |
//! | Abandon | any | its target is stopped and kept, alone |
//! | Revert | any | an older release is its target again, and good |
//! | Stand | any | its target, the good release where there is one, is stopped; it goes on alone |
//! | Retry, Disarm | any | a target whose content failed there may, or may not, be started once more |
//! | Unpair | a stand-in | it is a member |
//! | Leave | any | nothing of it is to be left; it is remembered until its host says so |

use super::model::{Occupant, Role, Slot, Trial};
use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::plan::{Order, Phase, PlanSlot};
use crate::time::Timestamp;

/// One change of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// A slot comes to be.
    Create {
        /// Its identity.
        id: SlotId,
        /// Its host.
        host: HostId,
        /// The release it is to have.
        release: Digest,
        /// Whether its target runs at once; otherwise its image is pulled.
        runs: bool,
        /// Whether that release is good.
        good: bool,
        /// Whether it is started although its content failed before.
        retry: bool,
        /// Its devices.
        gpus: Vec<String>,
        /// The slot that it stands in for.
        stands_in_for: Option<SlotId>,
    },
    /// The part of a plan that a host holds becomes the slot.
    Adopt {
        /// The host.
        host: HostId,
        /// The part.
        part: Box<PlanSlot>,
        /// When its second instance is removed, if that only stands by.
        until: Timestamp,
    },
    /// The image of another target is pulled; the instance that serves goes on beside it.
    Prepare {
        /// The target.
        release: Digest,
        /// The release of the instance that serves; it may be the target.
        incumbent: Option<Digest>,
        /// Whether the target is good.
        good: bool,
        /// The release that is restored if a target on trial fails.
        fallback: Option<Digest>,
        /// Whether it is started although its content failed before.
        retry: bool,
        /// The target's devices.
        gpus: Vec<String>,
        /// Whether the instance before was stopped for the target before, and nothing serves since.
        stopped: bool,
    },
    /// The target starts.
    Start {
        /// Which instance goes first.
        order: Order,
        /// The generation that it has at least.
        generation: u64,
        /// Whether the second instance makes way, whichever goes first.
        makes_way: bool,
    },
    /// Instances that are about to stop get no new requests, and finish what they have.
    Drain {
        /// Whether the target is one of them.
        target: bool,
        /// Whether the second instance is one of them.
        other: bool,
    },
    /// The second instance stops and is kept.
    Rest {
        /// When it is removed, if that is settled.
        until: Option<Timestamp>,
    },
    /// The second instance is removed.
    Forget,
    /// The target is good.
    Promote {
        /// Whether it serves, so that the second instance stops.
        serves: bool,
        /// When a second instance that stands by is removed.
        until: Timestamp,
    },
    /// Nothing runs in it.
    Park {
        /// Whether another instance is to start in its place: until that serves, the slot counts as down.
        makes_way: bool,
    },
    /// The target runs as it did.
    Resume,
    /// The target stops and is kept, without a second instance and without another try.
    Abandon,
    /// An older release becomes the target again.
    Revert {
        /// That release, which is good.
        to: Digest,
        /// The release that still runs beside it.
        beside: Option<Digest>,
        /// Which instance goes first.
        order: Order,
        /// Whether it starts now.
        starts: bool,
    },
    /// Nothing runs in it until a person says so.
    Stand {
        /// The release that it starts with then.
        good: Option<Digest>,
    },
    /// The target may be started once more although its content failed there.
    Retry,
    /// It may not.
    Disarm,
    /// It is a member from now on.
    Unpair,
    /// The slot is to be empty.
    Leave,
    /// Another release, found on other hosts, becomes the target: recovery only.
    BringTo {
        /// That release.
        release: Digest,
        /// Whether it is good.
        good: bool,
        /// The release that is restored if it fails.
        fallback: Option<Digest>,
    },
}

impl Transition {
    /// Whether it is there to stop an instance that serves, so that this one drains first. What a host does by itself, and
    /// what only writes down how a host was found, is not.
    pub const fn stops(&self) -> bool {
        match self {
            Self::Rest { .. }
            | Self::Start { .. }
            | Self::Park { .. }
            | Self::Abandon
            | Self::Revert { .. }
            | Self::Stand { .. }
            | Self::Leave => true,
            Self::Create { .. }
            | Self::Adopt { .. }
            | Self::Prepare { .. }
            | Self::Drain { .. }
            | Self::Forget
            | Self::Promote { .. }
            | Self::Resume
            | Self::Retry
            | Self::Disarm
            | Self::Unpair
            | Self::BringTo { .. } => false,
        }
    }
}

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
            let gpus_before = slot.target.gpus.clone();
            retarget(slot, *release);
            slot.target.run = if stays { Phase::Running } else { Phase::Pulled };
            slot.target.gpus.clone_from(gpus);
            slot.trial = (!good).then_some(Trial { fallback: *fallback });
            slot.order = if *stopped { Order::StopFirst } else { Order::StartFirst };
            slot.retry = *retry;
            slot.other =
                incumbent.filter(|_| !stays).map(|release| beside(release, Phase::Running, gpus_before));
        }
        Transition::Start { order, generation, makes_way } => {
            slot.target.run = Phase::Running;
            slot.target.generation = slot.target.generation.max(*generation);
            slot.order = *order;
            if *order == Order::StopFirst || *makes_way {
                rest(slot);
            }
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
            // What was told to stop, so that old and new never run together, is not started again.
            let rests = *order == Order::StopFirst || slot.target.run == Phase::Standby;
            let run = if rests { Phase::Standby } else { Phase::Running };
            slot.other = other.map(|release| beside(release, run, slot.target.gpus.clone()));
            retarget(slot, *to);
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
        Transition::Retry => slot.retry = true,
        Transition::Disarm => slot.retry = false,
        Transition::Unpair => slot.role = Role::Member,
        Transition::Leave => {
            slot.target.run = Phase::Absent;
            slot.other = None;
            slot.role = Role::Member;
        }
        Transition::BringTo { release, good, fallback } => bring_to(slot, *release, *good, *fallback),
    }
}

fn retarget(slot: &mut Slot, release: Digest) {
    if slot.target.release != release {
        slot.target.generation = 0;
    }
    slot.target.release = release;
}

const fn beside(release: Digest, run: Phase, gpus: Vec<String>) -> Occupant {
    Occupant { release, run, generation: 0, gpus, until: None }
}

fn rest(slot: &mut Slot) {
    slot.other.iter_mut().for_each(|other| other.run = Phase::Standby);
}

/// Gives a slot that another word left behind its part, as the rollout to `release` would have: what serves goes on serving,
/// and the care of the service, or the rollout, does the rest.
fn bring_to(slot: &mut Slot, release: Digest, good: bool, fallback: Option<Digest>) {
    if slot.target.release == release && slot.is_good() == good {
        return;
    }
    slot.trial = (!good).then_some(Trial { fallback });
    slot.retry = false;
    if slot.target.release == release {
        return;
    }
    // Where both run, the older one is the one that surely serves.
    let older = slot.other.as_ref().filter(|other| other.run == Phase::Running).map(|other| other.release);
    let incumbent = match slot.target.run {
        Phase::Running | Phase::Draining => older.or(Some(slot.target.release)),
        Phase::Pulled | Phase::Standby | Phase::Absent => older,
    };
    let stays = incumbent == Some(release);
    let gpus = slot.target.gpus.clone();
    slot.target.release = release;
    slot.target.generation = 0;
    slot.target.run = if stays { Phase::Running } else { Phase::Pulled };
    // Its order stays: where the older one stopped first, nothing may serve yet, and that counts until something does.
    slot.other = incumbent.filter(|_| !stays).map(|release| beside(release, Phase::Running, gpus));
}
