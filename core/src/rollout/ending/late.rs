//! A deadline has passed: what the slots that it waited for were about.

use crate::observation::{
    Clock, Evidence, FailureReason, Fault, Instance, SlotObservation, SlotTrouble, TroubleCode,
};
use crate::plan::Phase;
use crate::release::Spec;
use crate::service::ReleaseRef;
use crate::slot::Seen;
use crate::time::Timestamp;

use super::super::model::Reason;
use super::super::planner::Planner;
use super::{Faults, counted};

/// Ends a rollout that got no further: the state of the slots that are not there yet is written down as its failures.
pub(crate) fn no_progress(planner: &mut Planner<'_>, to: ReleaseRef, spec: &Spec) -> Reason {
    hindrance(planner, to, spec).unwrap_or(Reason::NoProgress(spec.progress_deadline))
}

/// Writes down the state of the slots that are not there yet, and answers with that of the first, if it is known.
pub(crate) fn hindrance(planner: &mut Planner<'_>, to: ReleaseRef, spec: &Spec) -> Option<Reason> {
    let mut faults = Faults::default();
    for slot in counted(planner, &to.digest) {
        let facts = planner.facts(&slot);
        if let Seen::Refused(refusal) = facts.target() {
            // It has waited for room.
            faults.refused(facts.host(), &slot, refusal);
            continue;
        }
        let (Seen::Converging(_), Some(seen)) = (facts.target(), facts.last()) else { continue };
        let runs = facts.intent.run == Phase::Running;
        let instance = seen.current_of(&to.digest, facts.intent.generation).filter(|_| runs);
        let evidence =
            hindered(seen, to, planner.now()).or_else(|| waited(instance?, to, spec, planner.now()));
        if let Some(evidence) = evidence {
            faults.failed(facts.host(), &slot, &evidence);
        }
    }
    faults.record(planner)
}

fn evidence(to: ReleaseRef, clock: Clock, reason: FailureReason, at: Timestamp) -> Evidence {
    Evidence {
        instance: None,
        release: to.digest,
        counter: to.counter,
        clock,
        reason,
        exit_code: None,
        oom_killed: false,
        restarts: 0,
        log: Vec::new(),
        log_unread: true,
        probes: Vec::new(),
        at,
        not_ready: None,
        fault: Fault::Release,
    }
}

/// Something fails again and again, and was tried until the end.
fn hindered(seen: &SlotObservation, to: ReleaseRef, now: Timestamp) -> Option<Evidence> {
    let trouble: &SlotTrouble = seen.trouble.as_ref()?;
    let message = trouble.to_string();
    let (clock, reason) = match trouble.code {
        TroubleCode::PullFailed => (Clock::Pull, FailureReason::PullFailed { message }),
        TroubleCode::PortTaken
        | TroubleCode::StartFailed
        | TroubleCode::StepFailed
        | TroubleCode::DeviceFailed
        | TroubleCode::HostFailed
        | TroubleCode::Other => (Clock::Start, FailureReason::StartFailed { message }),
    };
    let fault = match trouble.code {
        TroubleCode::DeviceFailed => Fault::Device,
        // No release decides how a container is stopped or removed.
        TroubleCode::HostFailed | TroubleCode::StepFailed => Fault::Host,
        TroubleCode::PullFailed | TroubleCode::PortTaken | TroubleCode::StartFailed | TroubleCode::Other => {
            Fault::Release
        }
    };
    Some(Evidence { fault, ..evidence(to, clock, reason, now) })
}

/// It runs, and was not ready until the end.
fn waited(instance: &Instance, to: ReleaseRef, spec: &Spec, now: Timestamp) -> Option<Evidence> {
    let why = instance.vitals.not_ready.as_ref()?;
    let reason = FailureReason::NotHealthyInTime { deadline: spec.progress_deadline };
    let exit = instance.vitals.last_exit;
    Some(Evidence {
        instance: Some(instance.id.clone()),
        exit_code: exit.map(|exit| exit.code),
        oom_killed: exit.is_some_and(|exit| exit.oom_killed),
        restarts: instance.restarts,
        not_ready: Some(why.clone()),
        ..evidence(to, Clock::Health, reason, now)
    })
}
