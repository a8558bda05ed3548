//! Blue/green: the new set gets traffic only as said, the old one is there until it is not needed, and every way back is short.

use super::shifting::{World, blue_green, steps};
use crate::fixture::{at, reference};
use crate::release::Release;
use crate::rollout::{Kind, RolloutCommand, State, What};

fn releases() -> (Release, Release) {
    (blue_green(1, &steps(&[1000])), blue_green(2, &steps(&[100, 500, 1000])))
}

/// A world in which r2 has `share` of the traffic.
fn at_share(share: u16) -> (World, Release, Release) {
    let (r1, r2) = releases();
    let mut world = World::new();
    world.begin(&r2, Kind::Deploy);
    world.until("has its share", |world| world.share(&r2) == share && world.running(&r2) == 2);
    (world, r1, r2)
}

#[test]
fn the_traffic_moves_in_steps_and_the_old_set_stays_warm() {
    let (r1, r2) = releases();
    let mut world = World::new();
    world.begin(&r2, Kind::Deploy);
    let mut shares = vec![(0, world.now)];
    world.until("succeeds", |world| {
        assert_eq!(world.running(&r1), 2, "the old set runs all along");
        assert_eq!(world.share(&r1) + world.share(&r2), 1000);
        if shares.last().is_some_and(|(share, _)| *share != world.share(&r2)) {
            assert_eq!(world.running(&r2), 2, "every instance is there before the traffic moves");
            shares.push((world.share(&r2), world.now));
        }
        world.state() == State::Succeeded
    });
    let given: Vec<u16> = shares.iter().map(|(share, _)| *share).collect();
    assert_eq!(given, [0, 100, 500, 1000]);
    assert!(shares[2].1 - shares[1].1 >= 60 && shares[3].1 - shares[2].1 >= 60, "{shares:?}");
    assert!(world.now - shares[3].1 >= 60, "the last step is watched as well");
    let told = world.decisions.iter().filter(|what| matches!(what, What::Weighed { .. })).count();
    let taken = world.decisions.iter().filter(|what| matches!(what, What::Switched { .. })).count();
    assert_eq!((told, taken), (3, 3));
    let ended = world.now;
    world.until("is rid of the old set", |world| world.running(&r1) == 0);
    assert!((3595..3610).contains(&(world.now - ended)), "{}", world.now - ended);
    world.second();
    assert_eq!((world.share(&r2), world.service.split.clone()), (1000, None));
}

#[test]
fn a_rollback_to_a_warm_set_is_one_change_of_weights() {
    let (mut world, r1, r2) = at_share(1000);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    world.begin(&r1, Kind::Rollback);
    world.second();
    assert_eq!((world.share(&r1), world.share(&r2)), (1000, 0), "{:?}", world.waiting);
    assert_eq!((world.running(&r1), world.running(&r2)), (2, 2), "nothing is started for it");
    world.until("ends", |world| {
        assert_eq!((world.share(&r1), world.running(&r1)), (1000, 2));
        world.state().is_final()
    });
    assert_eq!((world.state(), world.running(&r2)), (State::Succeeded, 0));
    assert_eq!(world.service.current.map(|current| current.digest), Some(reference(&r1).digest));
}

#[test]
fn whatever_turns_it_back_its_share_never_rises_again() {
    type Turn = fn(&mut World, &Release);
    let turns: [(&str, Turn, State); 3] = [
        ("abort", |world, _| world.steer(RolloutCommand::Abort), State::Aborted),
        (
            "paused, then aborted",
            |world, _| {
                world.steer(RolloutCommand::Pause);
                world.second();
                world.steer(RolloutCommand::Abort);
            },
            State::Aborted,
        ),
        (
            "fails on one host",
            |world, r2| {
                world.fails.insert((reference(r2).digest, 1));
            },
            State::RolledBack,
        ),
    ];
    for share in [0, 100, 500, 1000] {
        for (case, turn, end) in turns {
            let (mut world, r1, r2) = at_share(share);
            turn(&mut world, &r2);
            let mut last = share;
            world.until("is back", |world| {
                assert!(world.share(&r2) <= last || world.running(&r2) < 2, "{case} at {share}");
                assert_eq!(world.running(&r1), 2, "{case} at {share}");
                last = world.share(&r2).min(last);
                world.state().is_final()
            });
            assert_eq!((world.state(), world.running(&r2)), (end, 0), "{case} at {share}");
            assert_eq!(world.share(&r1), 1000, "{case} at {share}");
            world.second();
            assert_eq!(world.service.split, None, "{case} at {share}");
        }
    }
}

