//! A plan may not have more of a service on one host than its release was signed for.

use super::*;

fn signed(max: u32, edit: impl Fn(&mut Release)) -> Release {
    let mut release = release();
    release.spec.scale = Scale::Replicas { min: 1, max };
    edit(&mut release);
    release
}

fn refused(release: &Release, slots: &[PlanSlot], made: &[u32]) -> Vec<u32> {
    let found = beyond_delegation(slots, |_| Some(release), |slot| made.contains(&slot.index));
    assert!(found.values().all(|refusal| refusal.code == RefusalCode::UnsignedRelease));
    found.keys().map(|slot| slot.index).collect()
}

#[test]
fn a_host_runs_no_more_slots_than_were_signed() {
    let one = signed(1, |_| {});
    let slots = [0, 1, 2, 700].map(slot);
    assert_eq!(refused(&one, &slots, &[]), [1, 2, 700]);
    assert_eq!(refused(&one, &slots, &[700]), [0, 1, 2], "one that runs here stays");
    assert_eq!(refused(&signed(4, |_| {}), &slots, &[]), [0; 0]);
    assert_eq!(refused(&signed(9, |it| it.spec.scale = Scale::PerHost), &slots, &[]), [1, 2, 700]);
    let surge = |release: &mut Release| {
        release.spec.strategy = crate::release::Strategy::Rolling {
            batch: crate::Amount::Count(1),
            max_surge: crate::Amount::Count(1),
            max_unavailable: crate::Amount::Count(0),
            order: crate::release::OrderRule::StartFirst,
            min_ready: Span::from_secs(1),
        };
    };
    assert_eq!(refused(&signed(1, surge), &slots, &[]), [2, 700]);
    // Those that do not run do not count, and are not refused.
    let still = |index, phase| PlanSlot { phase, ..slot(index) };
    let at_rest = [slot(0), still(1, Phase::Pulled), still(2, Phase::Standby), still(700, Phase::Absent)];
    assert_eq!(refused(&one, &at_rest, &[]), [0; 0]);
    let draining = [slot(0), still(1, Phase::Draining)];
    assert_eq!(refused(&one, &draining, &[]), [1]);
}

#[test]
fn an_exclusive_service_runs_once_on_a_host() {
    let exclusive = signed(5, |it| it.spec.exclusive = true);
    assert_eq!(refused(&exclusive, &[slot(0), slot(1)], &[]), [1]);
    let beside = |order| {
        let previous = Some(Previous { release: Digest::of(b"r4"), phase: Phase::Running });
        PlanSlot { order, previous, ..slot(0) }
    };
    assert_eq!(refused(&exclusive, &[beside(Order::StartFirst)], &[]), [0]);
    assert_eq!(refused(&exclusive, &[beside(Order::StopFirst)], &[]), [0; 0]);
    assert_eq!(refused(&signed(5, |_| {}), &[beside(Order::StartFirst)], &[]), [0; 0]);
}

#[test]
fn a_release_that_is_not_verified_takes_no_place() {
    let one = signed(1, |_| {});
    let good = Digest::of(b"good");
    let slots = [slot(0), PlanSlot { release: good, ..slot(1) }];
    let found = beyond_delegation(&slots, |digest| (*digest == good).then_some(&one), |_| false);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_set_that_stands_beside_another_takes_one_slot_more() {
    let beside = signed(1, |it| {
        let (watch, keep_old, min_ready) = (Span::ZERO, Span::ZERO, Span::ZERO);
        let steps = vec![crate::traffic::Weight::ALL];
        it.spec.strategy =
            crate::release::Strategy::BlueGreen { steps, watch, keep_old, approve: false, min_ready };
    });
    assert_eq!(refused(&beside, &[0, 1, 2].map(slot), &[]), [2]);
}

#[test]
fn of_two_releases_the_larger_number_counts() {
    let (few, many) = (signed(1, |_| {}), signed(3, |_| {}));
    let other = Digest::of(b"other");
    let slots = [slot(0), PlanSlot { release: other, ..slot(1) }, slot(2), slot(700)];
    let found =
        beyond_delegation(&slots, |digest| Some(if *digest == other { &many } else { &few }), |_| false);
    assert_eq!(found.keys().map(|slot| slot.index).collect::<Vec<_>>(), [700]);
}
