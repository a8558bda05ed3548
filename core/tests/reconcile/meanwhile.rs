//! Events in one slot while something else happens: in another slot, in a step under way, in a plan that came.

use windlass_core::observation::{FailureReason, SlotStatus};
use windlass_core::plan::{Phase, PlanSlot, Previous};
use windlass_core::reconcile::{ContainerState, PlanNumber, Quarantined, StartFailure};

use crate::world::*;

/// Found by the simulation (seed 176): one that hung was started again although its content had failed next door.
#[test]
fn content_failed_in_another_slot_runs_on_without_restart() {
    let hangs = Behaviour { hangs_after: Some(secs(60)), ..HEALTHY };
    for (case, behaviour, exits, reason) in [
        ("goes on", HEALTHY, false, None),
        ("exits", HEALTHY, true, Some(FailureReason::Exited { code: 4 })),
        ("hangs", hangs, false, Some(FailureReason::LivenessFailed)),
    ] {
        let mut world = World::new();
        let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, behaviour, |_| {}));
        world.plan(vec![good(0, one)]);
        world.run(secs(30));
        world.plan(vec![replacing(0, two, one, Phase::Standby)]);
        world.run(secs(40));
        assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby", "{case}");
        let content = world.desired.releases[&two].content;
        let known = world.memory.quarantine.entry(slot(0).service).or_default();
        known.insert(content, Quarantined { at: world.now, reason: "it exited next door".to_owned() });
        if exits {
            let (code, oom_killed, finished_at) = (4, false, world.now);
            world.container("c2").state = ContainerState::Exited { code, oom_killed, finished_at };
        }
        world.journal.clear();
        world.run(secs(120));
        let again = world.journal.iter().any(|line| line.contains("start production.web.0.r2"));
        assert!(!again, "{case}: {:#?}", world.journal);
        match (reason, world.status(&slot(0))) {
            (None, status) => assert_eq!(*status, SlotStatus::Settled, "{case}"),
            (Some(reason), SlotStatus::Failed { restored, evidence }) => {
                assert_eq!((*restored, &evidence.reason), (Some(one), &reason), "{case}");
            }
            (Some(_), status) => panic!("{case}: {status:?}"),
        }
    }
}

/// Found by the simulation (seed 37): a plan that asked for another try was answered with the failure before it.
#[test]
fn failure_overtaken_by_a_newer_plan_is_not_reported() {
    let mut world = World::new();
    let crash = Behaviour { exits: Some((secs(0), 1)), ..HEALTHY };
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, crash, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    let failing = replacing(0, two, one, Phase::Running);
    world.plan(vec![failing.clone()]);
    world.run(secs(30));
    assert!(matches!(world.status(&slot(0)), SlotStatus::Failed { .. }));
    world.observed.busy.insert(slot(0));
    for (case, plan) in [
        ("another try", PlanSlot { retry_quarantined: true, ..failing.clone() }),
        ("it is good", PlanSlot { good: true, fallback: None, ..failing }),
        ("another release", good(0, one)),
    ] {
        world.plan(vec![plan]);
        assert!(world.turn().is_empty(), "{case}: one step at a time");
        assert_eq!(*world.status(&slot(0)), SlotStatus::Converging, "{case}");
    }
}

/// Found by the simulation (seed 909): the predecessor's launches came first, and failed for ever.
#[test]
fn missing_predecessor_does_not_block_the_candidate() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![PlanSlot { phase: Phase::Pulled, ..replacing(0, two, one, Phase::Standby) }]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 standby");
    world.starts = vec![StartFailure::Failed("no such runtime".to_owned()); 100];
    let previous = Some(Previous { release: two, phase: Phase::Running });
    world.plan(vec![PlanSlot { previous, ..good(0, one) }]);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+", "{:#?}", world.journal);
}

#[test]
fn stopping_instance_is_draining_under_any_newer_plan() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![PlanSlot { phase: Phase::Standby, ..good(0, one) }]);
    world.begin(0);
    assert_eq!(world.pending.len(), 1, "its stop");
    assert_eq!(world.picture(&slot(0)), "r1 draining+", "said with the report of the decision itself");
    world.plan(vec![good(0, one)]);
    world.begin(0);
    assert_eq!(world.picture(&slot(0)), "r1 draining+");
    world.begin(1);
    world.begin(1);
    world.now = world.now + secs(30);
    world.begin(0);
    assert_eq!(world.picture(&slot(0)), "r1 healthy");
}

/// A coordinator that was restored knows less than its host ran meanwhile, and the agent has lost its journal, too. Found by
/// the simulation (seed 1882754990998828): what served stopped at once, and its predecessor had yet to start.
#[test]
fn unplanned_instance_serves_until_the_predecessor_serves() {
    let mut world = World::new();
    let releases = [1, 2, 3].map(|counter| world.release(counter, HEALTHY, |_| {}));
    let [one, two, three] = releases;
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, three, one, Phase::Standby)]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r3 healthy+, r1 standby");
    let before = PlanSlot { phase: Phase::Pulled, ..replacing(0, two, one, Phase::Running) };
    world.plan(vec![before]);
    world.journal.clear();
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    let done = |what: &str| world.journal.iter().position(|line| line.contains(what));
    let (serves, stops) = (done("start production.web.0.r1"), done("stop production.web.0.r3"));
    assert!(serves < stops && serves.is_some(), "{:#?}", world.journal);
    let again = PlanSlot { phase: Phase::Running, ..replacing(0, two, one, Phase::Standby) };
    world.plan(vec![again]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby");
}

