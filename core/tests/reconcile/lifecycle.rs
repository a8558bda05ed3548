//! From nothing to running, from one release to the next, and away again.

use windlass_core::condition::ConditionCode;
use windlass_core::observation::{RefusalCode, SlotStatus};
use windlass_core::plan::{Order, Phase, PlanSlot, Previous};
use windlass_core::reconcile::{ContainerState, Lease, Memory, RestartPolicy, Step};

use crate::world::*;

#[test]
fn nothing_is_touched_before_the_first_plan() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    world.desired.plan = None;
    world.memory = Memory::of_new_host();
    world.restart_agent();
    let done = world.journal.len();
    world.container("c1").state =
        ContainerState::Exited { code: 1, oom_killed: false, finished_at: world.now };
    world.run(secs(600));
    assert_eq!(world.journal.len(), done);
    assert_eq!(world.seen(&slot(0)).status, SlotStatus::Converging);
    assert_eq!(world.memory.slots[&slot(0)].serial, 1, "what stands there is adopted");
}

#[test]
fn a_new_slot_is_pulled_launched_proven_and_kept() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![PlanSlot { phase: Phase::Pulled, ..running(0, one) }]);
    world.run(secs(5));
    assert_eq!(world.journal, ["0 pull registry/web:1"]);
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled);
    assert!(world.seen(&slot(0)).pulled);
    world.plan(vec![running(0, one)]);
    world.run(secs(8));
    assert_eq!(world.picture(&slot(0)), "r1 healthy");
    assert_eq!(*world.status(&slot(0)), SlotStatus::Converging, "not for min ready yet");
    assert_eq!(world.container("c1").policy, RestartPolicy::No);
    world.run(secs(5));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled);
    assert_eq!(world.container("c1").policy, RestartPolicy::UnlessStopped);
    assert!(world.turn().is_empty(), "a second plan is empty");
    let endpoint = &world.seen(&slot(0)).instances[0].endpoints["http"];
    let port: u16 = endpoint.strip_prefix("10.0.0.1:").unwrap().parse().unwrap();
    assert!((20_000..=29_999).contains(&port));
}

#[test]
fn start_first_has_both_until_the_plan_stops_the_old() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 healthy+");
    let sides: Vec<_> = world.observed.containers.iter().map(|seen| seen.side).collect();
    assert_eq!(sides, [0, 1]);
    for (phase, picture) in [
        (Phase::Draining, "r2 healthy+, r1 draining+"),
        (Phase::Standby, "r2 healthy+, r1 standby"),
        (Phase::Running, "r2 healthy+, r1 healthy+"),
        (Phase::Absent, "r2 healthy+, r1 standby"), // it may be needed until the new one is good
    ] {
        world.plan(vec![replacing(0, two, one, phase)]);
        world.run(secs(20));
        assert_eq!(world.picture(&slot(0)), picture, "{phase:?}");
    }
    world.plan(vec![good(0, two)]);
    world.run(secs(5));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+");
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled);
}

#[test]
fn stop_first_keeps_the_old_container() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.journal.clear();
    world.plan(vec![PlanSlot { order: Order::StopFirst, ..replacing(0, two, one, Phase::Standby) }]);
    world.run(secs(30));
    assert_eq!(
        world.journal,
        [
            "30 pull registry/web:2", // nothing is touched before the image is here
            "30 stop production.web.0.r1.1",
            "30 launch production.web.0.r2.2",
            "41 keep running production.web.0.r2.2",
        ]
    );
    assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby");
}

#[test]
fn one_fixed_port_means_stop_first() {
    let mut world = World::new();
    let fixed = |spec: &mut windlass_core::release::Spec| {
        spec.ports.get_mut("http").unwrap().host = Some(8080);
    };
    let (one, two) = (world.release(1, HEALTHY, fixed), world.release(2, HEALTHY, fixed));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby");
}

#[test]
fn what_a_plan_no_longer_names_goes_when_its_successor_serves() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one), good(1, one)]);
    world.run(secs(30));
    world.journal.clear();
    world.registry_down = true;
    world.plan(vec![good(0, two)]);
    world.run(secs(1));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+", "what ran, runs, while its successor cannot");
    assert_eq!(world.picture(&slot(1)), "", "a slot that is not listed is emptied");
    assert!(!world.memory.slots.contains_key(&slot(1)), "and its ports are free");
    world.registry_down = false;
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+");
    let launched = world.journal.iter().position(|line| line.contains("launch")).unwrap();
    let stopped = world.journal.iter().position(|line| line.contains("stop production.web.0")).unwrap();
    assert!(launched < stopped, "no gap: {:?}", world.journal);
}