#[test]
fn another_deploy_begins_from_the_good_release() {
    for share in [0, 100, 1000] {
        let (mut world, r1, r2) = at_share(share);
        let r3 = blue_green(3, &steps(&[1000]));
        world.begin(&r3, Kind::Deploy);
        world.until("has the traffic", |world| {
            assert!(world.running(&r1) == 2, "at {share}: the good release serves until then");
            world.share(&r3) == 1000
        });
        assert_eq!((world.running(&r2), world.running(&r3)), (0, 2), "at {share}");
        world.until("succeeds", |world| world.state() == State::Succeeded);
    }
}

#[test]
fn an_ingress_that_takes_no_weights_fails_the_rollout() {
    let (mut world, r1, r2) = at_share(100);
    world.until("watches the first step", |world| {
        world.rollout.as_ref().unwrap().shift.as_ref().is_some_and(|shift| shift.watched_since.is_some())
    });
    world.stuck = true;
    world.until("waits", |world| {
        world.waiting.iter().any(|text| text.contains("the ingress on h0000 to give"))
    });
    world.until("goes back", |world| world.state() == State::RollingBack);
    let reason = world.rollout.as_ref().unwrap().reason.as_ref().unwrap().to_string();
    assert!(reason.contains("the ingress on h0000 did not take the weights"), "{reason}");
    world.stuck = false;
    world.until("is back", |world| world.state() == State::RolledBack);
    assert_eq!((world.running(&r1), world.running(&r2)), (2, 0));
}

#[test]
fn weights_that_no_table_says_fail_the_rollout() {
    let (mut world, _, r2) = at_share(100);
    world.until("watches the first step", |world| {
        world.rollout.as_ref().unwrap().shift.as_ref().is_some_and(|shift| shift.watched_since.is_some())
    });
    world.silent = true;
    world.until("goes back", |world| world.state() == State::RollingBack);
    let reason = world.rollout.as_ref().unwrap().reason.as_ref().unwrap().to_string();
    assert!(reason.contains("no traffic table had the weights"), "{reason}");
    world.silent = false;
    world.until("is back", |world| world.state() == State::RolledBack);
    assert_eq!(world.running(&r2), 0);
}

#[test]
fn a_person_lets_the_traffic_move() {
    let mut strategy = steps(&[100, 500, 1000]);
    strategy["approve"] = true.into();
    let r2 = blue_green(2, &strategy);
    let mut world = World::new();
    world.begin(&r2, Kind::Deploy);
    world.until("waits", |world| world.waiting.iter().any(|text| text.contains("rollout approve")));
    for _ in 0..1000 {
        world.second();
        assert_eq!((world.share(&r2), world.state()), (0, State::Advancing));
    }
    world.steer(RolloutCommand::Promote);
    world.until("takes the first step", |world| world.share(&r2) == 100);
    world.second();
    world.steer(RolloutCommand::PromoteFull);
    world.steer(RolloutCommand::PromoteFull);
    world.until("takes the last step", |world| world.share(&r2) == 1000);
    world.until("succeeds", |world| world.state() == State::Succeeded);
}

#[test]
fn a_host_without_room_for_both_refuses_untouched() {
    let r2 = {
        let mut release = blue_green(2, &steps(&[1000]));
        release.spec.resources.memory = crate::Size::from_bytes(1 << 30);
        release
    };
    let mut world = World::new();
    world.begin(&r2, Kind::Deploy);
    world.until("ends", |world| world.state().is_final());
    let reason = world.rollout.as_ref().unwrap().reason.as_ref().unwrap().to_string();
    assert!(reason.contains("h0000 cannot hold both releases") && reason.contains("memory"), "{reason}");
    assert_eq!((world.state(), world.rollout.as_ref().unwrap().changed), (State::Failed, false));
}

#[test]
fn a_rollback_without_room_for_both_goes_in_batches() {
    let (mut world, _, r2) = at_share(1000);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    world.until("is rid of the old set", |world| world.service.split.is_none());
    let mut r0 = blue_green(1, &steps(&[1000]));
    r0.spec.resources.memory = crate::Size::from_bytes(1 << 30);
    world.service.good.push(reference(&r0));
    world.begin(&r0, Kind::Rollback);
    world.until("ends", |world| world.state().is_final());
    assert_eq!((world.state(), world.running(&r0), world.running(&r2)), (State::Succeeded, 2, 0));
}