/// The same where the predecessor is gone, and both sides of the slot are taken by what no plan names.
#[test]
fn a_predecessor_that_has_to_be_made_gets_a_side() {
    let mut world = World::new();
    let releases = [1, 2, 3, 4].map(|counter| world.release(counter, HEALTHY, |_| {}));
    let [one, two, three, four] = releases;
    world.plan(vec![good(0, three)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, four, three, Phase::Running)]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r4 healthy+, r3 healthy+");
    let image = world.desired.releases[&one].release.spec.image.digest;
    let known = world.observed.images.values().next().unwrap().clone();
    world.observed.images.insert(image, known);
    world.plan(vec![PlanSlot { phase: Phase::Pulled, ..replacing(0, two, one, Phase::Running) }]);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
}

/// Somebody asks for the old release before the coordinator has heard that its hosts have gone back to it by themselves:
/// its plan has the new one run until the old one is begun, and nothing would.
#[test]
fn rollback_target_serves_on_with_a_failed_predecessor() {
    let mut world = World::new();
    let exits = Behaviour { exits: Some((secs(20), 4)), ..HEALTHY };
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, exits, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, two, one, Phase::Standby)]);
    world.run(secs(300));
    assert_eq!(world.picture(&slot(0)), "r2 failed, r1 healthy+");
    world.journal.clear();
    let back = PlanSlot { good: true, fallback: None, ..replacing(0, one, two, Phase::Running) };
    world.plan(vec![PlanSlot { phase: Phase::Pulled, ..back.clone() }]);
    world.run(secs(60));
    world.plan(vec![PlanSlot { previous: Some(Previous { release: two, phase: Phase::Standby }), ..back }]);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r2 failed, r1 healthy+");
    let stops = world.journal.iter().any(|line| line.contains("stop production.web.0.r1"));
    assert!(!stops, "{:#?}", world.journal);
}

/// A host came back from somebody else's hands: the plan says that the old one may rest, and the new one is not even there.
/// Found by the simulation (seed 1882759127632293).
#[test]
fn what_may_rest_serves_until_the_new_one_does() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![PlanSlot { good: true, ..replacing(0, two, one, Phase::Standby) }]);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby");
    let done = |what: &str| world.journal.iter().position(|line| line.contains(what));
    let (made, stopped) = (done("launch production.web.0.r2"), done("stop production.web.0.r1"));
    assert!(made < stopped && made.is_some(), "{:#?}", world.journal);
}

/// A host that joined anew, whose coordinator was restored, runs what was made under a higher number than that of its plan.
/// Found by the simulation (seed 1882762945504000): an agent that was started again took its journal for an older copy.
#[test]
fn accepted_lower_number_counts_after_a_restart() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    let number = |seq| PlanNumber { epoch: 1, seq };
    world.container("c1").plan = Some(number(7));
    world.run(secs(30));
    world.restart_agent();
    world.observed.from_journal = Some(number(1));
    world.run(secs(30));
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled, "it was taken over what was made under 7");
    world.container("c1").plan = Some(number(8));
    world.run(secs(30));
    assert_eq!(*world.status(&slot(0)), SlotStatus::Converging, "made since: the journal is an older copy");
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled);
}

/// An earlier failure in the slot says nothing of the launch that is under way.
#[test]
fn idle_slot_is_in_transition_while_a_step_runs() {
    let mut world = World::new();
    let crash = Behaviour { exits: Some((secs(0), 1)), ..HEALTHY };
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, crash, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(30));
    assert!(matches!(world.status(&slot(0)), SlotStatus::Failed { .. }));
    world.observed.busy.insert(slot(0));
    for phase in [Phase::Standby, Phase::Absent] {
        world.plan(vec![PlanSlot { phase, ..replacing(0, two, one, Phase::Standby) }]);
        world.turn();
        assert_eq!(*world.status(&slot(0)), SlotStatus::Converging, "{phase:?}");
    }
}

#[test]
fn an_instance_whose_port_is_taken_by_now_is_replaced() {
    let mut world = World::new();
    let never = world.release(1, Behaviour { ready_after: None, ..HEALTHY }, |_| {});
    let (two, three) = (world.release(2, HEALTHY, |_| {}), world.release(3, HEALTHY, |_| {}));
    world.plan(vec![running(0, never)]);
    while world.observed.containers.is_empty() {
        world.begin(1);
    }
    world.plan(vec![running(0, two)]);
    while world.observed.containers.len() < 2 {
        world.begin(1);
    }
    // It has no side left, so the second one stops, and the third starts on the port of it.
    world.plan(vec![running(0, three)]);
    while world.observed.containers.len() < 3 {
        world.begin(1);
    }
    world.plan(vec![running(0, two)]);
    world.begin(usize::MAX);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+");
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled);
}
