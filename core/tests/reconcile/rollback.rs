//! Local rollback: what fails, what is restored, what is never tried again.

use windlass_core::observation::{Clock, Evidence, FailureReason, RefusalCode, SlotStatus};
use windlass_core::plan::{Order, Phase, PlanSlot};
use windlass_core::reconcile::{ContainerState, StartFailure};
use windlass_core::{Digest, Span};

use crate::world::*;

fn failure(world: &World) -> (Option<Digest>, &Evidence) {
    match world.status(&slot(0)) {
        SlotStatus::Failed { restored, evidence } => (*restored, evidence),
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[test]
fn each_way_to_fail_restores_the_fallback() {
    let never = Behaviour { ready_after: None, ..HEALTHY };
    let exits = |after, code| Behaviour { exits: Some((secs(after), code)), ..HEALTHY };
    #[rustfmt::skip]
    let table = [
        ("exits at once", exits(0, 3), 5, Clock::Health, FailureReason::Exited { code: 3 }),
        ("exits before it is available", exits(9, 3), 15, Clock::Health, FailureReason::Exited { code: 3 }),
        ("is killed for memory", exits(5, 137), 10, Clock::Health, FailureReason::OutOfMemory),
        ("restarts too often", exits(20, 4), 80, Clock::Soak, FailureReason::Exited { code: 4 }),
        ("is never healthy", never, 30, Clock::Health, FailureReason::NotHealthyInTime { deadline: Span::from_secs(20) }),
        ("hangs before it is available", Behaviour { hangs_after: Some(secs(5)), ..HEALTHY }, 10, Clock::Health, FailureReason::LivenessFailed),
        ("hangs again and again", Behaviour { hangs_after: Some(secs(15)), ..HEALTHY }, 120, Clock::Soak, FailureReason::LivenessFailed),
        ("is unready for too long", Behaviour { unready_after: Some(secs(30)), ..HEALTHY }, 160, Clock::Soak, FailureReason::UnreadyTooLong { after: Span::from_secs(120) }),
    ];
    for (case, behaviour, within, clock, reason) in table {
        for (order, phase) in [
            (Order::StartFirst, Phase::Running),
            (Order::StopFirst, Phase::Standby),
            (Order::StartFirst, Phase::Absent),
        ] {
            let mut world = World::new();
            let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, behaviour, |_| {}));
            world.plan(vec![good(0, one)]);
            world.run(secs(30));
            world.plan(vec![PlanSlot { order, ..replacing(0, two, one, phase) }]);
            world.run(secs(within));
            world.run(secs(60));
            let (restored, evidence) = failure(&world);
            assert_eq!(restored, Some(one), "{case}, {order:?}: {:#?}", world.journal);
            assert_eq!((evidence.clock, &evidence.reason), (clock, &reason), "{case}, {order:?}");
            assert_eq!(evidence.log, ["boom"], "{case}");
            assert!(evidence.at.since(world.now - secs(within + 60)) < secs(within), "{case}: in time");
            assert_eq!(world.picture(&slot(0)), "r2 failed, r1 healthy+", "{case}, {order:?}");
            assert_eq!(world.journal.iter().filter(|line| line.contains("launch")).count(), 2, "{case}");
            let done = world.journal.len();
            world.restart_agent();
            world.run(secs(3600));
            assert_eq!(world.journal.len(), done, "{case}: never retried, and a restart changes nothing");
        }
    }
}

#[test]
fn exits_while_the_agent_was_dead_count() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(30));
    world.restart_agent();
    world.container("c2").restarts = 3;
    world.run(secs(5));
    assert_eq!(failure(&world).1.restarts, 3);
    assert!(world.up(&one) && !world.up(&two));
}

#[test]
fn the_mark_is_journaled_before_anything_is_touched() {
    let mut world = World::new();
    let two = world.release(2, Behaviour { exits: Some((secs(0), 1)), ..HEALTHY }, |_| {});
    world.plan(vec![running(0, two)]);
    world.run(secs(0));
    let marked = world.memory.slots[&slot(0)].failed.as_ref().unwrap();
    assert_eq!(marked.release, two);
    assert!(world.memory.is_quarantined(&slot(0).service, &marked.content));
    assert_eq!(world.journal.last().unwrap(), "0 collect log production.web.0.r2.1");
    world.restart_agent();
    world.run(secs(60));
    assert_eq!(failure(&world).0, None, "there is no fallback");
    assert_eq!(world.picture(&slot(0)), "r2 failed");
}