#[test]
fn a_standby_comes_back_with_a_start() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![PlanSlot { phase: Phase::Standby, ..good(0, one) }]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 standby");
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled);
    world.plan(vec![running(0, one)]);
    world.run(secs(30));
    assert_eq!(world.journal.last().unwrap(), "60 start production.web.0.r1.1");
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert_eq!(world.seen(&slot(0)).instances[0].restarts, 0, "that was no restart");
}

#[test]
fn ended_good_instance_restarts_with_growing_delays() {
    let mut world = World::new();
    let one = world.release(1, Behaviour { exits: Some((secs(3), 1)), ..HEALTHY }, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    let starts: Vec<_> = world.journal.iter().filter(|line| line.contains(" start ")).cloned().collect();
    let seconds: Vec<u64> =
        starts.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    // It ends after 3 s, waits 1, ends, waits 2, …
    assert_eq!(seconds, [4, 9, 16, 27, 46]);
    assert!(matches!(world.status(&slot(0)), SlotStatus::Converging), "a good release never fails");
    assert_eq!(world.seen(&slot(0)).instances[0].restarts, 5);
}

#[test]
fn a_reboot_is_not_the_candidates_fault() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![running(0, one)]);
    world.run(secs(3));
    world.container("c1").state =
        ContainerState::Exited { code: 137, oom_killed: false, finished_at: world.now };
    world.now = world.now + secs(20);
    world.observed.interrupted_before = world.now;
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
}

#[test]
fn a_restarted_agent_knows_who_was_available() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    let since = |world: &World| world.slots.iter().map(|seen| seen.instances[0].since).collect::<Vec<_>>();
    let before = since(&world);
    world.restart_agent();
    let done = world.journal.len();
    world.turn();
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert!(since(&world) <= before, "it is no younger than it was: by the start that the engine knows");
    world.run(secs(60));
    assert_eq!(world.journal.len(), done, "nothing is touched");
}

#[test]
fn a_start_that_was_written_down_and_not_done_is_no_failure() {
    let mut world = World::new();
    let slow = Behaviour { ready_after: Some(secs(15)), ..HEALTHY };
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, slow, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    // The new one is stopped before it was ready, and is to run again. Its start is journaled, and then the agent dies.
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(5));
    world.plan(vec![PlanSlot { phase: Phase::Standby, ..replacing(0, two, one, Phase::Running) }]);
    world.run(secs(5));
    assert_eq!(world.picture(&slot(0)), "r2 standby, r1 healthy+");
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.begin(0);
    assert!(matches!(world.pending[..], [Step::Start(_)]), "{:?}", world.pending);
    world.pending.clear();
    world.restart_agent();
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 healthy+", "{:#?}", world.journal);
    assert!(world.memory.quarantine.is_empty());

    // And one that has proven itself does not use up one of its restarts.
    world.plan(vec![PlanSlot { phase: Phase::Standby, ..good(0, two) }]);
    world.run(secs(5));
    world.plan(vec![good(0, two)]);
    world.begin(0);
    world.pending.clear();
    world.restart_agent();
    let done = world.journal.len();
    world.run(secs(0));
    assert!(world.journal[done].contains(" start "), "at once: {:#?}", &world.journal[done..]);
    world.run(secs(60));
    assert_eq!(world.seen(&slot(0)).instances[0].restarts, 0);
}

#[test]
fn a_container_that_was_removed_by_hand_is_made_again() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    world.observed.containers.clear();
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert_eq!(world.observed.containers[0].instance, "production.web.0.r1.2");
}