#[test]
fn a_slot_from_after_the_switch_goes_back_with_the_others() {
    let (mut world, r1, r2) = at_share(1000);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    let up_to_three = |world: &mut World| {
        world.releases.values_mut().for_each(|release| {
            release.spec.scale = crate::release::Scale::Replicas { min: 2, max: 3 };
        });
    };
    up_to_three(&mut world);
    world.service.replicas = 3;
    world.until("has three", |world| world.running(&r2) == 3);
    world.begin(&r1, Kind::Rollback);
    up_to_three(&mut world);
    world.until("has the traffic", |world| {
        assert_eq!(world.running(&r2), 3, "until then nothing of it stops");
        world.share(&r1) == 1000
    });
    assert_eq!(world.running(&r1), 3, "the old release is at strength before that");
    world.until("ends", |world| world.state().is_final());
    assert_eq!((world.state(), world.running(&r1), world.running(&r2)), (State::Succeeded, 3, 0));
}

#[test]
fn the_warm_set_stays_as_long_as_the_new_one_does_not_serve() {
    let (mut world, r1, r2) = at_share(1000);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    world.fails.extend([(reference(&r2).digest, 0), (reference(&r2).digest, 1)]);
    for _ in 0..4000 {
        world.second();
    }
    assert_eq!((world.running(&r1), world.share(&r1)), (2, 1000), "{:?}", world.waiting);
    world.fails.clear();
    world.until("is rid of the old set", |world| world.running(&r1) == 0);
    assert_eq!(world.share(&r2), 1000);
}

#[test]
fn an_ill_instance_of_a_warm_set_delays_its_return() {
    let (r1, r2) = (blue_green(1, &steps(&[1000])), blue_green(2, &steps(&[1000])));
    let mut world = World::at(&r1, 2);
    world.begin(&r2, Kind::Deploy);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    world.fails.insert((reference(&r1).digest, 1));
    world.second();
    world.begin(&r1, Kind::Rollback);
    let asked = world.now;
    world.until("r1 has every request", |world| world.share(&r1) == 1000);
    assert!((100..200).contains(&(world.now - asked)), "after the deadline: {}", world.now - asked);
    assert_ne!(world.state(), State::Failed);
}

#[test]
fn a_fix_gets_in_beside_a_warm_set() {
    let release = |counter| blue_green(counter, &steps(&[1000]));
    let (r1, r2, r3) = (release(1), release(2), release(3));
    let mut world = World::at(&r1, 2);
    world.begin(&r2, Kind::Deploy);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    // r2 is ill on one host, beside an instance of r1 that serves.
    world.fails.insert((reference(&r2).digest, 1));
    world.second();
    world.begin(&r3, Kind::Deploy);
    world.until("r3 has every request", |world| world.state() == State::Succeeded);
    assert_eq!((world.share(&r3), world.running(&r3)), (1000, 2));
}

#[test]
fn a_release_that_an_aborted_rollback_returns_to_is_not_held() {
    let (mut world, r1, r2) = at_share(1000);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    world.begin(&r1, Kind::Rollback);
    world.second();
    world.steer(RolloutCommand::Abort);
    world.until("is back", |world| world.state() == State::Aborted);
    assert_eq!((world.service.current, world.service.held.len()), (Some(reference(&r2)), 0));
    let r3 = blue_green(3, &steps(&[1000]));
    world.begin(&r3, Kind::Deploy);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    assert_eq!(world.service.rollback_target(), Some(reference(&r2)));
}

#[test]
fn a_resumed_step_counts_the_switch_from_the_resume() {
    let (mut world, ..) = at_share(100);
    world.until("watches the first step", |world| {
        world.rollout.as_ref().unwrap().shift.as_ref().is_some_and(|shift| shift.watched_since.is_some())
    });
    world.steer(RolloutCommand::Pause);
    (0..3600).for_each(|_| world.second());
    world.decisions.clear();
    world.steer(RolloutCommand::Resume);
    (0..10).for_each(|_| world.second());
    let switched = |what: &&What| matches!(what, What::Switched { .. });
    let switched: Vec<_> = world.decisions.iter().filter(switched).collect();
    assert!(
        matches!(switched.as_slice(), [What::Switched { took_ms, .. }] if *took_ms < 10_000),
        "{switched:?}"
    );
}