#[test]
fn missing_fallback_is_made_from_the_kept_image() {
    let mut world = World::new();
    let crash = Behaviour { exits: Some((secs(0), 1)), ..HEALTHY };
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, crash, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![PlanSlot { phase: Phase::Pulled, ..replacing(0, two, one, Phase::Running) }]);
    world.run(secs(5));
    world.registry_down = true;
    world.observed.containers.clear();
    let stop_first = PlanSlot { order: Order::StopFirst, ..replacing(0, two, one, Phase::Standby) };
    world.plan(vec![stop_first]);
    world.run(secs(30));
    assert_eq!(failure(&world).0, Some(one));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+, r2 failed");
}

#[test]
fn a_rollback_is_never_rolled_back() {
    let mut world = World::new();
    let crash = Behaviour { exits: Some((secs(3), 1)), ..HEALTHY };
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, crash, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.behaviours.insert(one, crash);
    world.plan(vec![PlanSlot { order: Order::StopFirst, ..replacing(0, two, one, Phase::Standby) }]);
    world.run(secs(300));
    let again = world.journal.iter().filter(|line| line.contains("start production.web.0.r1")).count();
    assert!(again >= 1, "the fallback is started again: {:#?}", world.journal);
    assert_eq!(world.memory.quarantine[&slot(0).service].len(), 1, "and never quarantined");
    assert!(!world.up(&two));
}

#[test]
fn quarantine_outlives_a_new_signature_and_ends_as_documented() {
    let mut world = World::new();
    let crash = Behaviour { exits: Some((secs(0), 1)), ..HEALTHY };
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, crash, |_| {}));
    // The same content, signed again with another counter.
    let again = world.release(3, HEALTHY, |_| {});
    let mut known = (*world.desired.releases[&again]).clone();
    known.release.spec = world.desired.releases[&two].release.spec.clone();
    known.content = known.release.content_digest();
    world.desired.releases.insert(again, known.into());
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(30));
    assert_eq!(failure(&world).0, Some(one));

    world.plan(vec![replacing(0, again, one, Phase::Running)]);
    world.run(secs(30));
    assert!(matches!(world.status(&slot(0)), SlotStatus::Refused(r) if r.code == RefusalCode::Quarantined));
    assert_eq!(world.picture(&slot(0)), "r2 failed, r1 healthy+");

    world.plan(vec![PlanSlot { retry_quarantined: true, ..replacing(0, again, one, Phase::Running) }]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r3 healthy+, r1 healthy+", "the failed one made way");

    world.plan(vec![PlanSlot { retry_quarantined: true, ..replacing(0, two, one, Phase::Running) }]);
    world.run(secs(30));
    assert!(matches!(world.status(&slot(0)), SlotStatus::Failed { .. }), "tried once, and failed again");
    let launches = world.journal.iter().filter(|line| line.contains("launch")).count();
    world.plan(vec![PlanSlot { retry_quarantined: true, ..replacing(0, two, one, Phase::Running) }]);
    world.run(secs(30));
    assert_eq!(
        world.journal.iter().filter(|line| line.contains("launch")).count(),
        launches,
        "once, not twice"
    );

    world.plan(vec![good(0, two)]);
    world.run(secs(3));
    assert!(world.memory.quarantine.is_empty(), "what is good is not quarantined");
}

