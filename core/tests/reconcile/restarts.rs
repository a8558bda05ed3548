//! New instances of a good release that do not start: what they were to replace serves on, and it is said why.

use std::time::Duration;

use windlass_core::observation::{FailureReason, SlotStatus};
use windlass_core::plan::{Order, Phase, PlanSlot, Previous};
use windlass_core::reconcile::{ContainerState, StartFailure};

use crate::world::*;

fn says_no() -> StartFailure {
    StartFailure::Failed("the engine says no".to_owned())
}

#[test]
fn refused_restart_is_reported_at_once_and_old_one_serves() {
    for order in [Order::StartFirst, Order::StopFirst] {
        let mut world = World::new();
        let one = world.release(1, HEALTHY, |_| {});
        world.plan(vec![good(0, one)]);
        world.run(secs(60));
        world.starts = vec![says_no()];
        world.plan(vec![PlanSlot { generation: 1, order, ..good(0, one) }]);
        world.run(secs(10));
        let SlotStatus::Failed { restored, evidence } = world.status(&slot(0)) else {
            panic!("{order:?}: {:?}", world.status(&slot(0)))
        };
        let reason = FailureReason::StartFailed { message: "the engine says no".to_owned() };
        assert_eq!((*restored, &evidence.reason), (Some(one), &reason), "{order:?}");
        world.run(secs(60));
        assert_eq!(world.picture(&slot(0)), "r1 healthy+", "{order:?}: {:#?}", world.journal);
        let done = world.journal.len();
        world.restart_agent();
        world.run(secs(3600));
        assert_eq!(world.journal.len(), done, "{order:?}: it is not tried again unasked");
        world.plan(vec![PlanSlot { generation: 2, order, ..good(0, one) }]);
        world.run(secs(60));
        assert_eq!(*world.status(&slot(0)), SlotStatus::Settled, "{order:?}");
        assert_eq!(world.seen(&slot(0)).instances[0].generation, 2, "{order:?}");
    }
}

#[test]
fn restart_without_a_fallback_keeps_trying_and_says_why() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.starts = vec![says_no(), says_no()];
    world.plan(vec![PlanSlot { generation: 1, ..good(0, one) }]);
    world.run(secs(2));
    assert!(matches!(world.status(&slot(0)), SlotStatus::Failed { restored: None, .. }));
    world.run(secs(60));
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled, "{:#?}", world.journal);
    assert_eq!(world.journal.iter().filter(|line| line.contains("launch")).count(), 3);
}

/// Nobody asked for a new instance: one that was good is made again until it starts.
#[test]
fn vanished_good_instance_is_made_again_despite_refusals() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    world.observed.containers.clear();
    world.starts = vec![says_no(), says_no()];
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled);
}

/// Both sides of the slot are taken: the older instance makes way, whichever goes first.
#[test]
fn a_restart_beside_a_predecessor_that_is_to_rest_gets_a_side() {
    for order in [Order::StartFirst, Order::StopFirst] {
        let mut world = World::new();
        let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
        world.plan(vec![good(0, one)]);
        world.run(secs(30));
        let beside = PlanSlot { good: true, fallback: None, ..replacing(0, two, one, Phase::Running) };
        world.plan(vec![beside.clone()]);
        world.run(secs(30));
        assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 healthy+", "{order:?}");
        let previous = Some(Previous { release: one, phase: Phase::Standby });
        world.plan(vec![PlanSlot { generation: 1, order, previous, ..beside }]);
        world.journal.clear();
        world.run(secs(60));
        assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby", "{order:?}: {:#?}", world.journal);
        assert_eq!(world.seen(&slot(0)).instances[0].generation, 1, "{order:?}");
        let done = |what: &str| world.journal.iter().position(|line| line.contains(what));
        let (made, stopped) = (done("launch production.web.0.r2.3"), done("stop production.web.0.r2.2"));
        assert_eq!(made < stopped, order == Order::StartFirst, "{:#?}", world.journal);
    }
}

/// Requests may still go to the old instance: it stops when a later plan lets it go, and nothing that happens on the host does it sooner.
#[test]
fn a_kept_instance_runs_on_until_a_later_plan() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    let kept = PlanSlot { generation: 1, keeps_older: true, ..good(0, one) };
    world.plan(vec![kept.clone()]);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+, r1 healthy+", "{:#?}", world.journal);
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled);
    world.restart_agent();
    world.run(secs(3600));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+, r1 healthy+", "{:#?}", world.journal);
    // Another release is prepared meanwhile: both of the one before run on.
    let two = world.release(2, HEALTHY, |_| {});
    let prepared = PlanSlot { phase: Phase::Pulled, ..replacing(0, two, one, Phase::Running) };
    world.plan(vec![PlanSlot { keeps_older: true, ..prepared }]);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+, r1 healthy+", "{:#?}", world.journal);
    world.plan(vec![PlanSlot { keeps_older: false, ..kept }]);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+", "{:#?}", world.journal);
    assert_eq!(world.seen(&slot(0)).instances[0].generation, 1);
}

/// Of two restarts one after the other, the instance that served all along stays, and the one that never did makes room.
#[test]
fn a_second_restart_keeps_what_has_served_longest() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    for generation in [1, 2] {
        world.plan(vec![PlanSlot { generation, keeps_older: true, ..good(0, one) }]);
        world.run(Duration::from_millis(500));
    }
    world.run(secs(60));
    let generations: Vec<u64> = world.seen(&slot(0)).instances.iter().map(|seen| seen.generation).collect();
    assert_eq!(generations, [2, 0], "{:#?}", world.journal);
    assert_eq!(world.picture(&slot(0)), "r1 healthy+, r1 healthy+");
}

/// An engine that was restarted may have lost track of a container, and starts it never again.
#[test]
fn a_container_that_the_engine_cannot_start_is_made_anew() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    for on_trial in [false, true] {
        let generation = u64::from(on_trial);
        world.plan(vec![PlanSlot { generation, good: !on_trial, ..good(0, one) }]);
        world.run(secs(60));
        world.stuck = true;
        let finished_at = world.now;
        let up = world.observed.containers.iter_mut().filter(|seen| seen.state.is_up());
        up.for_each(|seen| {
            seen.state = ContainerState::Exited { code: 255, oom_killed: false, finished_at };
        });
        world.run(secs(60));
        assert_eq!(*world.status(&slot(0)), SlotStatus::Settled, "{:#?}", world.journal);
        assert!(world.up(&one), "{:#?}", world.journal);
        world.stuck = false;
    }
}
