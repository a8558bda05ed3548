//! Reservations on the hosts of a service, and which instance of a slot goes first.

use std::collections::BTreeMap;

use crate::capacity::Taken;
use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::placement::StopFirst;
use crate::plan::{Order, Phase};
use crate::release::Spec;
use crate::slot::Intent;

use super::elsewhere::is_to_have_both;
use super::planner::Planner;
use super::stays::Stays;

impl Planner<'_> {
    /// Reservations on each host that has slots of this service, those included.
    pub(crate) fn taken(&self) -> BTreeMap<HostId, Taken> {
        self.taken_before(None)
    }

    /// The same, where the slots that stay are to come to their new release.
    pub(crate) fn taken_before(&self, stays: Option<&Stays<'_>>) -> BTreeMap<HostId, Taken> {
        let mut all: BTreeMap<HostId, Taken> = BTreeMap::new();
        for slot in self.slots.values() {
            let Some(member) = self.snapshot.fleet.member(slot.host()) else { continue };
            let taken = all.entry(slot.host().clone()).or_insert_with(|| member.taken.clone());
            let both = Intent::from(slot).runs_both() || is_to_have_both(self, slot);
            let next = stays.and_then(|stays| stays.next(slot.id()));
            taken.add_slot_before(slot, self.snapshot.releases, both, next);
        }
        all
    }

    /// The number of slots that each host has of this service.
    pub(crate) fn own(&self) -> BTreeMap<HostId, u32> {
        let mut own = BTreeMap::new();
        for slot in self.slots.values() {
            *own.entry(slot.host().clone()).or_insert(0) += 1;
        }
        own
    }

    /// Which instance of `slot` goes first if it changes to `spec` now, while `beside` runs in it, and the reason for
    /// stop-first.
    pub(crate) fn order(
        &mut self,
        slot: &SlotId,
        spec: &Spec,
        beside: Option<Digest>,
    ) -> (Order, Option<String>) {
        let gpus = self.slots[slot].target().gpus.clone();
        self.order_with(slot, spec, &gpus, beside)
    }

    /// The same for an instance with the devices `gpus`.
    pub(crate) fn order_with(
        &mut self,
        slot: &SlotId,
        spec: &Spec,
        gpus: &[String],
        beside: Option<Digest>,
    ) -> (Order, Option<String>) {
        let Some(beside) = beside else { return (Order::StartFirst, None) };
        match self.start_first(slot, spec, gpus, beside) {
            Ok(()) => (Order::StartFirst, None),
            Err(why) => (Order::StopFirst, Some(why.to_string())),
        }
    }

    fn start_first(
        &mut self,
        slot: &SlotId,
        spec: &Spec,
        gpus: &[String],
        beside: Digest,
    ) -> Result<(), StopFirst> {
        let host = self.host(slot);
        let Some(member) = self.snapshot.fleet.member(&host) else { return Ok(()) };
        let mut taken = self.taken_by_others(slot, &host);
        let running = self.release(&beside);
        if running.is_some_and(|release| release.spec.exclusive) {
            return Err(StopFirst::Exclusive);
        }
        if let Some(running) = running {
            taken.add_instance(&running.spec, self.slots[slot].devices_of(&beside));
        }
        crate::placement::start_first(spec, Some(member), &taken, gpus)
    }

    /// The resources that everything on `host` but `slot` has reserved.
    pub(crate) fn taken_by_others(&mut self, slot: &SlotId, host: &HostId) -> Taken {
        self.taken_by_others_before(slot, host, None)
    }

    /// The same, where the slots that stay are to come to their new release.
    pub(crate) fn taken_by_others_before(
        &mut self,
        slot: &SlotId,
        host: &HostId,
        stays: Option<&Stays<'_>>,
    ) -> Taken {
        let mut taken = self.snapshot.fleet.member(host).map(|m| m.taken.clone()).unwrap_or_default();
        for other in self.on_host(host) {
            if &other != slot {
                let both = self.runs_both(&other) || is_to_have_both(self, &self.slots[&other]);
                let next = stays.and_then(|stays| stays.next(&other));
                taken.add_slot_before(&self.slots[&other], self.snapshot.releases, both, next);
            }
        }
        taken
    }

    /// The slots on a host.
    fn on_host(&mut self, host: &HostId) -> Vec<SlotId> {
        let slots = &self.slots;
        let by_host = self.by_host.get_or_insert_with(|| {
            let mut by_host: BTreeMap<HostId, Vec<SlotId>> = BTreeMap::new();
            for slot in slots.values() {
                by_host.entry(slot.host().clone()).or_default().push(slot.id().clone());
            }
            by_host
        });
        by_host.get(host).cloned().unwrap_or_default()
    }

    /// Whether both instances of the slot run at once, or may. An old one takes its time to stop.
    fn runs_both(&self, slot: &SlotId) -> bool {
        let slot = &self.slots[slot];
        let intent = Intent::from(slot);
        let Some((before, _)) = intent.other else { return false };
        let starts_first = intent.order == Order::StartFirst && intent.run == Phase::Running;
        intent.runs_both() || (starts_first && self.facts(slot.id()).last_ran(&before))
    }
}
