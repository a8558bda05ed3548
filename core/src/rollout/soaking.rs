//! Soaking: the watch over the whole service after the last step.

use crate::release::Stage;
use crate::slot::{Seen, Waiting};

use super::ending::{self, Faults};
use super::hooks::{self, HookProgress};
use super::model::{Kind, Reason, SILENCE};
use super::planner::Planner;

pub(crate) fn step(planner: &mut Planner<'_>) {
    let Some((to, release)) = planner.target() else { return };
    let spec = &release.spec;
    let soak = spec.strategy.soak(spec.soak).duration();
    let slots = ending::counted(planner, &to.digest);
    if ending::is_vacuous(planner, spec, slots.len()) {
        return;
    }
    let back = planner.rollout().kind != Kind::Deploy;
    // Marking many slots good takes several steps; once begun it is not taken back.
    if !planner.rollout().is_to_good() && slots.iter().any(|slot| planner.slots[slot].is_good()) {
        return ending::succeed(planner);
    }
    let mut faults = Faults::default();
    // Whether every slot is available, as far as was ever heard, and whether all of them are heard of now.
    let (mut all, mut heard, mut lost) = (true, true, Vec::new());
    // A smoke test without its answer decides as well.
    let mut asked = false;
    for slot in &slots {
        let facts = planner.facts(slot);
        let host = facts.host().clone();
        match facts.target() {
            Seen::Available => {
                if let Some(waiting) = facts.pending().filter(|_| !back) {
                    asked = true;
                    planner.wait(waiting);
                }
            }
            Seen::Failed(evidence) => faults.failed(&host, slot, evidence),
            Seen::Refused(refusal) => faults.refused(&host, slot, refusal),
            Seen::Converging(_) => {
                all = false;
                let waiting = facts.until_available();
                planner.wait(waiting);
            }
            Seen::Nothing(waiting) => {
                heard = false;
                all &= facts.was_available();
                if facts.is_out_of_reach() {
                    lost.push(host);
                }
                planner.wait(waiting);
            }
        }
    }
    if let Some(reason) = faults.record(planner) {
        return ending::on_failure(planner, spec, reason);
    }
    let hooked = match hooks::run(planner, Stage::After) {
        HookProgress::Done => true,
        HookProgress::Blocked => false,
        HookProgress::Waits => return,
        HookProgress::Failed(reason) => return ending::on_release_failure(planner, spec, reason),
    };
    let now = planner.now();
    // An unwatched time does not count: a soak begins again with the coordinator.
    let watched = planner.snapshot.fleet.since()..=now;
    let begun = planner.rollout().soak_since.filter(|since| all && watched.contains(since));
    // It goes on while a host is silent for a moment, but neither begins nor ends with what is only remembered.
    let begun = begun.or_else(|| (all && heard).then_some(now)).filter(|_| hooked);
    planner.rollout().soak_since = begun;
    if let Some(since) = begun {
        let until = since + if back { std::time::Duration::ZERO } else { soak };
        if now >= until && heard && !asked {
            return ending::succeed(planner);
        }
        if now < until {
            planner.wake(until);
            planner.wait(Waiting::Soak(until));
        }
    }
    let given = soak + spec.progress_deadline.duration();
    // The hooks after the last step have their own time.
    let state_since = planner.rollout().state_since.max(hooks::after_ended(planner));
    let silence = if all && !heard { SILENCE } else { std::time::Duration::ZERO };
    let deadline = planner.counted_from(state_since) + given + silence;
    if now < deadline {
        return planner.wake(deadline);
    }
    // It began again after an instance was away for a moment, and goes on as long as nothing else happens.
    if let Some(since) = begun.filter(|since| *since <= deadline && now < *since + soak + SILENCE) {
        return planner.wake(since + soak + SILENCE);
    }
    if !lost.is_empty() && lost.len() < slots.len() {
        planner.leave_behind(lost);
        planner.rollout().state_since = now;
        return;
    }
    let plain = Reason::NotSteady(crate::units::Span::from_secs(given.as_secs()));
    let reason = ending::hindrance(planner, to, spec, plain);
    ending::on_failure(planner, spec, reason);
}
