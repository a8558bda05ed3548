//! The effect of ended steps on the memory.

use std::time::Duration;

use crate::digest::Digest;
use crate::id::SlotId;
use crate::observation::{Clock, FailureReason, Fault, TroubleCode};
use crate::plan::PlanSlot;
use crate::time::Timestamp;

use super::container::Container;
use super::ended::{Outcome, PullFailure, StartFailure};
use super::input::{Desired, Observed};
use super::judge;
use super::memory::{Forbidden, Memory, PullTrouble, PulledImage, Retry, StepTrouble};
use super::ports;
use super::tasks;

/// Delay before a pull is tried again, doubled up to the ceiling.
const PULL_DELAY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// The same where the registry could not answer just now.
const TRANSIENT_DELAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// A registry may ask for no more patience than this.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// Delay before a port is drawn anew for the second time, doubled up to the ceiling of all starts.
const DRAW_DELAY: Duration = Duration::from_millis(100);
/// Delay before an instance is started again, doubled up to the ceiling.
pub(super) const START_DELAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

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
                let before = memory.volatile.pulls.get(image);
                memory.volatile.pulls.insert(*image, pull_failed(before, failure, seq, now));
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
            Outcome::Task { .. } => {}     // absorbed below
            Outcome::StepFailed { slot, message } => {
                delay(memory, slot, TroubleCode::StepFailed, message, now);
            }
        }
    }
    tasks::absorb(observed, memory, now);
}

/// A pull that failed once more than `before`. Under another plan its patience begins anew.
fn pull_failed(
    before: Option<&Retry<PullTrouble>>,
    failure: &PullFailure,
    seq: u64,
    now: Timestamp,
) -> Retry<PullTrouble> {
    let (reason, wrong) = match failure.clone() {
        PullFailure::Failed(message) | PullFailure::Transient { message, .. } => {
            (FailureReason::PullFailed { message }, false)
        }
        PullFailure::Stalled(after) => (FailureReason::PullStalled { after }, false),
        PullFailure::WrongImage(message) => (FailureReason::PullFailed { message }, true),
    };
    let transient = matches!(failure, PullFailure::Transient { .. });
    let same = before.filter(|before| before.what.seq == seq);
    let first_at = same.map_or(now, |before| before.what.first_at);
    let trouble = PullTrouble { seq, reason, wrong, transient, at: now, first_at };
    let (base, most) = if transient { TRANSIENT_DELAY } else { PULL_DELAY };
    let mut retry = Retry::after(before, trouble, now, base, most);
    if let PullFailure::Transient { retry_after: Some(after), .. } = failure {
        retry.not_before = retry.not_before.max(now + after.duration().min(RETRY_AFTER));
    }
    retry
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
        StartFailure::ImageMissing => {
            return delay(memory, slot, TroubleCode::StartFailed, "the image has gone", now);
        }
        // The next instance has another name.
        StartFailure::NameTaken(name) => {
            let message = format!("another container has the name `{name}`");
            return delay(memory, slot, TroubleCode::StartFailed, &message, now);
        }
        // The release cannot help it. It is tried again, and refused for want of room where that can be measured.
        StartFailure::NoRoom(message) => {
            return delay(memory, slot, TroubleCode::StartFailed, message, now);
        }
        // Nor can it help a device that does not work, or an engine or a host that fails.
        StartFailure::Device(message) => return delay(memory, slot, TroubleCode::DeviceFailed, message, now),
        StartFailure::Host(message) => return delay(memory, slot, TroubleCode::HostFailed, message, now),
        StartFailure::Stuck(message) => {
            memory.instance(slot, instance).discard = true;
            return delay(memory, slot, TroubleCode::HostFailed, message, now);
        }
        // Nor can the release help what its host forbids: that is told until it may start.
        StartFailure::Forbidden(why) => {
            let forbidden = Forbidden { release: *failed.release, why: why.clone() };
            memory.volatile.forbidden.insert((*slot).clone(), forbidden);
            return delay(memory, slot, TroubleCode::StartFailed, why, now);
        }
        StartFailure::Failed(message) => FailureReason::StartFailed { message: message.clone() },
        StartFailure::PortTaken(port) if draw_again(desired, memory, failed, *port) => {
            memory.instance(slot, instance).discard = true;
            let message = FailureReason::PortTaken { port: *port }.to_string();
            delay(memory, slot, TroubleCode::PortTaken, &message, now);
            if let Some(retry) = memory.volatile.steps.get_mut(slot) {
                // Another port is tried at once, and if that is taken too, not much later.
                let pause = super::memory::doubled(DRAW_DELAY, retry.failures - 1, START_DELAY.1);
                retry.not_before = if retry.failures == 1 { now } else { now + pause };
            }
            return;
        }
        StartFailure::PortTaken(port) => FailureReason::PortTaken { port: *port },
    };
    let want = desired.plan.as_ref().and_then(|plan| plan.slots.iter().find(|want| &want.slot == *slot));
    let seen = observed.containers.iter().find(|seen| &seen.instance == *instance);
    let on_trial = |want: &&PlanSlot| !want.good || judge::is_restart_on_trial(memory, want, seen);
    let Some(want) = want.filter(|want| &want.release == failed.release).filter(on_trial) else {
        return delay(memory, slot, code(&reason), &reason.to_string(), now);
    };
    let is_older = |seen: &&Container| {
        &seen.slot == *slot && seen.release == want.release && seen.generation < want.generation
    };
    let older = observed.containers.iter().find(is_older).map(|older| older.instance.as_str());
    if want.good && older.is_none() {
        delay(memory, slot, code(&reason), &reason.to_string(), now); // with nothing to go back to it is tried again
    }
    judge::mark_failed(desired, memory, want, (seen, older), (Clock::Start, reason, Fault::Release), now);
}

