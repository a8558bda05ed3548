//! The slots that stay on their hosts for a release, and those whose hosts have no room for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::capacity::{NoRoom, Taken};
use crate::host::Liveness;
use crate::id::{HostId, SlotId};
use crate::placement::Unfit;
use crate::release::{Release, Scale, Spec};
use crate::slot::{Certainty, Slot};

use super::elsewhere::{NAMED, is_pinned, stands_beside};
use super::model::Kind;
use super::planner::Planner;

/// The slots that stay on their hosts for a release, and the others.
pub(crate) struct Stays<'r> {
    release: &'r Release,
    /// Those that stay, in their order.
    pub(super) keep: Vec<SlotId>,
    /// Their devices.
    gpus: BTreeMap<SlotId, Vec<String>>,
    /// Those whose host has no room for the release, not even once what runs in the slot has made way; what is missing.
    without: Vec<(SlotId, Unfit)>,
}

impl<'r> Stays<'r> {
    const fn new(release: &'r Release) -> Self {
        Self { release, keep: Vec::new(), gpus: BTreeMap::new(), without: Vec::new() }
    }

    fn add(&mut self, slot: &SlotId, gpus: Vec<String>) {
        self.gpus.insert(slot.clone(), gpus);
        self.keep.push(slot.clone());
    }

    /// The specification and the devices that a slot comes to, if it stays.
    pub(super) fn next(&self, slot: &SlotId) -> Option<(&'r Spec, &[String])> {
        self.gpus.get(slot).map(|gpus| (&self.release.spec, gpus.as_slice()))
    }
}

impl Planner<'_> {
    /// The first `count` of `slots` whose hosts have room for `release` in their place. A host is asked for each slot beside all
    /// others that it has: those that stay with their present need or the new one, whichever is larger. What goes back stays where
    /// it was, and so does a slot on a host that is away, as its facts are old.
    pub(super) fn stays<'r>(&mut self, slots: &[SlotId], release: &'r Release, count: usize) -> Stays<'r> {
        let mut stays = Stays::new(release);
        let roomy = self.roomy(slots, release);
        for slot in slots {
            if stays.keep.len() == count {
                break;
            }
            let is_roomy = roomy.contains(self.slots[slot].host());
            let room = if is_roomy { Ok(Vec::new()) } else { self.room_in_place(slot, &stays) };
            match room {
                Ok(gpus) => stays.add(slot, gpus),
                Err(_) if !self.is_deploy() => stays.add(slot, self.slots[slot].target().gpus.clone()),
                Err(why) => stays.without.push((slot.clone(), Unfit::NoRoom(why))),
            }
        }
        stays
    }

    fn is_deploy(&self) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.kind == Kind::Deploy)
    }

    /// The hosts that have room for the release in all of `slots`, whatever their order; none where devices or ports are to be found.
    fn roomy(&self, slots: &[SlotId], release: &Release) -> BTreeSet<HostId> {
        let spec = &release.spec;
        if spec.resources.gpus.is_some() || spec.ports.values().any(|port| port.host.is_some()) {
            return BTreeSet::new();
        }
        let mut all = Stays::new(release);
        slots.iter().for_each(|slot| all.add(slot, Vec::new()));
        let taken = self.taken_before(Some(&all));
        let has_room = |(host, taken): &(HostId, Taken)| {
            let facts = self.snapshot.fleet.member(host).map(|member| &member.facts);
            facts.is_some_and(|facts| {
                taken.is_within(facts) && Taken::default().fit_processes(facts, spec).is_ok()
            })
        };
        taken.into_iter().filter(has_room).map(|(host, _)| host).collect()
    }

    /// The devices of an instance of the release in the place of a slot, or the reason why its host has no room for it.
    fn room_in_place(&mut self, slot: &SlotId, stays: &Stays<'_>) -> Result<Vec<String>, NoRoom> {
        let Some(member) = self.member_of(slot).filter(|member| member.liveness == Liveness::Connected)
        else {
            return Ok(self.slots[slot].target().gpus.clone());
        };
        let (spec, facts) = (&stays.release.spec, &member.facts);
        let others = self.taken_by_others_before(slot, &self.host(slot), Some(stays));
        others.fit_processes(facts, spec)?;
        others.fit_ports(spec)?;
        self.fitting_devices(slot, spec, facts, &others)
    }

    /// The reason for which the release cannot have its slots: some hosts do not take it, and their slots cannot leave them. Where
    /// a service runs on every host, those are the slots that may serve; a host where nothing does holds up no other one.
    pub(super) fn refusal_to_stay(&self, stays: &Stays<'_>) -> Option<String> {
        let release = stays.release;
        let per_host = release.spec.scale == Scale::PerHost;
        let has: BTreeSet<&HostId> = stays.keep.iter().map(|slot| self.slots[slot].host()).collect();
        let bound = |(slot, why): (&SlotId, &Unfit)| {
            let at = &self.slots[slot];
            let host = at.host();
            let stays_there = if self.is_bound(at, release) {
                "its named volume is there".to_owned()
            } else if per_host && !has.contains(host) && self.facts(slot).serving() != Certainty::No {
                format!("it serves there; drain {host} to leave that host out")
            } else {
                return None;
            };
            Some(format!("{host} does not take it in the place of {slot}: {why}, and {stays_there}"))
        };
        let forbidden = self.forbidden_in_place(release);
        let without = forbidden.iter().chain(&stays.without);
        let mut bound: Vec<String> = without.filter_map(|(slot, why)| bound((slot, why))).collect();
        let more = bound.len().saturating_sub(NAMED);
        bound.truncate(NAMED);
        if more > 0 {
            bound.push(format!("and {more} more"));
        }
        (!bound.is_empty()).then(|| bound.join("; "))
    }

    /// Whether an instance of the release in the place of this slot needs the host of that: for a named volume of its own, or of
    /// what goes on beside it. A volume that the release has no more binds nothing.
    fn is_bound(&self, slot: &Slot, release: &Release) -> bool {
        release.spec.pins_slots() || (stands_beside(self, release) && is_pinned(self, slot, release))
    }

    /// The slots that cannot leave their hosts, of which the policy, the platform or the agent forbids the release of a deploy.
    fn forbidden_in_place(&self, release: &Release) -> Vec<(SlotId, Unfit)> {
        let pinned = self.slots.values().filter(|slot| self.is_deploy() && self.is_bound(slot, release));
        pinned.filter_map(|slot| Some((slot.id().clone(), self.forbidden(slot.id(), release)?))).collect()
    }
}