#[test]
fn fallback_serves_instead_of_a_quarantined_predecessor() {
    let crash = Behaviour { exits: Some((secs(0), 1)), ..HEALTHY };
    #[rustfmt::skip]
    let table = [
        ("the new one comes up", HEALTHY, Order::StartFirst, Phase::Running, true, "r3 healthy+, r1 healthy+"),
        ("its predecessor drains", HEALTHY, Order::StartFirst, Phase::Draining, true, "r3 healthy+, r1 healthy+"),
        ("one after the other", HEALTHY, Order::StopFirst, Phase::Running, true, "r3 healthy+, r1 standby"),
        ("its image does not come", HEALTHY, Order::StartFirst, Phase::Running, false, "r2 failed, r1 healthy+"),
        ("it does not come, one after the other", HEALTHY, Order::StopFirst, Phase::Running, false, "r2 failed, r1 healthy+"),
        ("the new one fails, too", crash, Order::StartFirst, Phase::Running, true, "r3 failed, r1 healthy+"),
    ];
    for (case, behaviour, order, phase, registry, picture) in table {
        for fallback_is_here in [true, false] {
            let mut world = World::new();
            let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, crash, |_| {}));
            let three = world.release(3, behaviour, |_| {});
            world.plan(vec![good(0, one)]);
            world.run(secs(30));
            world.plan(vec![replacing(0, two, one, Phase::Running)]);
            world.run(secs(30));
            assert_eq!(failure(&world).0, Some(one), "{case}");
            if !fallback_is_here {
                world.observed.containers.retain(|seen| seen.release != one);
            }
            world.registry_down = !registry;
            world.journal.clear();
            // The coordinator does not know yet that the one that is replaced has failed.
            world.plan(vec![PlanSlot { order, fallback: Some(one), ..replacing(0, three, two, phase) }]);
            for _ in 0..120 {
                world.run(secs(1));
                let gap = order == Order::StopFirst && registry;
                assert!(gap || world.up(&one), "{case}: the fallback serves: {:#?}", world.journal);
                assert!(!world.up(&two), "{case}: {:#?}", world.journal);
            }
            let again = world.journal.iter().any(|line| line.contains(".r2.") && line.contains("start"));
            assert!(!again && !world.journal.iter().any(|line| line.contains("launch production.web.0.r2")));
            if fallback_is_here {
                assert_eq!(world.picture(&slot(0)), picture, "{case}: {:#?}", world.journal);
            }
        }
    }
}

#[test]
fn running_predecessor_goes_on_when_its_content_failed() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    let three = world.release(3, HEALTHY, |_| {});
    world.plan(vec![good(0, one), good(1, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, two, one, Phase::Running), replacing(1, two, one, Phase::Absent)]);
    world.run(secs(5));
    let beside =
        world.observed.containers.iter().position(|seen| seen.slot == slot(0) && seen.release == two);
    world.observed.containers[beside.unwrap()].state =
        ContainerState::Exited { code: 1, oom_killed: false, finished_at: world.now };
    world.run(secs(30));
    assert!(world.memory.quarantine.contains_key(&slot(1).service));
    world.registry_down = true;
    let stale = PlanSlot { fallback: Some(one), ..replacing(1, three, two, Phase::Running) };
    world.plan(vec![good(0, one), stale]);
    world.run(secs(30));
    assert!(world.picture(&slot(1)).contains("r2 healthy+"), "{}", world.picture(&slot(1)));
    // Once it ends, it is not started again.
    let seen = world.observed.containers.iter_mut().find(|seen| seen.slot == slot(1) && seen.release == two);
    let seen = seen.unwrap();
    seen.state = ContainerState::Exited { code: 1, oom_killed: false, finished_at: world.now };
    world.run(secs(60));
    assert!(!world.up(&two), "{:#?}", world.journal);
    assert!(world.picture(&slot(1)).contains("r1 healthy+"), "{}", world.picture(&slot(1)));
}

#[test]
fn failed_container_stays_until_its_place_is_needed() {
    let mut world = World::new();
    let crash = Behaviour { exits: Some((secs(0), 1)), ..HEALTHY };
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, crash, |_| {}));
    let three = world.release(3, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(30));
    world.plan(vec![good(0, one)]); // the coordinator rolled back
    world.run(secs(600));
    assert_eq!(world.picture(&slot(0)), "r2 failed, r1 healthy+");
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled);
    world.plan(vec![replacing(0, three, one, Phase::Running)]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r3 healthy+, r1 healthy+");
    world.plan(Vec::new());
    world.run(secs(30));
    assert!(world.observed.containers.is_empty());
}

#[test]
fn a_failed_pull_is_no_failure_of_the_content() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.registry_down = true;
    world.journal.clear();
    world.plan(vec![PlanSlot { order: Order::StopFirst, ..replacing(0, two, one, Phase::Standby) }]);
    world.run(secs(60));
    let (restored, evidence) = failure(&world);
    assert_eq!((restored, evidence.clock), (None, Clock::Pull));
    assert!(world.memory.quarantine.is_empty());
    assert_eq!(world.picture(&slot(0)), "r1 healthy+", "nothing was touched");
    let pulls: Vec<_> = world.journal.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(pulls, ["30", "35", "45", "65"], "5 s, doubled");
    world.registry_down = false;
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby");
}