const fn code(reason: &FailureReason) -> TroubleCode {
    match reason {
        FailureReason::PortTaken { .. } => TroubleCode::PortTaken,
        FailureReason::PullFailed { .. } | FailureReason::PullStalled { .. } => TroubleCode::PullFailed,
        FailureReason::StartFailed { .. }
        | FailureReason::Exited { .. }
        | FailureReason::OutOfMemory
        | FailureReason::NotHealthyInTime { .. }
        | FailureReason::LivenessFailed
        | FailureReason::UnreadyTooLong { .. }
        | FailureReason::SmokeFailed { .. } => TroubleCode::StartFailed,
    }
}

/// Gives back a port that the agent drew and somebody else has; false if it was not drawn. One that the manifest names
/// is remembered beside those, and there is no other to try.
fn draw_again(desired: &Desired, memory: &mut Memory, failed: &Failed<'_>, port: u16) -> bool {
    let release = desired.releases.get(failed.release);
    if release.is_some_and(|release| ports::fixed(release).any(|fixed| fixed == port)) {
        return false;
    }
    memory.volatile.taken_ports.insert(port);
    let drawn = memory.slot(failed.slot).ports.values_mut().flatten().find(|known| **known == port);
    drawn.map(|drawn| *drawn = 0).is_some()
}

fn delay(memory: &mut Memory, slot: &SlotId, code: TroubleCode, what: &str, now: Timestamp) {
    let before = memory.volatile.steps.get(slot);
    let first_at = before.map_or(now, |before| before.what.first_at);
    let trouble = StepTrouble { code, message: what.to_owned(), first_at };
    let retry = Retry::after(before, trouble, now, START_DELAY.0, START_DELAY.1);
    memory.volatile.steps.insert(slot.clone(), retry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Span;

    #[test]
    fn a_registry_says_when_it_is_asked_again_up_to_a_minute() {
        let failure = |retry_after: Option<u64>| PullFailure::Transient {
            message: "429".to_owned(),
            retry_after: retry_after.map(Span::from_secs),
        };
        let now = Timestamp::from_millis(1_000_000);
        #[rustfmt::skip]
        let table = [
            ("it says nothing",         failure(None),      1),
            ("sooner than we would",    failure(Some(0)),   1),
            ("later than we would",     failure(Some(30)),  30),
            ("a day",                   failure(Some(86_400)), 60),
            ("a failure is no request", PullFailure::Failed("404".to_owned()), 5),
        ];
        for (case, failure, seconds) in table {
            let retry = pull_failed(None, &failure, 1, now);
            assert_eq!(retry.not_before, now + Duration::from_secs(seconds), "{case}");
        }
        // A later answer without a time is tried with pauses again, and another plan begins anew.
        let first = pull_failed(None, &failure(Some(30)), 1, now);
        let second = pull_failed(Some(&first), &failure(None), 1, now);
        assert_eq!(second.not_before, now + Duration::from_secs(2));
    }
}
