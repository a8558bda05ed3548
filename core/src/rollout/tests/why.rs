//! The reason of a rollout that got no further, and its failures.

use std::sync::Arc;

use super::midway::Midway;
use crate::fixture::{at, release};
use crate::host::{GPUS, Silent};
use crate::observation::{
    Cause, EngineState, Fault, InstanceState, NotReady, Refusal, RefusalCode, SlotStatus, SlotTrouble,
    TroubleCode,
};
use crate::rollout::{State, What};

fn hurried() -> Midway {
    let edit = |json: &mut serde_json::Value| json["spec"]["progress_deadline"] = "5s".into();
    let mut midway = Midway::between(release(1, edit), release(2, edit));
    midway.begin(0);
    midway.rollout.progress.begun = 1;
    midway
}

#[test]
fn a_deadline_says_which_probe_was_answered_with_what() {
    let mut midway = hurried();
    let r2 = midway.r2.clone();
    midway.see(0, &[(&r2, InstanceState::Starting)]);
    let (asked, answer) = ("readiness GET /health/ready".to_owned(), "HTTP 404".to_owned());
    let why = NotReady { cause: Cause::Probe, asked, answer, failed: 28, of: 28, since: at(101) };
    midway.seen(0).release = Some(crate::fixture::reference(&r2).digest);
    midway.seen(0).instances[0].vitals.not_ready = Some(why.clone());
    midway.step();
    assert_eq!(midway.rollout.state, State::RollingBack);
    let host = midway.slots[&midway.slot(0)].host().clone();
    let reason = midway.rollout.reason.as_ref().unwrap().to_string();
    let want = format!(
        "slot 0 on {host}: not ready for 5s; readiness GET /health/ready → HTTP 404 (28 of 28 failed)"
    );
    assert_eq!(reason, want);
    let evidence = midway.rollout.failures[0].evidence.as_ref().unwrap();
    assert_eq!(evidence.not_ready.as_ref(), Some(&why));
    assert!(evidence.log_unread, "a coordinator reads no log");
}

#[test]
fn a_deadline_says_what_hindered_a_slot() {
    let mut midway = hurried();
    midway.see(0, &[]);
    midway.seen(0).release = Some(crate::fixture::reference(&midway.r2.clone()).digest);
    let message = "port 8080 of the host is taken".to_owned();
    let (since, retry_at) = (at(101), at(111));
    midway.seen(0).trouble =
        Some(SlotTrouble { code: TroubleCode::PortTaken, message, tries: 4, since, retry_at });
    midway.step();
    let reason = midway.rollout.reason.as_ref().unwrap().to_string();
    assert!(reason.ends_with("port 8080 of the host is taken (tried 4 times)"), "{reason}");
}

#[test]
fn a_deadline_says_which_room_a_slot_has_waited_for() {
    let mut midway = hurried();
    let detail = "memory: 6144 MiB needed, 3340 MiB free".to_owned();
    midway.seen(0).status =
        SlotStatus::Refused(Refusal { code: RefusalCode::NoRoom, detail: detail.clone() });
    midway.seen(0).instances.clear();
    midway.step();
    assert_eq!(midway.rollout.state, State::RollingBack);
    let reason = midway.rollout.reason.as_ref().unwrap().to_string();
    assert!(reason.ends_with(&detail), "{reason}");
}

#[test]
fn an_engine_that_goes_away_condemns_no_release() {
    let mut midway = hurried();
    midway.see(0, &[]);
    let message = "the engine went away".to_owned();
    let (since, retry_at) = (at(101), at(111));
    midway.seen(0).trouble =
        Some(SlotTrouble { code: TroubleCode::StepFailed, message, tries: 1, since, retry_at });
    midway.step();
    assert_eq!(midway.rollout.failures[0].evidence.as_ref().unwrap().fault, Fault::Host);
}

/// The reason of the rollout after its deadline, and whose fault each of its failures is.
fn ended(midway: &mut Midway) -> (String, Vec<Fault>) {
    midway.step();
    assert_eq!(midway.rollout.state, State::RollingBack);
    let reason = midway.rollout.reason.as_ref().unwrap().to_string();
    let moved = midway.rollout.log.fresh().iter().any(|decision| {
        matches!(&decision.what, What::Moved { reason: Some(why), .. } if why.to_string() == reason)
    });
    assert!(moved, "`explain` has it");
    let failures = midway.rollout.failures.iter().filter_map(|failure| failure.evidence.as_ref());
    (reason, failures.map(|evidence| evidence.fault).collect())
}

#[test]
fn a_deadline_says_that_a_gpu_library_hung() {
    let mut midway = hurried();
    midway.see(0, &[]);
    let slot = midway.slot(0);
    midway.slots.get_mut(&slot).unwrap().edit(|part| part.gpus = vec!["gpu-0".to_owned()]);
    let member = midway.fleet.members.get_mut(midway.slots[&slot].host()).unwrap();
    let silent = Silent { what: GPUS.to_owned(), since: at(5), why: "it hangs in nvmlInit".to_owned() };
    Arc::make_mut(&mut member.facts).silent.push(silent);
    let (reason, faults) = ended(&mut midway);
    assert!(reason.contains("the GPUs of host h0000 have not answered since "), "{reason}");
    assert!(reason.ends_with(": it hangs in nvmlInit (its GPU failed, not the release)"), "{reason}");
    assert_eq!(faults, [Fault::Device]);
}

#[test]
fn a_deadline_says_which_engines_did_not_answer() {
    let mut midway = hurried();
    for member in midway.fleet.members.values_mut() {
        let engine = EngineState::Unavailable("connection refused".to_owned());
        Arc::make_mut(member.observation.as_mut().unwrap()).engine = engine;
    }
    let (reason, faults) = ended(&mut midway);
    assert!(reason.contains("the engine of host h0000 does not answer: connection refused"), "{reason}");
    assert_eq!(faults, [Fault::Host; 3]);
}

#[test]
fn a_deadline_says_what_was_waited_for_last() {
    let mut midway = hurried();
    let (r1, r2) = (midway.r1.clone(), midway.r2.clone());
    midway.see(0, &[(&r2, InstanceState::Healthy), (&r1, InstanceState::Draining)]);
    midway.rollout.progress.available = 1;
    let (reason, faults) = ended(&mut midway);
    let want = "no progress for 5s: waited for the old instance of production/web/0 on host h0000 to stop";
    assert!(reason.starts_with(want), "{reason}");
    assert_eq!(faults, []);
}
