//! A deadline has passed: what the slots that it waited for were about.

use crate::fleet::Member;
use crate::host::{GPUS, Silent};
use crate::observation::{
    Clock, EngineState, Evidence, FailureReason, Fault, Instance, SlotObservation, SlotTrouble, TroubleCode,
};
use crate::plan::Phase;
use crate::release::Spec;
use crate::service::ReleaseRef;
use crate::slot::{Seen, Waiting};
use crate::time::Timestamp;

use super::super::model::Reason;
use super::super::planner::Planner;
use super::{Faults, counted};

/// Ends a rollout that got no further: the state of the slots that are not there yet is written down as its failures.
pub(crate) fn no_progress(planner: &mut Planner<'_>, to: ReleaseRef, spec: &Spec) -> Reason {
    hindrance(planner, to, spec, Reason::NoProgress(spec.progress_deadline))
}

/// Writes down the state of the slots that are not there yet, and answers with that of the first, if it is known: what hindered a
/// release comes before the condition of a host. Otherwise the reason is the `plain` one, with what was waited for.
pub(crate) fn hindrance(planner: &mut Planner<'_>, to: ReleaseRef, spec: &Spec, plain: Reason) -> Reason {
    let (mut faults, mut of_hosts) = (Faults::default(), Vec::new());
    for slot in counted(planner, &to.digest) {
        let facts = planner.facts(&slot);
        let waiting = match facts.target() {
            // It has waited for room.
            Seen::Refused(refusal) => {
                faults.refused(facts.host(), &slot, refusal);
                continue;
            }
            Seen::Failed(_) | Seen::Available => continue,
            Seen::Nothing(waiting) => waiting,
            Seen::Converging(_) => {
                let runs = facts.intent.run == Phase::Running;
                let seen = facts.last();
                let instance = || seen?.current_of(&to.digest, facts.intent.generation).filter(|_| runs);
                let of_trouble = seen.and_then(|seen| hindered(seen, to, planner.now()));
                let of_instance = || waited(instance()?, to, spec, planner.now());
                if let Some(evidence) = of_trouble.or_else(of_instance) {
                    faults.failed(facts.host(), &slot, &evidence);
                    continue;
                }
                facts.until_available()
            }
        };
        let condition = planner.member_of(&slot).and_then(|member| condition(member, &waiting));
        if let Some((fault, message)) = condition {
            let (clock, reason) = match facts.intent.run {
                Phase::Pulled => (Clock::Pull, FailureReason::PullFailed { message }),
                Phase::Running | Phase::Draining | Phase::Standby | Phase::Absent => {
                    (Clock::Start, FailureReason::StartFailed { message })
                }
            };
            of_hosts.push((slot, Evidence { fault, ..evidence(to, clock, reason, planner.now()) }));
        }
    }
    for (slot, evidence) in of_hosts {
        faults.failed(&planner.host(&slot), &slot, &evidence);
    }
    let reason = faults.record(planner);
    reason.unwrap_or_else(|| plain.late(&planner.waiting))
}

/// The condition of a host for which a slot waits, in words, and whose fault that is.
fn condition(member: &Member, waiting: &Waiting) -> Option<(Fault, String)> {
    let seen = member.observation.as_deref();
    if let Waiting::GpusSilent(host) = waiting {
        let Silent { since, why, .. } = member.facts.silent.iter().find(|silent| silent.what == GPUS)?;
        Some((Fault::Device, format!("the GPUs of host {host} have not answered since {since}: {why}")))
    } else if let Waiting::Engine(host) = waiting {
        let EngineState::Unavailable(why) = &seen?.engine else { return None };
        Some((Fault::Host, format!("the engine of host {host} does not answer: {why}")))
    } else if let Waiting::Journal(host) = waiting {
        let why = seen?.unwritable.as_ref()?;
        Some((Fault::Host, format!("the agent of host {host} can write nothing down: {why}")))
    } else {
        None
    }
}

/// Evidence of a coordinator, which sees no log.
fn evidence(to: ReleaseRef, clock: Clock, reason: FailureReason, at: Timestamp) -> Evidence {
    Evidence { log_unread: true, ..Evidence::of(to.digest, to.counter, (clock, reason), at) }
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
