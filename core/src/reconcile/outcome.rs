//! What ended steps teach.

use std::time::Duration;

use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::{Clock, FailureReason};
use crate::plan::PlanSlot;
use crate::time::Timestamp;

use super::ended::{Outcome, PullFailure, StartFailure};
use super::input::{Container, Desired, Observed};
use super::judge;
use super::memory::{Forbidden, Memory, PullTrouble, PulledImage, Retry};

/// Delay before a pull is tried again, doubled up to the ceiling.
const PULL_DELAY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Delay before an instance is started again, doubled up to the ceiling.
pub(super) const START_DELAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// So often a port is drawn anew before it counts as a failure.
const PORT_DRAWS: u32 = 8;

/// Takes the outcomes into the memory.
pub(super) fn absorb(desired: &Desired, observed: &Observed, memory: &mut Memory, now: Timestamp) {
    for outcome in &observed.outcomes {
        match outcome {
            Outcome::Pulled { image, id } => {
                memory.volatile.pulls.remove(image);
                memory.volatile.collected.remove(image);
                memory.pulled.insert(*image, PulledImage { id: id.clone(), used_at: now });
            }
            Outcome::PullFailed { image, failure } => {
                let seq = desired.plan.as_ref().map_or(0, |plan| plan.seq);
                let (reason, wrong) = match failure.clone() {
                    PullFailure::Failed(message) => (FailureReason::PullFailed { message }, false),
                    PullFailure::Stalled(after) => (FailureReason::PullStalled { after }, false),
                    PullFailure::WrongImage(message) => (FailureReason::PullFailed { message }, true),
                };
                let trouble = PullTrouble { seq, reason, wrong, at: now };
                let before = memory.volatile.pulls.get(image);
                let retry = Retry::after(before, trouble, now, PULL_DELAY.0, PULL_DELAY.1);
                memory.volatile.pulls.insert(*image, retry);
            }
            Outcome::StartFailed { slot, instance, release, failure } => {
                let failed = Failed { slot, instance, release, failure };
                start_failed(desired, observed, memory, now, &failed);
            }
            Outcome::Log { slot, instance, lines } => {
                if let Some(failed) = memory.slots.get_mut(slot).and_then(|known| known.failed.as_mut())
                    && failed.evidence.instance.as_ref() == Some(instance)
                {
                    failed.evidence.log.clone_from(lines);
                    failed.complete = true;
                }
            }
            Outcome::Launched { .. } => {} // noted when the containers were told apart
            Outcome::StepFailed { slot, message } => delay(memory, slot, message, now),
        }
    }
}

struct Failed<'a> {
    slot: &'a SlotId,
    instance: &'a String,
    release: &'a Digest,
    failure: &'a StartFailure,
}

fn start_failed(
    desired: &Desired,
    observed: &Observed,
    memory: &mut Memory,
    now: Timestamp,
    failed: &Failed<'_>,
) {
    let Failed { slot, instance, .. } = failed;
    let reason = match failed.failure {
        // It is pulled again as soon as it is seen to be missing.
        StartFailure::ImageMissing => return delay(memory, slot, "the image has gone", now),
        // The next instance has another name.
        StartFailure::NameTaken(name) => {
            return delay(memory, slot, &format!("another container has the name `{name}`"), now);
        }
        // The release cannot help it. It is tried again, and refused for want of room where that can be measured.
        StartFailure::NoRoom(message) => return delay(memory, slot, message, now),
        // Nor can the release help what its host forbids: that is told until it may start.
        StartFailure::Forbidden(why) => {
            let forbidden = Forbidden { release: *failed.release, why: why.clone() };
            memory.volatile.forbidden.insert((*slot).clone(), forbidden);
            return delay(memory, slot, why, now);
        }
        StartFailure::Failed(message) => FailureReason::StartFailed { message: message.clone() },
        StartFailure::PortTaken(port) if draw_again(memory, slot, *port) => {
            memory.instance(slot, instance).discard = true;
            let draws = memory.volatile.steps.get(slot).map_or(0, |retry| retry.failures);
            delay(memory, slot, &format!("port {port} is taken"), now);
            if let Some(retry) = memory.volatile.steps.get_mut(slot).filter(|_| draws < PORT_DRAWS) {
                retry.not_before = now;
            }
            return;
        }
        StartFailure::PortTaken(port) => FailureReason::PortTaken { port: *port },
    };
    let want = desired.plan.as_ref().and_then(|plan| plan.slots.iter().find(|want| &want.slot == *slot));
    let seen = observed.containers.iter().find(|seen| &seen.instance == *instance);
    let on_trial = |want: &&PlanSlot| !want.good || judge::is_restart_on_trial(memory, want, seen);
    let Some(want) = want.filter(|want| &want.release == failed.release).filter(on_trial) else {
        return delay(memory, slot, &reason.to_string(), now);
    };
    let is_older = |seen: &&Container| {
        &seen.slot == *slot && seen.release == want.release && seen.generation < want.generation
    };
    let older = observed.containers.iter().find(is_older).map(|older| older.instance.as_str());
    if want.good && older.is_none() {
        delay(memory, slot, &reason.to_string(), now); // with nothing to go back to it is tried again
    }
    judge::condemn(desired, memory, want, (seen, older), (Clock::Start, reason), now);
}

/// Gives back a port that the agent drew and somebody else has; false if it was not drawn.
fn draw_again(memory: &mut Memory, slot: &SlotId, port: u16) -> bool {
    memory.volatile.taken_ports.insert(port);
    let drawn = memory.slot(slot).ports.values_mut().flatten().find(|known| **known == port);
    drawn.map(|drawn| *drawn = 0).is_some()
}

fn delay(memory: &mut Memory, slot: &SlotId, what: &str, now: Timestamp) {
    let before = memory.volatile.steps.get(slot);
    let retry = Retry::after(before, what.to_owned(), now, START_DELAY.0, START_DELAY.1);
    memory.volatile.steps.insert(slot.clone(), retry);
}