#[test]
fn an_isolated_host_stops_what_must_not_run_alone() {
    let mut world = World::new();
    let lonely = |spec: &mut windlass_core::release::Spec| {
        spec.on_lost.stop_isolated_after = Some(windlass_core::Span::from_secs(60));
    };
    let (one, two) = (world.release(1, HEALTHY, lonely), world.release(2, HEALTHY, |_| {}));
    world.observed.coordinator_last_seen = Some(world.now);
    world.plan(vec![good(0, one), good(1, two)]);
    world.run(secs(59));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 stopped");
    assert_eq!(world.picture(&slot(1)), "r2 healthy+");
    world.restart_agent();
    // An agent that starts anew counts the silence from its beginning.
    world.observed.coordinator_last_seen = Some(world.now);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 stopped", "a restart of the agent is no contact");
    (world.observed.coordinator_last_seen, world.observed.heard) = (Some(world.now), true);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    // Its clock is set back by an hour while it is alone; then it hears of the coordinator again.
    world.observed.coordinator_last_seen = Some(world.now - secs(60));
    world.run(secs(5));
    assert_eq!(world.picture(&slot(0)), "r1 stopped");
    world.now = world.now - secs(3600);
    world.observed.coordinator_last_seen = Some(world.now);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+", "whatever its clock says");
}

/// Found by the simulation (seed 1882738388893706): an older copy of a journal, from when its host was alone.
#[test]
fn partition_note_blocks_starts_and_stops_nothing() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |spec| {
        spec.on_lost.stop_isolated_after = Some(windlass_core::Span::from_secs(60));
    });
    world.observed.coordinator_last_seen = Some(world.now);
    world.plan(vec![good(0, one)]);
    world.run(secs(90));
    assert_eq!(world.picture(&slot(0)), "r1 stopped");
    let copy = world.memory.clone();
    (world.observed.coordinator_last_seen, world.observed.heard) = (Some(world.now), true);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    world.memory = copy;
    world.restart_agent();
    (world.observed.coordinator_last_seen, world.observed.heard) = (Some(world.now), false);
    world.run(secs(59));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+", "{:#?}", world.journal);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r1 stopped", "it was not heard of since");
}

/// Found by the simulation: such an agent decided a thousand times a second for as long as its host was alone.
#[test]
fn an_agent_whose_lease_is_over_waits_for_the_next_one() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |spec| {
        spec.exclusive = true;
        spec.on_lost.stop_isolated_after = Some(windlass_core::Span::from_secs(60));
    });
    world.observed.lease = Some(Lease { renewed_at: world.now, current: true });
    world.plan(vec![good(0, one)]);
    world.run(secs(59));
    assert!(world.up(&one));
    assert!(world.wake_at.is_some_and(|at| at <= world.now + secs(1)), "{:?}", world.wake_at);
    world.run(secs(30));
    assert!(!world.up(&one));
    assert!(world.wake_at.is_none_or(|at| at > world.now + secs(1)), "{:?}", world.wake_at);
}

/// The release before was one that must never run twice, the planned one is not.
#[test]
fn exclusive_predecessor_starts_under_a_lease_and_alone() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |spec| spec.exclusive = true);
    let two = world.release(2, HEALTHY, |_| {});
    let lease = |world: &mut World, current| {
        world.observed.lease = Some(Lease { renewed_at: world.now, current });
    };
    lease(&mut world, true);
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    assert!(world.up(&one));
    world.observed.containers.clear();
    lease(&mut world, false);
    world.plan(vec![PlanSlot { phase: Phase::Pulled, ..replacing(0, two, one, Phase::Running) }]);
    world.run(secs(30));
    assert!(!world.up(&one), "another host may run it: {:#?}", world.journal);
    lease(&mut world, true);
    world.run(secs(30));
    assert!(world.up(&one), "{:#?}", world.journal);
}

/// Found by the simulation (seed 1882775357497843): to start it again because it hangs is to start it.
#[test]
fn what_hangs_and_is_refused_by_now_is_not_started_again() {
    let hangs = Behaviour { hangs_after: Some(secs(60)), ..HEALTHY };
    for refused in [false, true] {
        let mut world = World::new();
        let one = world.release(1, hangs, |_| {});
        world.plan(vec![good(0, one)]);
        world.run(secs(30));
        if refused {
            let (code, detail) = (RefusalCode::BelowFloor, String::new());
            world.desired.refusals.insert(slot(0), windlass_core::observation::Refusal { code, detail });
        }
        world.journal.clear();
        world.run(secs(600));
        let again = world.journal.iter().any(|line| line.contains("restart") || line.contains(" start "));
        assert_eq!(again, !refused, "{:#?}", world.journal);
    }
}

