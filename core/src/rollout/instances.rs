//! The limits of single instances, `restarts` and `unhealthy_for`, after their release has succeeded. Until then agents judge by them,
//! each on its host.
//!
//! A hole in what is observed counts as nothing: restarts of a slot that nobody had heard of are learned when it is heard of, and the
//! time of an unready instance begins anew after its host, its engine or the coordinator was away.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::SlotId;
use crate::observation::{Cause, Instance, InstanceState, SlotObservation, SlotStatus};
use crate::plan::Phase;
use crate::release::RollbackOn;
use crate::service::{InstanceWatch, ReleaseRef, Unready};

use super::figures::{BlamedInstance, Figures, Trigger};
use super::model::Reason;
use super::planner::Planner;

/// Time between two looks at a release that no rollout moves any more. Ingresses report as often.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Begins the watch over the instances of a release that succeeds now.
pub(super) fn begin(planner: &Planner<'_>) -> InstanceWatch {
    let mut begun = InstanceWatch::new(planner.now());
    for slot in planner.slots.keys() {
        match planner.facts(slot).heard() {
            Some(seen) => learn(&mut begun, slot, seen),
            None => drop(begun.unheard.insert(slot.clone())),
        }
    }
    begun
}

/// Takes in what is observed of `release`. Answers with the reason if one of its instances is beyond a limit.
pub(super) fn look(
    planner: &mut Planner<'_>,
    watch: &mut InstanceWatch,
    release: ReleaseRef,
    rules: &RollbackOn,
) -> Option<Reason> {
    let now = planner.now();
    watch.unheard.retain(|slot| planner.slots.contains_key(slot));
    watch.unready.retain(|slot, _| planner.slots.contains_key(slot));
    watch.restarts_before.retain(|slot, _| planner.slots.contains_key(slot));
    let mut first = None;
    for slot in planner.keys() {
        let facts = planner.facts(&slot);
        let seen = facts.heard();
        if let Some(seen) = seen {
            if watch.unheard.remove(&slot) {
                learn(watch, &slot, seen);
            }
            forget_gone(watch, &slot, seen);
        }
        let is_wanted = facts.intent.release == release.digest && facts.intent.run == Phase::Running;
        let Some(instance) = seen.filter(|_| is_wanted).and_then(|seen| member(seen, release)) else {
            watch.unready.remove(&slot);
            continue;
        };
        let blamed = |restarts, why| BlamedInstance {
            id: instance.id.clone(),
            host: facts.host().clone(),
            restarts,
            why,
        };
        // An exit before it has served tells of its new host rather than of the release.
        if instance.vitals.unproven && instance.restarts > 0 {
            let known = watch.restarts_before.entry(slot.clone()).or_default();
            known.insert(instance.id.clone(), instance.restarts);
        }
        let before = watch.restarts_before.get(&slot).and_then(|known| known.get(&instance.id));
        let before = before.copied().unwrap_or_default();
        let restarts = instance.restarts.saturating_sub(before);
        let limit = restarts_allowed(rules);
        if restarts >= limit {
            let why = instance.vitals.last_exit.map(|exit| exit.to_string());
            let times = (watch.since, now);
            let figures = Figures::of_instance(release.counter, limit, blamed(restarts, why), times);
            first.get_or_insert((Trigger::Restarts, figures));
        }
        if !is_unready(instance) {
            watch.unready.remove(&slot);
            continue;
        }
        let known = watch.unready.get(&slot);
        let known = known.filter(|known| known.instance == instance.id && known.since == instance.since);
        let heard_since = known.map_or(now, |known| planner.counted_from(known.heard_since));
        let unready = Unready { instance: instance.id.clone(), since: instance.since, heard_since };
        watch.unready.insert(slot, unready);
        let deadline = heard_since + rules.unhealthy_for.duration();
        if now >= deadline {
            let why = instance.vitals.not_ready.as_ref().map(ToString::to_string);
            let (blamed, times) = (blamed(restarts, why), (heard_since, now));
            let figures = Figures::of_instance(release.counter, rules.unhealthy_for, blamed, times);
            first.get_or_insert((Trigger::UnhealthyFor, figures));
        }
        // A hole that begins and ends between two looks would not be seen.
        planner.wake(deadline.min(now + LOOK_EVERY));
    }
    first.map(|(what, figures)| Reason::Trigger { what, figures: Box::new(figures) })
}

/// Restarts of one instance that are enough: as many as `restarts` says. Where that is its default of one and `crashes` is said, so many
/// exits are borne.
fn restarts_allowed(rules: &RollbackOn) -> u32 {
    if rules.restarts > 1 { rules.restarts } else { rules.crashes.unwrap_or(1).max(1) }
}

/// Notes the restarts so far of the instances of a slot.
fn learn(watch: &mut InstanceWatch, slot: &SlotId, seen: &SlotObservation) {
    let restarted = seen.instances.iter().filter(|instance| instance.restarts > 0);
    let restarts: BTreeMap<String, u32> =
        restarted.map(|instance| (instance.id.clone(), instance.restarts)).collect();
    if !restarts.is_empty() {
        watch.restarts_before.insert(slot.clone(), restarts);
    }
}

/// Forgets instances that a slot has no more.
fn forget_gone(watch: &mut InstanceWatch, slot: &SlotId, seen: &SlotObservation) {
    let Some(known) = watch.restarts_before.get_mut(slot) else { return };
    known.retain(|id, _| seen.instances.iter().any(|instance| &instance.id == id));
    if known.is_empty() {
        watch.restarts_before.remove(slot);
    }
}

/// The instance of `release` that a slot has: neither one that failed nor one that is kept because a restart failed.
fn member(seen: &SlotObservation, release: ReleaseRef) -> Option<&Instance> {
    let failed = match &seen.status {
        SlotStatus::Failed { evidence, .. } => evidence.instance.as_ref(),
        SlotStatus::Converging | SlotStatus::Settled | SlotStatus::Refused(_) => None,
    };
    let is_of = |instance: &&Instance| instance.release == release.digest && Some(&instance.id) != failed;
    seen.instances.iter().filter(is_of).find(|instance| instance.state != InstanceState::Failed)
}

/// Whether it was ready, is not now, and its probes say so. One whose container somebody has paused says nothing of its release.
fn is_unready(instance: &Instance) -> bool {
    let is_paused = instance.vitals.not_ready.as_ref().is_some_and(|why| why.cause == Cause::Paused);
    instance.state == InstanceState::Unready && !instance.readiness_unknown && !is_paused
}