#[test]
fn starts_that_fail() {
    let failed = || StartFailure::Failed("no such runtime".to_owned());
    for (case, failure_, quarantined) in
        [("engine", failed(), true), ("fixed port", StartFailure::PortTaken(8080), false)]
    {
        let mut world = World::new();
        let fixed = |spec: &mut windlass_core::release::Spec| {
            spec.ports.get_mut("http").unwrap().host = Some(8080);
        };
        let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, fixed));
        world.plan(vec![good(0, one)]);
        world.run(secs(30));
        world.starts = vec![failure_];
        world.plan(vec![replacing(0, two, one, Phase::Running)]);
        world.run(secs(30));
        assert_eq!(failure(&world).0, Some(one), "{case}");
        assert_eq!(failure(&world).1.clock, Clock::Start, "{case}");
        assert_eq!(!world.memory.quarantine.is_empty(), quarantined, "{case}");
        assert_eq!(world.picture(&slot(0)), "r1 healthy+", "{case}");
    }
}

#[test]
fn a_drawn_port_that_is_taken_is_drawn_again() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![running(0, one)]);
    world.turn();
    world.turn();
    let first = world.memory.slots[&slot(0)].ports["http"][0];
    world.observed.containers.clear();
    world.starts = vec![StartFailure::PortTaken(first)];
    world.run(secs(0));
    let second = world.memory.slots[&slot(0)].ports["http"];
    assert!(!second.contains(&first) && second[0] != second[1] && !second.contains(&0));
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
}

#[test]
fn a_fixed_port_that_is_taken_is_tried_with_pauses() {
    let mut world = World::new();
    let fixed =
        |spec: &mut windlass_core::release::Spec| spec.ports.get_mut("http").unwrap().host = Some(8080);
    let one = world.release(1, HEALTHY, fixed);
    world.plan(vec![good(0, one)]);
    world.starts = vec![StartFailure::PortTaken(8080); 9];
    world.run(secs(4));
    let trouble = world.seen(&slot(0)).trouble.clone().expect("the reason is reported");
    assert_eq!(trouble.code, windlass_core::observation::TroubleCode::PortTaken);
    assert!(trouble.message.contains("port 8080"), "{trouble}");
    assert!((2..=3).contains(&trouble.tries), "a pause from the first try on: {trouble}");
    world.starts.clear();
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert_eq!(world.seen(&slot(0)).trouble, None);
}

#[test]
fn proven_candidate_stopped_by_hand_is_started() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![running(0, one)]);
    world.run(secs(30));
    world.container("c1").state =
        ContainerState::Exited { code: 143, oom_killed: false, finished_at: world.now };
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert_eq!(world.seen(&slot(0)).instances[0].restarts, 1);
}

/// Found by the simulation (seed 1882760809548831): a slot that was to stand still, so that an exclusive service could start
/// elsewhere, went back to its fallback, since what it had been at before had failed there.
#[test]
fn a_slot_that_is_to_stand_still_goes_back_to_nothing() {
    let crash = Behaviour { exits: Some((secs(0), 1)), ..HEALTHY };
    for phase in [Phase::Standby, Phase::Absent] {
        let mut world = World::new();
        let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, crash, |_| {}));
        world.plan(vec![good(0, one)]);
        world.run(secs(30));
        let failing = replacing(0, two, one, Phase::Standby);
        world.plan(vec![failing.clone()]);
        world.run(secs(60));
        assert_eq!(failure(&world).0, Some(one), "it went back");
        world.plan(vec![PlanSlot { phase, ..failing.clone() }]);
        world.run(secs(60));
        assert!(!world.up(&one) && !world.up(&two), "{phase:?}: {}", world.picture(&slot(0)));
        world.plan(vec![failing]);
        world.run(secs(60));
        assert_eq!(failure(&world).0, Some(one), "{phase:?}: and again, once something may run");
    }
}

/// Found by the simulation (seed 1882762440084281): the slot was on its way out, and what had been beside it was started.
#[test]
fn in_a_slot_that_goes_nothing_is_started() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    for standing in [true, false] {
        if !standing {
            world.plan(vec![good(0, one)]);
            world.run(secs(60));
        }
        world.plan(vec![PlanSlot { phase: Phase::Absent, ..replacing(0, two, one, Phase::Running) }]);
        world.run(secs(60));
        assert!(!world.up(&one) && !world.up(&two), "{standing}: {}", world.picture(&slot(0)));
        let starts = world.journal.iter().filter(|line| line.contains(" start ")).count();
        assert_eq!(starts, usize::from(!standing), "{:#?}", world.journal);
    }
}
