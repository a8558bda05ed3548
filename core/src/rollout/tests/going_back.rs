//! The way back where an instance has to stop first.

use std::sync::Arc;

use super::fixture::{at, fleet, reference, release, report, steady};
use crate::host::Liveness;
use crate::observation::InstanceState;
use crate::plan::{Order, Phase, Previous};
use crate::release::Release;
use crate::rollout::{GoingBack, Kind, Rollout, Snapshot, State, Target, advance, start};
use crate::service::{Service, Slots};

/// A rollout to `release` that has turned back.
fn turned_back(service: &Service, release: &Release, kind: Kind, how: GoingBack) -> (Service, Rollout) {
    let (release, actor) = (reference(release), "ada".into());
    let target = Target { release, kind, actor, supersede: false, retry_quarantined: false };
    let id = "00000001".parse().unwrap();
    let (service, mut rollout, _) = start(service, None, target, id, at(100)).unwrap();
    (rollout.state, rollout.going_back) = (State::RollingBack, Some(how));
    (service, rollout)
}

/// The second of three is on its way, stop-first, and serves nothing yet: the other two are already at the release that
/// is left. Found by the simulation (seed 334).
#[test]
fn what_serves_nothing_yet_is_turned_before_anything_else_stops() {
    let first = |json: &mut serde_json::Value| {
        json["spec"]["strategy"]["rolling"]["order"] = "stop_first".into();
    };
    let (mut fleet, good, bad) = (fleet(3), release(1, first), release(2, first));
    let (service, mut slots, mut releases) = steady(&good, 3, &mut fleet);
    releases.insert(reference(&bad).digest, bad.clone());
    let (service, mut rollout) = turned_back(&service, &bad, Kind::Deploy, GoingBack::RolledBack);
    rollout.changed = true;
    for assignment in slots.values_mut() {
        let want = &mut assignment.want;
        (want.release, want.good, want.order) = (reference(&bad).digest, false, Order::StopFirst);
        want.fallback = Some(reference(&good).digest);
        want.previous = Some(Previous { release: reference(&good).digest, phase: Phase::Standby });
    }
    report(&slots, &releases, &mut fleet, InstanceState::Healthy);
    let late = slots.iter().nth(1).map(|(slot, assignment)| (slot.clone(), assignment.host.clone())).unwrap();
    let member = fleet.members.get_mut(&late.1).unwrap();
    let observation = Arc::make_mut(member.observation.as_mut().unwrap());
    for seen in observation.slots.iter_mut().filter(|seen| seen.slot == late.0) {
        seen.instances.iter_mut().for_each(|i| (i.state, i.available) = (InstanceState::Starting, false));
    }
    let next = advance(&Snapshot {
        service: &service,
        slots: &slots,
        rollout: Some(&rollout),
        releases: &releases,
        fleet: &fleet,
        now: at(110),
    });
    assert_eq!(next.touched.iter().collect::<Vec<_>>(), [&late.0], "one of three may be unavailable, and is");
}

/// A person goes back to the last good release while another one serves, and a host refuses that before anything was
/// begun. Found by the simulation (seed 1882751411161084).
#[test]
fn a_rollback_to_the_last_good_release_that_is_refused_turns_what_it_had_not_begun_one_at_a_time() {
    let first = |json: &mut serde_json::Value| {
        json["spec"]["strategy"]["rolling"]["order"] = "stop_first".into();
    };
    let (mut fleet, good, between) = (fleet(3), release(1, first), release(2, first));
    let (service, mut slots, mut releases) = steady(&good, 3, &mut fleet);
    releases.insert(reference(&between).digest, between.clone());
    let (service, rollout) = turned_back(&service, &good, Kind::Rollback, GoingBack::Untouched);
    for assignment in slots.values_mut() {
        let want = &mut assignment.want;
        want.phase = Phase::Pulled;
        want.previous = Some(Previous { release: reference(&between).digest, phase: Phase::Running });
    }
    report(&slots, &releases, &mut fleet, InstanceState::Healthy);
    let next = advance(&Snapshot {
        service: &service,
        slots: &slots,
        rollout: Some(&rollout),
        releases: &releases,
        fleet: &fleet,
        now: at(110),
    });
    assert_eq!(next.touched.len(), 1, "one of three may be unavailable: {:?}", next.touched);
    assert_eq!(next.rollout.unwrap().state, State::RollingBack, "and the others follow");
}

/// Two hosts are away when the rollout goes back. Found by the simulation (seeds 1882751895607787, 1882751895609719): both
/// came back, and both stopped what served.
#[test]
fn what_is_on_lost_hosts_is_turned_when_they_return_and_a_few_at_a_time() {
    let first = |json: &mut serde_json::Value| {
        json["spec"]["strategy"]["rolling"]["order"] = "stop_first".into();
    };
    let (mut fleet, good, bad) = (fleet(3), release(1, first), release(2, first));
    let (mut service, mut slots, mut releases) = steady(&good, 3, &mut fleet);
    releases.insert(reference(&bad).digest, bad.clone());
    let (begun, mut rollout) = turned_back(&service, &bad, Kind::Deploy, GoingBack::RolledBack);
    rollout.changed = true;
    for assignment in slots.values_mut() {
        let want = &mut assignment.want;
        (want.release, want.good, want.order) = (reference(&bad).digest, false, Order::StopFirst);
        want.fallback = Some(reference(&good).digest);
        want.previous = Some(Previous { release: reference(&good).digest, phase: Phase::Standby });
    }
    report(&slots, &releases, &mut fleet, InstanceState::Healthy);
    let (here, away): (Vec<_>, Vec<_>) = slots.keys().cloned().partition(|slot| slot.index == 0);
    for slot in &away {
        fleet.members.get_mut(&slots[slot].host).unwrap().liveness = Liveness::Lost;
    }
    let look = |service: &Service, rollout: Option<&Rollout>, slots: &Slots, fleet: &_, second| {
        let now = at(second);
        advance(&Snapshot { service, slots, rollout, releases: &releases, fleet, now })
    };
    let next = look(&begun, Some(&rollout), &slots, &fleet, 110);
    assert_eq!(next.touched.iter().collect::<Vec<_>>(), here.iter().collect::<Vec<_>>());
    // It serves again, and the rollout ends without those that are lost.
    (slots, rollout) = (next.slots, next.rollout.unwrap());
    report(&slots, &releases, &mut fleet, InstanceState::Healthy);
    let next = look(&begun, Some(&rollout), &slots, &fleet, 120);
    assert_eq!(next.rollout.unwrap().state, State::RolledBack);
    // They return, serving all along: one of three may be unavailable.
    (service, slots) = (next.service, next.slots);
    for slot in &away {
        fleet.members.get_mut(&slots[slot].host).unwrap().liveness = Liveness::Connected;
    }
    let next = look(&service, None, &slots, &fleet, 130);
    assert_eq!(next.touched.len(), 1, "{:?}", next.touched);
}
