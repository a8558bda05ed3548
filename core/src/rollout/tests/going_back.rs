//! The way back where an instance has to stop first.

use super::midway::{Midway, deploy};
use crate::fixture::{at, reference, release, report};
use crate::id::SlotId;
use crate::observation::InstanceState;
use crate::plan::{Order, Phase, Previous};
use crate::rollout::{Kind, RollbackMode, State, Target, start};

/// All three are begun, and run r2.
fn all_at_r2() -> Midway {
    let mut midway = Midway::new();
    for n in 0..3 {
        midway.begin(n);
        sees_r2(&mut midway, n, InstanceState::Healthy);
    }
    midway
}

fn sees_r2(midway: &mut Midway, n: usize, state: InstanceState) {
    let r2 = midway.r2.clone();
    midway.see(n, &[(&r2, state)]);
}

/// The second of three is on its way, stop-first, and serves nothing yet: the other two are already at the release that
/// is left. Found by the simulation (seed 334).
#[test]
fn what_serves_nothing_yet_is_turned_before_anything_else_stops() {
    let mut midway = all_at_r2();
    sees_r2(&mut midway, 1, InstanceState::Starting);
    midway.go_back();
    assert_eq!(midway.step(), [midway.slot(1)], "one of three may be unavailable, and is");
}

/// A person goes back to the last good release while another one serves, and a host refuses that before anything was
/// begun. Found by the simulation (seed 1882751411161084).
#[test]
fn refused_rollback_reverts_unstarted_slots_one_at_a_time() {
    let mut midway = all_at_r2();
    let (good, between) = (reference(&midway.r1).digest, reference(&midway.r2).digest);
    let target = Target { kind: Kind::Rollback, ..deploy(&midway.r1, true) };
    let (id, before) = ("00000002".parse().unwrap(), midway.rollout.clone());
    (midway.service, midway.rollout, _) = start(&midway.service, Some(&before), target, id, at(105)).unwrap();
    for assignment in midway.slots.values_mut() {
        assignment.edit(|want| {
            (want.release, want.good, want.fallback) = (good, true, None);
            (want.phase, want.order) = (Phase::Pulled, Order::StartFirst);
            want.previous = Some(Previous { release: between, phase: Phase::Running });
        });
    }
    report(&midway.slots, &midway.releases, &mut midway.fleet, InstanceState::Healthy);
    midway.go_back();
    midway.rollout.going_back = Some(RollbackMode::Untouched);
    let touched = midway.step();
    assert_eq!(touched.len(), 1, "one of three may be unavailable: {touched:?}");
    assert_eq!(midway.rollout.state, State::RollingBack, "and the others follow");
}

/// Two hosts are away when the rollout goes back. Found by the simulation (seeds 1882751895607787, 1882751895609719): both
/// came back, and both stopped what served.
#[test]
fn slots_on_lost_hosts_revert_within_budget_on_return() {
    let mut midway = all_at_r2();
    for n in 1..3 {
        midway.is_away(n, true);
    }
    midway.go_back();
    assert_eq!(midway.step(), [midway.slot(0)]);
    // It serves again, and the rollout ends without those that are lost.
    let r1 = midway.r1.clone();
    midway.seen(0).release = Some(reference(&r1).digest);
    midway.see(0, &[(&r1, InstanceState::Healthy)]);
    midway.step();
    assert_eq!(midway.rollout.state, State::RolledBack);
    // They return, serving all along: one of three may be unavailable.
    for n in 1..3 {
        midway.is_away(n, false);
    }
    let touched = midway.step();
    assert_eq!(touched.len(), 1, "{touched:?}");
}

/// A slot on a lost host that was told to keep still serves nothing there, whatever became of the host: it hears at once what it is
/// to hold, and no other slot waits for it.
#[test]
fn stopped_slot_on_a_lost_host_reverts_and_delays_nobody() {
    for (stands_still, turned) in [(true, vec![0, 1]), (false, vec![1])] {
        let mut midway = all_at_r2();
        if stands_still {
            let slot = midway.slot(0);
            let slot = midway.slots.get_mut(&slot).unwrap();
            slot.edit(|want| (want.phase, want.previous) = (Phase::Standby, None));
            midway.see(0, &[]);
        }
        midway.is_away(0, true);
        midway.go_back();
        let turned: Vec<SlotId> = turned.into_iter().map(|n| midway.slot(n)).collect();
        assert_eq!(midway.step(), turned, "stands still: {stands_still}");
    }
}

/// The new release is of another strategy than the one before: old and new never run together, in neither direction.
#[test]
fn recreate_stops_first_when_reverting_to_start_first() {
    let recreate = |json: &mut serde_json::Value| {
        json["spec"]["strategy"] = serde_json::json!({ "recreate": { "min_ready": "5s" } });
    };
    let mut midway = Midway::between(release(1, |_| {}), release(2, recreate));
    for n in 0..3 {
        midway.begin(n);
        sees_r2(&mut midway, n, InstanceState::Healthy);
    }
    midway.go_back();
    for _ in 0..9 {
        midway.step();
        let [mut old, mut new] = [0, 0];
        for n in 0..3 {
            // Its host does at once what its plan says.
            let want = midway.slots[&midway.slot(n)].plan();
            let previous = want.previous.map(|previous| (previous.release, previous.phase));
            let runs: Vec<_> = [Some((want.release, want.phase)), previous].into_iter().flatten().collect();
            let [r1, r2] = [&midway.r1, &midway.r2].map(|release| {
                runs.iter().any(|(digest, phase)| digest == &reference(release).digest && phase.runs())
            });
            (old, new) = (old + u32::from(r1), new + u32::from(r2));
            let (good, bad) = (midway.r1.clone(), midway.r2.clone());
            let all = [(r1, &good), (r2, &bad)].into_iter().filter(|(runs, _)| *runs);
            let all: Vec<_> = all.map(|(_, release)| (release, InstanceState::Healthy)).collect();
            midway.seen(n).release = Some(want.release);
            midway.see(n, &all);
        }
        assert!(old == 0 || new == 0, "{old} of r1 and {new} of r2 run");
    }
    assert_eq!(midway.rollout.state, State::RolledBack, "{:?}", midway.waiting);
    let good = reference(&midway.r1).digest;
    assert!(midway.slots.values().all(|slot| slot.release() == good && slot.run() == Phase::Running));
}
