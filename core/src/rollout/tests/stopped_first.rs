//! Slots whose old instance was told to stop for the new one, when somebody changes their mind in the middle.

use super::midway::{Midway, stop_first};
use crate::fixture::{reference, release};
use crate::id::SlotId;
use crate::observation::InstanceState;
use crate::plan::{Order, Phase};

/// Found by the simulation (seed 69): the new release was taken for what serves, so that the plan stopped the old one.
#[test]
fn unstopped_incumbent_serves_for_the_next_rollout() {
    let Midway { r1, r2, .. } = Midway::new();
    let r3 = release(3, stop_first);
    #[rustfmt::skip]
    let table = [
        ("about to stop",                vec![(&r1, InstanceState::Healthy)], &r1),
        ("both, the new one starts",     vec![(&r2, InstanceState::Starting), (&r1, InstanceState::Healthy)], &r1),
        ("both, the new one is ready",   vec![(&r2, InstanceState::Healthy), (&r1, InstanceState::Draining)], &r2),
        ("it has stopped",               vec![(&r2, InstanceState::Starting)], &r2),
    ];
    for (case, running, want) in table {
        let mut midway = Midway::new();
        midway.begin(0);
        midway.see(0, &running);
        midway.seen(0).instances.iter_mut().for_each(|instance| instance.available = false);
        midway.supersede(&r3);
        midway.step();
        assert_eq!(midway.previous(0), Some((reference(want).digest, Phase::Running)), "{case}");
    }
}

/// A coordinator that starts again knows what hosts said before they took their newest plans. Found by the scenario of
/// crash points: the next deploy stopped what served, and started what had been replaced.
#[test]
fn report_on_an_older_plan_brings_back_no_replaced_release() {
    let r3 = release(3, stop_first);
    for order in [Order::StartFirst, Order::StopFirst] {
        let mut midway = Midway::new();
        let (r1, r2) = (midway.r1.clone(), midway.r2.clone());
        midway.begin(0);
        midway.slots.get_mut(&midway.slot(0)).unwrap().edit(|want| want.order = order);
        midway.see(0, &[(&r2, InstanceState::Starting), (&r1, InstanceState::Healthy)]);
        midway.is_behind(0);
        midway.supersede(&r3);
        midway.step();
        assert_eq!(midway.previous(0), Some((reference(&r2).digest, Phase::Running)), "{order:?}");
    }
}

#[test]
fn possible_stop_counts_until_a_report_on_the_newest_plan() {
    let mut midway = Midway::new();
    let r1 = midway.r1.clone();
    midway.begin(0);
    midway.see(0, &[(&r1, InstanceState::Healthy)]);
    assert_eq!(midway.step(), [], "the first was begun, and one of three may be unavailable");

    // Somebody supersedes it. The plan lets r1 run on, but it may have stopped for the plan before.
    let mut midway = Midway::new();
    midway.see(0, &[(&r1, InstanceState::Healthy)]);
    midway.is_behind(0);
    assert_eq!(midway.step(), [], "the first may be down, and waits for its host");
    let host = midway.slots[&midway.slot(0)].host().clone();
    midway.fleet.members.get_mut(&host).unwrap().issued_seq = 0;
    midway.see(0, &[(&r1, InstanceState::Draining)]);
    assert_eq!(midway.step(), [midway.slot(0)], "it is being stopped: it goes first, and alone");
}

#[test]
fn rollback_stops_nothing_while_a_stop_first_slot_is_down() {
    // The first failed at r2 and restores r1; the second serves r2, the third r1.
    let Midway { r1, r2, .. } = Midway::new();
    #[rustfmt::skip]
    let table = [
        ("it is being restored",    Some(InstanceState::Starting), false, vec![0, 2]),
        ("it is restored",          Some(InstanceState::Healthy),  false, vec![0, 1, 2]),
        ("nothing is known of it",  Some(InstanceState::Healthy),  true,  vec![0, 2]),
    ];
    for (case, restored, is_behind, want) in table {
        let mut midway = Midway::new();
        midway.begin(0);
        midway.begin(1);
        midway.see(1, &[(&r2, InstanceState::Healthy)]);
        midway.see(2, &[(&r1, InstanceState::Healthy)]);
        let running: Vec<_> = restored.into_iter().map(|state| (&r1, state)).collect();
        midway.see(0, &running);
        midway.fails(0, &r2);
        if is_behind {
            midway.is_behind(0);
        }
        midway.go_back();
        let want: Vec<SlotId> = want.into_iter().map(|n| midway.slot(n)).collect();
        assert_eq!(midway.step(), want, "{case}");
    }
}

/// Found by the simulation (seed 1882738388894035): what serves there was of no release that the way back knew.
#[test]
fn release_between_is_stopped_within_budget_only() {
    for fails in [false, true] {
        let mut midway = Midway::new();
        let (r1, r2, r3) = (midway.r1.clone(), midway.r2.clone(), release(3, stop_first));
        for n in 0..2 {
            midway.begin(n);
            midway.see(n, &[(&r2, InstanceState::Healthy)]);
        }
        midway.see(2, &[(&r1, InstanceState::Healthy)]);
        midway.supersede(&r3);
        midway.step();
        assert_eq!(midway.previous(0), Some((reference(&r2).digest, Phase::Running)));
        for n in 0..2 {
            midway.seen(n).release = Some(reference(&r3).digest);
            if fails {
                midway.fails(n, &r3);
            }
        }
        midway.go_back();
        assert_eq!(
            midway.step(),
            [midway.slot(0), midway.slot(2)],
            "fails: {fails}; one of three may be down"
        );
        assert_eq!(midway.previous(0), Some((reference(&r2).digest, Phase::Standby)), "it stops first");
        assert_eq!(midway.previous(2), None, "nothing stops there");
    }
}

/// Found by the simulation (seed 1882737769185306): what is not known to serve was taken for what may be stopped.
#[test]
fn unknown_readiness_of_a_new_agent_may_serve_and_is_kept() {
    let Midway { r2, .. } = Midway::new();
    let on_the_way_back = |forgets: &[usize]| {
        let mut midway = Midway::new();
        for n in 0..3 {
            midway.begin(n);
            midway.see(n, &[(&r2, InstanceState::Healthy)]);
        }
        forgets.iter().for_each(|n| midway.forgets(*n));
        midway.go_back();
        midway.step()
    };
    let first = [Midway::new().slot(0)];
    assert_eq!(on_the_way_back(&[]), first, "one stops");
    assert_eq!(on_the_way_back(&[0, 1, 2]), [], "any of them may be down already");
    let forward = |forgets: &[usize]| {
        let mut midway = Midway::new();
        forgets.iter().for_each(|n| midway.forgets(*n));
        midway.step()
    };
    assert_eq!(forward(&[]), first, "one stops");
    assert_eq!(forward(&[0, 1]), [], "two may be down already");
}
