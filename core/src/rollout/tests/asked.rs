//! Open questions of hosts hold the rollout: checks before it begins, smoke tests before it ends.

use super::midway::Midway;
use crate::fixture::{at, reference, release};
use crate::observation::{InstanceState, Pending, Refusal, RefusalCode, SlotStatus};
use crate::rollout::{RollbackMode, State, Waiting};

fn soaking() -> Midway {
    let edit = |json: &mut serde_json::Value| json["spec"]["soak"] = "1s".into();
    let mut midway = Midway::between(release(1, edit), release(2, edit));
    let r2 = midway.r2.clone();
    for n in 0..3 {
        midway.begin(n);
        midway.see(n, &[(&r2, InstanceState::Healthy)]);
        midway.seen(n).release = Some(reference(&r2).digest);
    }
    (midway.rollout.state, midway.rollout.state_since) = (State::Soaking, at(100));
    midway.rollout.soak_since = Some(at(100));
    midway
}

#[test]
fn a_soak_does_not_end_before_a_late_smoke_test_is_answered() {
    let mut midway = soaking();
    let asked = Pending { asked: "smoke test GET /sync/status".to_owned(), due: Some(at(120)) };
    midway.seen(1).instances[0].vitals.pending = Some(asked.clone());
    midway.step();
    assert_eq!(midway.rollout.state, State::Soaking);
    let slot = midway.slot(1);
    let host = midway.slots[&slot].host().clone();
    let words =
        format!("{slot} on host {host} to answer smoke test GET /sync/status, which is asked at {}", at(120));
    assert_eq!(midway.waiting, [Waiting::Answer { host, slot, asked: Box::new(asked) }]);
    assert_eq!(midway.waiting[0].to_string(), words);
    midway.seen(1).instances[0].vitals.pending = None;
    midway.step();
    assert_eq!(midway.rollout.state, State::Succeeded);
}

#[test]
fn nothing_begins_before_every_host_has_made_its_checks() {
    let mut midway = Midway::new();
    midway.rollout.state = State::Preparing;
    midway.seen(1).checking = true;
    midway.seen(1).pulled = false;
    midway.step();
    let host = midway.slots[&midway.slot(1)].host().clone();
    assert_eq!(
        (midway.rollout.state, midway.waiting.clone()),
        (State::Preparing, vec![Waiting::Checks(host)])
    );
    let detail = "database (postgres db:5432): connection refused".to_owned();
    midway.seen(1).status =
        SlotStatus::Refused(Refusal { code: RefusalCode::CheckFailed, detail: detail.clone() });
    midway.step();
    assert_eq!(
        (midway.rollout.state, midway.rollout.going_back),
        (State::RollingBack, Some(RollbackMode::Untouched))
    );
    let reason = midway.rollout.reason.as_ref().unwrap().to_string();
    assert!(reason.contains(&format!("check_failed: {detail}")), "{reason}");
}