/// r2 with a gate of exits, three windows of 10 s in each step.
fn gated(change: impl FnOnce(&mut Release)) -> Release {
    let mut release = blue_green(2, &steps(&[100, 1000]));
    let gates = serde_json::json!({ "crashes": {
        "ask": { "crashes": { "max": 0 } }, "window": "10s", "passes": 3, "fails": 1, "from_step": 1
    } });
    release.version = 4;
    release.spec.gates = serde_json::from_value(gates).unwrap();
    release.spec.rollback_on.restarts = 100;
    change(&mut release);
    release
}

/// Instances of r2 have exited so often.
fn exits(world: &mut World, r2: &Release, times: u32) {
    let digest = reference(r2).digest;
    for member in world.fleet.members.values_mut() {
        let seen = std::sync::Arc::make_mut(member.observation.as_mut().unwrap());
        let instances = seen.slots.iter_mut().flat_map(|slot| &mut slot.instances);
        instances.filter(|of| of.release == digest).for_each(|of| of.restarts = times);
        member.last_report = member.observation.clone();
    }
}

#[test]
fn gates_of_a_second_set_are_asked_after_every_step() {
    use crate::gate::{Verdict, planned};
    use crate::units::Span;
    let short = |release: &mut Release| {
        let crate::release::Strategy::BlueGreen { watch, .. } = &mut release.spec.strategy else { panic!() };
        *watch = Span::from_secs(1);
    };
    let r2 = gated(short);
    assert_eq!(planned(&r2.spec, "crashes", &r2.spec.gates["crashes"]), 6);
    let mut world = World::new();
    world.begin(&r2, Kind::Deploy);
    let mut since = Vec::new();
    world.until("succeeds", |world| {
        let now = (world.share(&r2), world.rollout.as_ref().unwrap().state);
        if since.last().is_none_or(|(last, _)| *last != now) {
            since.push((now, world.now));
        }
        world.state() == State::Succeeded
    });
    let at = |share, state| since.iter().find(|(now, _)| *now == (share, state)).unwrap().1;
    let (first, last, soak) =
        (at(100, State::Advancing), at(1000, State::Advancing), at(1000, State::Soaking));
    assert!(last - first >= 30 && soak - last >= 30, "a watch of 1 s is over long before: {since:?}");
    let judged = world.decisions.iter().filter_map(|what| {
        let What::Judged { judged } = what else { return None };
        Some((judged.asked.step, judged.verdict))
    });
    let of = |step| (step, Verdict::Pass);
    assert_eq!(judged.collect::<Vec<_>>(), [of(1), of(1), of(1), of(2), of(2), of(2)]);
}

#[test]
fn a_gate_that_fails_takes_the_traffic_back_from_the_second_set() {
    for share in [100, 1000] {
        let (r1, r2) = (blue_green(1, &steps(&[1000])), gated(|_| {}));
        let mut world = World::new();
        world.begin(&r2, Kind::Deploy);
        world.until("has its share", |world| world.share(&r2) == share);
        (0..5).for_each(|_| world.second());
        for _ in 0..300 {
            exits(&mut world, &r2, 1);
            let before = world.share(&r2);
            world.second();
            assert!(world.share(&r2) <= before, "its share only falls");
            if world.state().is_final() {
                break;
            }
        }
        assert_eq!((world.state(), world.share(&r1)), (State::RolledBack, 1000), "{share}");
        let reason = world.rollout.as_ref().unwrap().reason.as_ref().unwrap().to_string();
        assert!(reason.contains("gate crashes failed"), "{reason}");
    }
}

#[test]
fn a_provider_that_is_down_holds_the_second_set_where_it_is() {
    let r2 = gated(|release| {
        let ask = serde_json::json!({ "prometheus": { "url": "http://p", "query": "q", "timeout": "5s", "max": 1.0 } });
        release.spec.gates.get_mut("crashes").unwrap().ask = serde_json::from_value(ask).unwrap();
    });
    let mut world = World::new();
    world.begin(&r2, Kind::Deploy);
    world.until("asks", |world| {
        let rollout = world.rollout.as_ref().unwrap();
        !crate::rollout::questions(rollout, &r2, at(world.now)).is_empty()
    });
    world.until("pauses", |world| world.state() == State::Paused || world.state().is_final());
    assert_eq!((world.state(), world.share(&r2)), (State::Paused, 100));
    // A promotion goes on without gates.
    world.steer(RolloutCommand::Resume);
    world.second();
    world.steer(RolloutCommand::PromoteFull);
    world.until("succeeds", |world| world.state() == State::Succeeded);
}