#[test]
fn a_refused_release_starts_nothing_and_stops_nothing() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    let done = world.journal.len();
    let refused = |code| windlass_core::observation::Refusal { code, detail: String::new() };
    world.desired.refusals.insert(slot(0), refused(RefusalCode::Policy));
    world.run(secs(5));
    let told: Vec<_> = world.conditions.iter().map(|found| (found.code, found.slot.clone())).collect();
    assert_eq!(told, [(ConditionCode::SlotRefused, Some(slot(0)))]);
    assert_eq!((world.picture(&slot(0)), world.journal.len()), ("r1 healthy+".to_owned(), done));
    for order in [Order::StartFirst, Order::StopFirst] {
        for phase in [Phase::Running, Phase::Standby, Phase::Absent] {
            world.plan(vec![PlanSlot { order, ..replacing(0, two, one, phase) }]);
            world.run(secs(10));
            assert_eq!(*world.status(&slot(0)), SlotStatus::Refused(refused(RefusalCode::Policy)));
        }
    }
    let known = world.desired.releases.remove(&two).unwrap();
    world.desired.refusals.clear();
    world.plan(vec![running(0, two)]);
    world.run(secs(10));
    assert!(
        matches!(world.status(&slot(0)), SlotStatus::Refused(r) if r.code == RefusalCode::UnsignedRelease)
    );
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert_eq!(world.journal.len(), done);
    world.desired.releases.insert(two, known);
    let previous = Some(Previous { release: one, phase: Phase::Absent });
    world.plan(vec![PlanSlot { phase: Phase::Absent, previous, ..running(0, two) }]);
    world.desired.refusals.insert(slot(0), refused(RefusalCode::Revoked));
    world.run(secs(10));
    assert_eq!(world.picture(&slot(0)), "", "a refusal never holds up a stop");
}

#[test]
fn an_agent_without_memory_waits_for_answers_before_it_judges() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![running(0, one)]);
    world.run(secs(3600));
    world.memory = Memory::of_new_host();
    world.observed.watching_since = world.now;
    world.silent = true;
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 unready", "not asked for long enough to be condemned");
    assert!(world.seen(&slot(0)).instances[0].readiness_unknown, "and nobody knows whether it serves");
    world.silent = false;
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert!(!world.seen(&slot(0)).instances[0].readiness_unknown);
}

/// One bad answer of a service that is slow for a moment is not yet a verdict: its probes may be wrong a few times.
#[test]
fn an_older_instance_has_its_time_until_its_probes_decide() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![running(0, one)]);
    world.run(secs(3600));
    world.memory = Memory::of_new_host();
    world.observed.watching_since = world.now;
    world.readiness_unknown = true;
    world.run(secs(10));
    assert_eq!(world.picture(&slot(0)), "r1 unready", "it is not condemned for a first answer");
    world.readiness_unknown = false;
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");

    world.memory = Memory::of_new_host();
    world.observed.watching_since = world.now;
    world.readiness_unknown = true;
    world.run(secs(3600));
    assert_eq!(world.picture(&slot(0)), "r1 failed", "but not for ever");
}

/// It joined anew and had no plan for a long time, so that nobody could ask what it adopted. Found by the simulation (seed
/// 1882751895604490).
#[test]
fn health_clock_starts_when_the_release_is_known() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![running(0, one)]);
    world.run(secs(3600));
    world.memory = Memory::of_new_host();
    world.observed.watching_since = world.now;
    world.silent = true;
    let known = world.desired.releases.remove(&one).unwrap();
    let plan = world.desired.plan.take();
    world.run(secs(3600));
    world.desired.plan = plan;
    world.desired.releases.insert(one, known);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 unready", "not asked for long enough to be condemned");
    world.run(secs(3600));
    assert_eq!(world.picture(&slot(0)), "r1 failed", "but not for ever");
}

#[test]
fn started_instance_serves_only_after_a_probe() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.observed.watching_since = world.now;
    world.silent = true;
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    let seen = &world.seen(&slot(0)).instances[0];
    assert_eq!(
        (seen.state, seen.readiness_unknown),
        (windlass_core::observation::InstanceState::Starting, false)
    );
}

#[test]
fn what_is_not_verified_is_not_started() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    world.plan(vec![replacing(0, two, one, Phase::Standby)]);
    world.run(secs(60));
    world.desired.releases.remove(&one); // below the floor by now
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby", "not started, although the plan says so");
}
