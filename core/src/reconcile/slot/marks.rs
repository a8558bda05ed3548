//! The marks of a slot, remembered for decisions: instances that proved themselves, the release that failed.

use std::time::Duration;

use crate::observation::Fault;
use crate::plan::{Phase, PlanSlot};

use super::super::Turn;
use super::super::asks;
use super::super::container::{Container, ContainerState};
use super::super::disposition::{Mode, SlotContext};
use super::super::judge::{self, Trial, Verdict};
use super::super::memory::FailedSlot;

/// A device that is seen to be lost so long after an instance failed on it was lost before.
const LATE: Duration = Duration::from_secs(60);

/// Ends marks that the plan has overtaken: another release, a good one, a retry that was asked for.
pub(super) fn update(turn: &mut Turn<'_>, want: &PlanSlot) {
    let release = turn.desired.releases.get(&want.release);
    let content = release.map(|release| release.content);
    let limit = release.and_then(|release| release.release.spec.on_lost.stop_isolated_after);
    let memory = &mut turn.memory;
    let retry = want.retry_quarantined && memory.slot(&want.slot).retried != Some(want.release);
    if let Some(content) = content.filter(|_| want.good || retry) {
        memory.release_from_quarantine(&want.slot.service, &content);
    }
    let known = memory.slot(&want.slot);
    if retry {
        known.retried = Some(want.release);
    } else if !want.retry_quarantined {
        known.retried = None;
    }
    let overtaken = |failed: &FailedSlot| {
        let by_plan = match failed.restart {
            Some(generation) => generation != want.generation || want.phase != Phase::Running,
            None => want.good,
        };
        failed.release != want.release || by_plan || retry
    };
    if known.failed.as_ref().is_some_and(overtaken) {
        known.failed = None;
    }
    // The time of its silence tells, and no comparison of times: the clock may have been set since.
    if turn.observed.heard && !turn.is_alone_for(limit) {
        turn.memory.slot(&want.slot).isolated_at = None;
    }
}

/// Remembers which runs became available, so that a restarted agent knows.
pub(super) fn note_availability(turn: &mut Turn<'_>, seen: &[&Container]) {
    for container in seen {
        let at = asks::standing(turn, container);
        let ContainerState::Running { started_at } = container.state else { continue };
        if at.available && turn.spec(&container.release).is_some() {
            let now = turn.now;
            let known = turn.memory.instance(&container.slot, &container.instance);
            known.available_at.get_or_insert(now);
            known.available_run = Some(started_at);
        }
        if let Some(available_at) = at.available_at {
            turn.wake(available_at);
        }
    }
}

/// Whether a device that the container was given is not there any more.
fn lacks_a_device(turn: &Turn<'_>, seen: &Container) -> bool {
    seen.gpus.iter().any(|gpu| !turn.observed.capacity.gpus.contains_key(&gpu.uuid))
}

/// An instance may end before its agent sees that its device has gone: then its release was blamed too early. Returns
/// whether it was.
pub(super) fn absolve(turn: &mut Turn<'_>, want: &PlanSlot, seen: &[&Container]) -> bool {
    let Some(failed) = turn.memory.slots.get(&want.slot).and_then(|known| known.failed.as_ref()) else {
        return false;
    };
    let instance = failed.evidence.instance.as_ref();
    let ended = seen.iter().find(|seen| Some(&seen.instance) == instance);
    let is_late = turn.now.since(failed.evidence.at) > LATE;
    if is_late
        || !failed.evidence.fault.is_releases()
        || !ended.is_some_and(|seen| lacks_a_device(turn, seen))
    {
        return false;
    }
    let content = failed.content;
    turn.memory.release_from_quarantine(&want.slot.service, &content);
    if let Some(failed) = turn.memory.slot(&want.slot).failed.as_mut() {
        failed.evidence.fault = Fault::Device;
    }
    true
}

/// Marks the slot failed if the planned release failed in it, and takes the mark away from a restart that serves at last.
/// Returns whether the mark changed.
pub(super) fn judge_target(turn: &mut Turn<'_>, context: &SlotContext<'_>) -> bool {
    let want = context.want;
    let watched = want.phase == Phase::Running && context.mode == Mode::Usual;
    let Some(container) = context.target().filter(|_| watched) else { return false };
    if want.good && !judge::is_restart_on_trial(&turn.memory, want, Some(container)) {
        // A restart that failed with nothing to go back to was tried again, and serves now.
        let serves_at_last = context.available && context.known.failed.is_some();
        if serves_at_last {
            turn.memory.slot(&want.slot).failed = None;
        }
        return serves_at_last;
    }
    let older = context.outdated().map(|older| older.instance.clone());
    let spec = turn.spec(&want.release);
    let mut times = asks::times_of(turn, container);
    if spec.is_some() && matches!(container.state, ContainerState::Running { .. }) {
        let asked = turn.memory.volatile.asked.entry(container.instance.clone()).or_insert(turn.now);
        times.asked_since = (*asked).max(times.watching_since);
    }
    let trial = if turn.memory.is_quarantined(&want.slot.service, &container.content) {
        Trial::Last
    } else {
        Trial::On
    };
    match judge::judge(container, turn.memory.of(container), spec, trial, times) {
        Verdict::Failed(clock, reason) => {
            let instances = (Some(container), older.as_deref());
            let fault = if lacks_a_device(turn, container) { Fault::Device } else { Fault::Release };
            let what = (clock, reason, fault);
            judge::mark_failed(turn.desired, &mut turn.memory, want, instances, what, turn.now);
            return true;
        }
        Verdict::Fine(Some(at)) => turn.wake(at),
        Verdict::Fine(None) | Verdict::Start { .. } | Verdict::Restart => {}
    }
    false
}
