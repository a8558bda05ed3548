//! The reason of a rollout that got no further, and its failures.

use super::midway::Midway;
use crate::fixture::{at, release};
use crate::observation::{
    Cause, Fault, InstanceState, NotReady, Refusal, RefusalCode, SlotStatus, SlotTrouble, TroubleCode,
};
use crate::rollout::State;

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
    let want =
        format!("slot 0 on {host}: not ready for 5s; readiness GET /health/ready → HTTP 404 (28 of 28)");
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
