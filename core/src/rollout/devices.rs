//! The devices of a slot: which it gets with a release, and which in place of those that its host has lost.

use crate::capacity::{NoRoom, Taken};
use crate::host::{HostFacts, Liveness};
use crate::id::SlotId;
use crate::placement;
use crate::plan::Order;
use crate::release::Spec;
use crate::slot::{Cost, DisruptionBudget, Limits, Transition};

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
        let others = self.taken_by_others(slot, &self.host(slot));
        let member = self.member_of(slot);
        let fitting = member.and_then(|member| self.fitting_devices(slot, spec, &member.facts, &others).ok());
        let has = &self.slots[slot].target().gpus;
        fitting.unwrap_or_else(|| if has.len() == wanted { has.clone() } else { Vec::new() })
    }

    /// The slot's devices for `spec` beside what the `others` on its host have reserved, or the reason why none fit.
    pub(crate) fn fitting_devices(
        &self,
        slot: &SlotId,
        spec: &Spec,
        facts: &HostFacts,
        others: &Taken,
    ) -> Result<Vec<String>, NoRoom> {
        let at = &self.slots[slot];
        let mut beside = others.clone();
        for occupant in [Some(at.target()), at.other()].into_iter().flatten() {
            let spec = self.snapshot.releases.get(&occupant.release).map(|release| &release.spec);
            if let Some(spec) = spec.filter(|_| occupant.run.runs()) {
                beside.add_instance(spec, &occupant.gpus);
            }
        }
        placement::devices(spec, facts, (&beside, others), &at.target().gpus)
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
    let lost = planner.slots_that(|slot| {
        let gpus = &slot.target().gpus;
        let member =
            planner.snapshot.fleet.member(slot.host()).filter(|_| !gpus.is_empty() && !slot.is_leaving());
        let member = member.filter(|member| member.liveness == Liveness::Connected);
        member.is_some_and(|member| has_lost(&member.facts, gpus))
    });
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
