//! The places of instances of a release that stands beside the old one: slots in which both fit, and for the others, whose hosts
//! hold one of the two only, slots of their own on other hosts.

use std::collections::BTreeMap;

use crate::capacity::Taken;
use crate::fleet::Member;
use crate::id::{HostId, SlotId};
use crate::placement::{self, StopFirst};
use crate::plan::Phase;
use crate::release::Release;
use crate::service::ReleaseRef;
use crate::slot::{Intent, Slot};

use super::model::Kind;
use super::planner::Planner;

/// Slots that one message names.
pub(super) const NAMED: usize = 5;

/// A slot whose host holds no second instance.
pub(super) struct Full {
    pub(super) slot: SlotId,
    /// The host's answer to a second one.
    pub(super) why: String,
    /// Whether the second one may stand on another host.
    pub(super) may_stand_elsewhere: bool,
}

/// Slots that get a part in a rollout.
pub(super) struct Sides {
    /// The new instance fits beside what runs there, or nothing does.
    pub(super) beside: Vec<SlotId>,
    /// It does not.
    pub(super) full: Vec<Full>,
    /// Reservations on the hosts of the service then, the new instances in its slots included.
    pub(super) taken: BTreeMap<HostId, Taken>,
}

/// Whether the instances of a rollout's release stand beside those of another one.
pub(super) fn stands_beside(planner: &Planner<'_>, release: &Release) -> bool {
    release.spec.runs_beside()
        && planner.rollout.as_ref().is_some_and(|rollout| rollout.kind != Kind::Restart)
}

/// Tells `slots` apart by the room on their hosts, one after the other. Those that have their part are beside: an earlier step
/// of the same rollout gave it to them.
pub(super) fn sides(planner: &Planner<'_>, slots: Vec<SlotId>, to: ReleaseRef, release: &Release) -> Sides {
    let mut sides = Sides { beside: Vec::new(), full: Vec::new(), taken: planner.taken() };
    let exclusive = planner.is_exclusive();
    for slot in slots {
        let at = &planner.slots[&slot];
        let intent = Intent::from(at);
        let is_new = intent.lets_anything_run() && at.release() != to.digest && !intent.has_run(&to.digest);
        let Some(taken) = sides.taken.get_mut(at.host()).filter(|_| is_new) else {
            sides.beside.push(slot);
            continue;
        };
        let member = planner.member_of(&slot);
        let held = at.target().gpus.as_slice();
        let devices =
            |member: &Member| placement::devices(&release.spec, &member.facts, (taken, taken), held).ok();
        let gpus = member.and_then(devices).unwrap_or_else(|| held.to_vec());
        let fits = if exclusive {
            Err(StopFirst::Exclusive)
        } else {
            placement::start_first(&release.spec, member, taken, &gpus)
        };
        match fits {
            Ok(()) => {
                taken.add_instance(&release.spec, &gpus);
                sides.beside.push(slot);
            }
            Err(why) => {
                let pinned = is_pinned(planner, at, release);
                let stays = if pinned { ", and its named volume is there" } else { "" };
                sides.full.push(Full {
                    why: format!("{} cannot hold both releases of {slot}: {why}{stays}", at.host()),
                    may_stand_elsewhere: why != StopFirst::Exclusive && !pinned,
                    slot,
                });
            }
        }
    }
    sides
}

/// Whether what runs in the slot, or is to run in its place, has a named volume: that is on the slot's host, and nowhere else.
pub(super) fn is_pinned(planner: &Planner<'_>, slot: &Slot, release: &Release) -> bool {
    let pins = |named| planner.release(&named).is_some_and(|of| of.spec.pins_slots());
    release.spec.pins_slots() || slot.named().any(pins)
}

/// Whether the slot is to have an instance beside the one that runs there, and only its image is pulled so far.
pub(super) fn is_to_have_both(planner: &Planner<'_>, slot: &Slot) -> bool {
    let runs_beside = planner.release(&slot.release()).is_some_and(|release| release.spec.runs_beside());
    let other_runs = slot.other().is_some_and(|other| other.run.runs());
    runs_beside && other_runs && slot.run() == Phase::Pulled
}

/// The reason for which these slots have no room for both instances.
pub(super) fn words(full: &[Full]) -> String {
    let mut texts: Vec<String> = full.iter().take(NAMED).map(|full| full.why.clone()).collect();
    if full.len() > NAMED {
        texts.push(format!("and {} more", full.len() - NAMED));
    }
    texts.join("; ")
}
