//! The devices of a slot: which it gets with a release, and which in place of those that its host has lost.

use std::collections::BTreeSet;

use crate::host::{HostFacts, Liveness};
use crate::id::SlotId;
use crate::placement;
use crate::plan::Order;
use crate::release::{Release, Spec};
use crate::slot::{Cost, DisruptionBudget, Limits, Transition};

use super::elsewhere::is_pinned;
use super::model::Kind;
use super::older;
use super::planner::Planner;

impl Planner<'_> {
    /// The slot's devices for `spec`: those that it has, as long as they are there and fit, and others of its host if it needs
    /// them to start first. Where nothing fits they stay as they are: the host refuses them and says why.
    pub(crate) fn devices_for(&mut self, slot: &SlotId, spec: &Spec) -> Vec<String> {
        let wanted = spec.resources.gpus.map_or(0, |gpus| gpus.count as usize);
        if wanted == 0 {
            return Vec::new();
        }
        let fitting = self.fitting_devices(slot, spec);
        let has = &self.slots[slot].target().gpus;
        fitting.unwrap_or_else(|| if has.len() == wanted { has.clone() } else { Vec::new() })
    }

    fn fitting_devices(&mut self, slot: &SlotId, spec: &Spec) -> Option<Vec<String>> {
        let has = self.slots[slot].target().gpus.clone();
        let host = self.host(slot);
        let others = self.taken_by_others(slot, &host);
        let mut beside = others.clone();
        let at = &self.slots[slot];
        for occupant in [Some(at.target()), at.other()].into_iter().flatten() {
            let spec = self.snapshot.releases.get(&occupant.release).map(|release| &release.spec);
            if let Some(spec) = spec.filter(|_| occupant.run.runs()) {
                beside.add_instance(spec, &occupant.gpus);
            }
        }
        let member = self.snapshot.fleet.member(&host)?;
        placement::devices(spec, &member.facts, (&beside, &others), &has).ok()
    }

    /// The slots that have lost a device and whose hosts have no other for `release`: that finds its places elsewhere. What goes back
    /// stays where it was.
    pub(crate) fn without_devices(&mut self, release: &Release) -> BTreeSet<SlotId> {
        let is_deploy = self.rollout.as_ref().is_some_and(|rollout| rollout.kind == Kind::Deploy);
        if !is_deploy || release.spec.resources.gpus.is_none() {
            return BTreeSet::new();
        }
        let mut lost: BTreeSet<SlotId> =
            self.slots.keys().filter(|slot| self.lost_of(slot)).cloned().collect();
        lost.retain(|slot| self.fitting_devices(slot, &release.spec).is_none());
        lost
    }

    /// Whether the host of a slot, which is there, has lost one of the slot's devices.
    fn lost_of(&self, slot: &SlotId) -> bool {
        let member = self.member_of(slot).filter(|member| member.liveness == Liveness::Connected);
        member.is_some_and(|member| has_lost(&member.facts, &self.slots[slot].target().gpus))
    }

    /// The reason for which `release` cannot have the place of one of these slots, which cannot leave its host.
    pub(crate) fn stuck(&self, slots: &BTreeSet<SlotId>, release: &Release) -> Option<String> {
        let slot = slots.iter().map(|slot| &self.slots[slot]).find(|slot| is_pinned(self, slot, release))?;
        let gpus = slot.target().gpus.join(", ");
        let host = slot.host();
        Some(format!(
            "{host} has lost {gpus} of {}, no other GPU of it is free, and its named volume is there",
            slot.id()
        ))
    }
}

/// Whether one of these devices is one that the host says it has lost.
fn has_lost(facts: &HostFacts, gpus: &[String]) -> bool {
    gpus.iter().any(|uuid| facts.gpus_lost.iter().any(|lost| &lost.uuid == uuid))
}

/// Slots whose device has gone get another one of their host, if one is free. What runs there is replaced by a new instance
/// of the same release, which no rollout is needed for: where it stops first, once its requests have ended, and within the
/// disruption budget of its release.
pub(crate) fn replace_lost(planner: &mut Planner<'_>) {
    let held = planner.slots.values().filter(|slot| !slot.target().gpus.is_empty() && !slot.is_leaving());
    let lost: Vec<SlotId> = held
        .filter(|slot| {
            let member = planner.snapshot.fleet.member(slot.host());
            member.is_some_and(|member| {
                member.liveness == Liveness::Connected && has_lost(&member.facts, &slot.target().gpus)
            })
        })
        .map(|slot| slot.id().clone())
        .collect();
    if lost.is_empty() {
        return;
    }
    let members = planner.members();
    let total = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let mut budget = DisruptionBudget::of_down(0, members.iter().map(|slot| planner.facts(slot)));
    for slot in lost {
        let Some(release) = planner.release(&planner.slots[&slot].release()) else { continue };
        let host = planner.host(&slot);
        let others = planner.taken_by_others(&slot, &host);
        let Some(member) = planner.member_of(&slot) else { continue };
        let has = planner.slots[&slot].target().gpus.clone();
        let Ok(gpus) = others.fit_gpus(&member.facts, &release.spec, &has) else { continue };
        if has_lost(&member.facts, &gpus) {
            continue;
        }
        let at = &planner.slots[&slot];
        let beside = Some(at.release()).filter(|_| at.run().runs());
        let (order, _) = planner.order_with(&slot, &release.spec, &gpus, beside);
        if beside.is_some() && order == Order::StopFirst {
            budget.limit(Limits::of(&release.spec.strategy, true, total, 0));
            let facts = planner.facts(&slot);
            if let Err(waiting) = budget.admit(&facts, Cost::stop(&facts)) {
                planner.wait(waiting);
                continue;
            }
        }
        let because = Some(format!("{} has lost its GPU", host));
        let keeps_older = older::is_kept(planner, &slot, &release.spec, order);
        planner.apply_because(&slot, &Transition::Move { gpus, order, keeps_older }, because);
    }
}

#[cfg(test)]
mod tests;
