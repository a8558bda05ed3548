//! Blue/green and canary on hosts that hold one instance each: the new set stands on other hosts, and every way forward and back
//! keeps the set at strength that has the traffic.

use std::sync::Arc;

use serde_json::{Value, json};

use super::shifting::World;
use crate::Size;
use crate::capacity::memory_limit;
use crate::fixture::{reference, release};
use crate::fleet::Scheduling;
use crate::host::{Limit, Liveness};
use crate::id::HostId;
use crate::observation::InstanceState;
use crate::release::Release;
use crate::rollout::{Chosen, Kind, RolloutCommand, ServiceCommand, State, What, apply_command};
use crate::service::Mode;
use crate::view::{Action, preview, status};

pub(super) const MIB: u64 = 1 << 20;

pub(super) fn web(counter: u64, edit: impl FnOnce(&mut Value)) -> Release {
    release(counter, |json| {
        json["version"] = 4.into();
        json["spec"]["scale"] = json!({ "replicas": { "min": 1, "max": 4 } });
        json["spec"]["ports"] = json!({ "http": { "container": 8000 } });
        json["spec"]["main_port"] = "http".into();
        json["spec"]["strategy"] = json!({ "blue_green": {
            "steps": [100, 500, 1000], "watch": "20s", "keep_old": "5m", "min_ready": "5s"
        } });
        edit(json);
    })
}

pub(super) fn host(n: usize) -> HostId {
    format!("h{n:04}").parse().unwrap()
}

/// Three slots at r1 on hosts that hold one instance each, and `others` that hold so many.
pub(super) fn world_of(r1: &Release, others: &[u64]) -> World {
    let mut world = World::on(r1, 3, 3);
    let one = world.fleet.members[&host(0)].clone();
    for (n, holds) in [1, 1, 1].iter().chain(others).enumerate() {
        let member = world.fleet.members.entry(host(n)).or_insert_with(|| one.clone());
        let facts = Arc::make_mut(&mut member.facts);
        facts.policy.max_memory = Limit::Bytes(Size::from_bytes(holds * 64 * MIB + 32 * MIB));
    }
    world.hosts();
    world
}

fn world() -> (World, Release, Release) {
    let (r1, r2) = (web(1, |_| {}), web(2, |_| {}));
    (world_of(&r1, &[2, 2]), r1, r2)
}

/// A world in which r2 has `share` of the traffic.
pub(super) fn at_share(share: u16) -> (World, Release, Release) {
    let (mut world, r1, r2) = world();
    world.begin(&r2, Kind::Deploy);
    world.until("has its share", |world| world.share(&r2) == share && world.running(&r2) == 3);
    (world, r1, r2)
}

/// A world in which r2 has succeeded, and r1 is warm.
pub(super) fn succeeded() -> (World, Release, Release) {
    let (mut world, r1, r2) = at_share(1000);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    assert_eq!((world.running(&r1), world.running(&r2)), (3, 3));
    (world, r1, r2)
}

/// A world in which r2 has succeeded, and r1 has gone.
fn settled() -> (World, Release, Release) {
    let (mut world, r1, r2) = succeeded();
    world.until("is rid of the old set", |world| world.service.split.is_none());
    (world, r1, r2)
}

/// The hosts of the slots of a release, by their order.
pub(super) fn hosts_of(world: &World, release: &Release) -> Vec<String> {
    let of = world.slots.values().filter(|slot| slot.release() == reference(release).digest);
    of.map(|slot| format!("{}@{}", slot.id().index, slot.host())).collect()
}

/// No host has more than it holds.
pub(super) fn assert_room(world: &World) {
    for (host, member) in &world.fleet.members {
        let seen = member.observation.as_ref().unwrap();
        let run =
            seen.slots.iter().flat_map(|slot| &slot.instances).filter(|of| of.state.is_running()).count();
        assert!(run as u64 * 64 * MIB <= memory_limit(&member.facts), "{run} on {host}");
    }
}

/// Nothing is left over: as many slots as are wanted, all of them at the release, alone and members.
pub(super) fn assert_settled(world: &World, release: &Release, count: usize) {
    let digest = reference(release).digest;
    let plain = |slot: &&crate::slot::Slot| {
        slot.release() == digest && slot.run().runs() && !slot.is_kept() && slot.stands_in_for().is_none()
    };
    assert_eq!(world.slots.values().filter(plain).count(), count, "{:?}", world.slots);
    assert_eq!((world.slots.len(), world.running(release)), (count, count), "{:?}", world.waiting);
    assert_eq!((world.service.split.clone(), world.service.rollout.clone()), (None, None));
    assert_eq!(world.service.current, Some(reference(release)));
}

#[test]
fn the_new_set_stands_where_there_is_room() {
    let (mut world, r1, r2) = world();
    world.begin(&r2, Kind::Deploy);
    let mut shares = vec![0];
    world.until("succeeds", |world| {
        assert_room(world);
        assert_eq!(world.running(&r1), 3, "the old set runs all along");
        assert_eq!(world.share(&r1) + world.share(&r2), 1000);
        if shares.last() != Some(&world.share(&r2)) {
            assert_eq!(world.running(&r2), 3, "every instance is there before the traffic moves");
            shares.push(world.share(&r2));
        }
        world.state() == State::Succeeded
    });
    assert_eq!(shares, [0, 100, 500, 1000]);
    assert_eq!(hosts_of(&world, &r1), ["0@h0000", "1@h0001", "2@h0002"]);
    assert_eq!(hosts_of(&world, &r2), ["3@h0003", "4@h0004", "5@h0003"]);
    let ended = world.now;
    world.until("is rid of the old set", |world| {
        assert!(world.running(&r2) == 3 && world.share(&r2) == 1000);
        world.running(&r1) == 0
    });
    assert!((295..310).contains(&(world.now - ended)), "{}", world.now - ended);
    world.second();
    assert_settled(&world, &r2, 3);
    // The next one goes the other way.
    let r3 = web(3, |_| {});
    world.begin(&r3, Kind::Deploy);
    world.until("succeeds", |world| {
        assert_room(world);
        assert_eq!(world.running(&r2), 3);
        world.state() == State::Succeeded
    });
    assert_eq!(hosts_of(&world, &r3), ["4@h0004", "6@h0000", "7@h0001"], "one fits in its slot");
}

#[test]
fn one_that_fits_beside_stays_in_its_slot() {
    let (mut world, r1, r2) = world();
    let facts = Arc::make_mut(&mut world.fleet.members.get_mut(&host(1)).unwrap().facts);
    facts.policy.max_memory = Limit::Bytes(Size::from_bytes(2 * 64 * MIB));
    world.begin(&r2, Kind::Deploy);
    world.until("succeeds", |world| {
        assert_room(world);
        assert_eq!(world.running(&r1), 3);
        world.state() == State::Succeeded
    });
    assert_eq!(hosts_of(&world, &r2), ["1@h0001", "3@h0003", "4@h0004"]);
    world.begin(&r1, Kind::Rollback);
    world.until("ends", |world| world.state().is_final());
    world.second();
    assert_settled(&world, &r1, 3);
    assert_eq!(hosts_of(&world, &r1), ["0@h0000", "1@h0001", "2@h0002"]);
}

#[test]
fn whatever_turns_it_back_the_old_set_was_there_all_along() {
    type Turn = fn(&mut World, &Release);
    let turns: [(&str, Turn, State); 4] = [
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
        ("fails on one host", |world, r2| world.fails.extend([(reference(r2).digest, 3)]), State::RolledBack),
        (
            "fails everywhere",
            |world, r2| world.fails.extend((3..5).map(|n| (reference(r2).digest, n))),
            State::RolledBack,
        ),
    ];
    for share in [0, 100, 500, 1000] {
        for (case, turn, end) in turns {
            let (mut world, r1, r2) = at_share(share);
            turn(&mut world, &r2);
            let mut last = share;
            world.until("is back", |world| {
                assert!(world.share(&r2) <= last || world.running(&r2) < 3, "{case} at {share}");
                assert_eq!(world.running(&r1), 3, "{case} at {share}");
                last = world.share(&r2).min(last);
                world.state().is_final()
            });
            assert_eq!((world.state(), world.running(&r2)), (end, 0), "{case} at {share}");
            assert_eq!(world.share(&r1), 1000, "{case} at {share}");
            world.second();
            assert_settled(&world, &r1, 3);
            assert_eq!(hosts_of(&world, &r1), ["0@h0000", "1@h0001", "2@h0002"]);
        }
    }
}

#[test]
fn an_abort_before_anything_started_leaves_nothing() {
    for seconds in 0..6 {
        let (mut world, r1, r2) = world();
        world.begin(&r2, Kind::Deploy);
        (0..seconds).for_each(|_| world.second());
        world.steer(RolloutCommand::Abort);
        world.until("is back", |world| world.state().is_final());
        world.second();
        assert_settled(&world, &r1, 3);
        assert_eq!(world.slots.len(), 3, "after {seconds} s");
    }
}

#[test]
fn no_room_is_refused_with_the_arithmetic_of_every_host() {
    #[rustfmt::skip]
    let table: [(&str, &[u64], &[&str]); 3] = [
        ("no other host", &[], &["h0000 cannot hold both releases of production/web/0: no room for both: memory: 64 MiB needed, 32 MiB of 96 MiB free"]),
        ("all are full", &[0, 0], &["h0002 cannot hold both releases of production/web/2", "and on no other host: h0000: no room: memory", "h0004: host policy: max_memory: 64 MiB asked for, at most 32 MiB are allowed"]),
        ("one too few", &[1, 1], &["h0002 cannot hold both releases of production/web/2", "h0003: no room: memory: 64 MiB needed, 32 MiB of 96 MiB free"]),
    ];
    for (case, others, want) in table {
        let (r1, r2) = (web(1, |_| {}), web(2, |_| {}));
        let mut world = world_of(&r1, others);
        let before = world.slots.clone();
        world.begin(&r2, Kind::Deploy);
        world.until("ends", |world| world.state().is_final());
        let rollout = world.rollout.as_ref().unwrap();
        let reason = rollout.reason.as_ref().unwrap().to_string();
        want.iter().for_each(|words| assert!(reason.contains(words), "{case}: {reason}"));
        assert_eq!((rollout.state, rollout.changed), (State::Failed, false), "{case}");
        assert_eq!(world.slots, before, "{case}");
    }
}

#[test]
fn what_has_its_data_on_its_host_goes_nowhere() {
    let volume = |json: &mut Value| json["spec"]["volumes"] = json!({ "data": { "mount": "/data" } });
    for (case, r1, r2) in [
        ("both", web(1, volume), web(2, volume)),
        ("the old one", web(1, volume), web(2, |_| {})),
        ("the new one", web(1, |_| {}), web(2, volume)),
    ] {
        let mut world = world_of(&r1, &[2, 2]);
        let before = world.slots.clone();
        world.begin(&r2, Kind::Deploy);
        world.until("ends", |world| world.state().is_final());
        let reason = world.rollout.as_ref().unwrap().reason.as_ref().unwrap().to_string();
        assert!(reason.contains("h0000 cannot hold both releases of production/web/0"), "{case}: {reason}");
        assert!(reason.contains("and its named volume is there"), "{case}: {reason}");
        assert_eq!((world.state(), &world.slots), (State::Failed, &before), "{case}");
    }
}

#[test]
fn what_never_runs_twice_gets_no_second_set() {
    let exclusive = |json: &mut Value| {
        json["spec"]["exclusive"] = true.into();
        json["spec"]["scale"] = json!({ "replicas": { "min": 3, "max": 3 } });
        json["spec"]["strategy"] = json!({ "rolling": {
            "batch": 1, "max_surge": 0, "max_unavailable": 1, "order": "auto", "min_ready": "5s"
        } });
    };
    let (r1, r2) = (web(1, exclusive), web(2, |_| {}));
    let mut world = world_of(&r1, &[2, 2]);
    let before = world.slots.clone();
    world.begin(&r2, Kind::Deploy);
    world.until("ends", |world| world.state().is_final());
    let reason = world.rollout.as_ref().unwrap().reason.as_ref().unwrap().to_string();
    assert!(
        reason.contains("h0000 cannot hold both releases of production/web/0: it is exclusive"),
        "{reason}"
    );
    assert_eq!((world.state(), &world.slots), (State::Failed, &before));
}

#[test]
fn a_fixed_port_and_a_gpu_are_no_hindrance() {
    let port = |json: &mut Value| json["spec"]["ports"]["http"]["host"] = 8080.into();
    let gpu = |json: &mut Value| json["spec"]["resources"]["gpus"] = json!({ "count": 2 });
    for (case, r1, r2) in [("port", web(1, port), web(2, port)), ("gpu", web(1, gpu), web(2, gpu))] {
        let mut world = world_of(&r1, &[9, 9, 9]);
        for slot in world.slots.values_mut().filter(|_| case == "gpu") {
            slot.edit(|want| want.gpus = vec!["gpu-0".into(), "gpu-1".into()]);
        }
        for member in world.fleet.members.values_mut() {
            Arc::make_mut(&mut member.facts).policy.max_memory = Limit::Bytes(Size::from_bytes(1 << 30));
        }
        world.begin(&r2, Kind::Deploy);
        world.until("succeeds", |world| {
            assert_eq!(world.running(&r1), 3, "{case}");
            world.state() == State::Succeeded
        });
        assert_eq!(hosts_of(&world, &r2), ["3@h0003", "4@h0004", "5@h0005"], "{case}");
        world.begin(&r1, Kind::Rollback);
        world.until("ends", |world| world.state().is_final());
        assert_eq!(hosts_of(&world, &r1), ["0@h0000", "1@h0001", "2@h0002"], "{case}");
    }
}

#[test]
fn the_return_to_a_warm_set_is_one_change_of_weights() {
    let (mut world, r1, r2) = succeeded();
    world.begin(&r1, Kind::Rollback);
    world.second();
    assert_eq!((world.share(&r1), world.share(&r2)), (1000, 0), "{:?}", world.waiting);
    assert_eq!((world.running(&r1), world.running(&r2)), (3, 3), "nothing is started for it");
    world.until("ends", |world| {
        assert_eq!((world.share(&r1), world.running(&r1)), (1000, 3));
        world.state().is_final()
    });
    assert_eq!(world.state(), State::Succeeded);
    for _ in 0..400 {
        world.second();
    }
    assert_settled(&world, &r1, 3);
    assert_eq!(hosts_of(&world, &r1), ["0@h0000", "1@h0001", "2@h0002"], "they are members for good");
}

#[test]
fn a_warm_set_that_lost_a_host_gets_another_instance_first() {
    let (mut world, r1, r2) = succeeded();
    world.fleet.members.remove(&host(0));
    world.second();
    assert_eq!(world.running(&r1), 2);
    // Room for one more of them, beside an instance of r2.
    let facts = Arc::make_mut(&mut world.fleet.members.get_mut(&host(4)).unwrap().facts);
    facts.policy.max_memory = Limit::Bytes(Size::from_bytes(4 * 64 * MIB));
    world.begin(&r1, Kind::Rollback);
    world.until("has the traffic", |world| {
        assert_eq!(world.running(&r2), 3);
        world.share(&r1) == 1000
    });
    assert_eq!(world.running(&r1), 3, "at strength before that, and no more than it takes");
    world.until("ends", |world| world.state().is_final());
    world.second();
    assert_settled(&world, &r1, 3);
}

#[test]
fn a_return_after_the_old_set_has_gone_stands_elsewhere_too() {
    let (mut world, r1, r2) = settled();
    world.begin(&r1, Kind::Rollback);
    world.until("ends", |world| {
        assert_room(world);
        assert!(world.share(&r1) == 0 || world.running(&r1) == 3, "no traffic before it is at strength");
        assert!(world.share(&r2) == 0 || world.running(&r2) == 3);
        world.state().is_final()
    });
    assert_eq!(world.state(), State::Succeeded);
    world.second();
    assert_settled(&world, &r1, 3);
    assert_eq!(hosts_of(&world, &r1), ["4@h0004", "6@h0000", "7@h0001"]);
}

#[test]
fn a_return_without_room_goes_in_batches() {
    for left in [0, 1] {
        let (mut world, r1, r2) = settled();
        (left..3).for_each(|n| drop(world.fleet.members.remove(&host(n))));
        world.begin(&r1, Kind::Rollback);
        world.until("ends", |world| {
            assert_room(world);
            assert!(world.running(&r1) + world.running(&r2) >= 2, "with {left} free");
            world.state().is_final()
        });
        assert_eq!(world.state(), State::Succeeded, "with {left} free");
        world.second();
        assert_settled(&world, &r1, 3);
    }
}

#[test]
fn the_warm_set_stays_while_the_new_one_does_not_serve() {
    let (mut world, r1, r2) = succeeded();
    world.fails.insert((reference(&r2).digest, 4));
    (0..400).for_each(|_| world.second());
    assert_eq!(world.running(&r1), 1, "as many as are ill: {:?}", world.waiting);
    world.fails.insert((reference(&r2).digest, 3));
    (0..10).for_each(|_| world.second());
    assert_eq!((world.running(&r1), world.share(&r1)), (1, 1000), "{:?}", world.waiting);
    world.fails.clear();
    world.until("is rid of the old set", |world| world.running(&r1) == 0);
    world.second();
    assert_settled(&world, &r2, 3);
}

#[test]
fn a_count_changes_beside_a_warm_set() {
    for count in [1, 4] {
        let (mut world, r1, r2) = succeeded();
        let release = world.releases[&reference(&r2).digest].clone();
        let at = crate::fixture::at(world.now);
        let verb = ServiceCommand::Scale(count);
        let told = apply_command(&world.service, None, Some(&release), verb, false, "ada", at).unwrap();
        world.service = told.service;
        let wanted = count as usize;
        world.until("has as many", |world| {
            assert_eq!(world.running(&r1), 3);
            world.running(&r2) == wanted
        });
        (0..10).for_each(|_| world.second());
        assert_eq!((world.running(&r1), world.running(&r2)), (3, wanted), "{:?}", world.waiting);
        world.begin(&r1, Kind::Rollback);
        world.until("has the traffic", |world| world.share(&r1) == 1000);
        world.until("ends", |world| world.state().is_final());
        world.until("is at rest", |world| world.slots.len() == wanted && world.running(&r1) == wanted);
        world.second();
        assert_settled(&world, &r1, wanted);
    }
}

#[test]
fn a_service_that_stops_or_goes_takes_its_warm_set_along() {
    for verb in [ServiceCommand::Stop, ServiceCommand::Remove] {
        let (mut world, r1, r2) = succeeded();
        let at = crate::fixture::at(world.now);
        world.service = apply_command(&world.service, None, None, verb, false, "ada", at).unwrap().service;
        world.until("has stopped", |world| world.running(&r1) + world.running(&r2) == 0);
        (0..5).for_each(|_| world.second());
        let left = if verb == ServiceCommand::Stop { 3 } else { 0 };
        assert_eq!(world.slots.len(), left, "{verb:?}");
        assert!(world.slots.values().all(|slot| slot.release() == reference(&r2).digest && !slot.is_kept()));
        world.service.mode = Mode::Running;
        (0..30).for_each(|_| world.second());
        assert_eq!((world.running(&r1), world.running(&r2)), (0, left), "{verb:?}");
    }
}

#[test]
fn a_host_that_drains_loses_warm_ones_and_moves_new_ones() {
    for (drained, warm) in [(0, 2), (4, 3)] {
        let (mut world, r1, r2) = succeeded();
        // Somewhere to go.
        let member = world.fleet.members[&host(3)].clone();
        world.fleet.members.insert(host(5), member);
        world.fleet.members.get_mut(&host(drained)).unwrap().scheduling = Scheduling::Draining;
        world.hosts();
        world.until("is empty", |world| {
            assert!(world.running(&r2) >= 3, "h{drained}");
            world.slots.values().all(|slot| slot.host() != &host(drained))
        });
        (0..5).for_each(|_| world.second());
        assert_eq!((world.running(&r1), world.running(&r2)), (warm, 3), "h{drained}: {:?}", world.waiting);
    }
}

#[test]
fn a_lost_host_of_either_colour_ends_in_a_known_state() {
    for share in [0, 100, 1000] {
        for (lost, evicts) in [(0, false), (3, false), (0, true), (3, true)] {
            for aborts in [false, true] {
                let case = format!("h{lost} at {share}, evicted: {evicts}, aborted: {aborts}");
                let (mut world, r1, r2) = at_share(share);
                if evicts {
                    world.fleet.members.remove(&host(lost));
                } else {
                    world.fleet.members.get_mut(&host(lost)).unwrap().liveness = Liveness::Lost;
                }
                if aborts {
                    world.second();
                    world.steer(RolloutCommand::Abort);
                }
                world.until("ends", |world| world.state().is_final());
                let back = world.service.current == Some(reference(&r1));
                assert!(!aborts || back, "{case}");
                if let Some(member) = world.fleet.members.get_mut(&host(lost)) {
                    member.liveness = Liveness::Connected;
                }
                let (stays, goes) = if back { (&r1, &r2) } else { (&r2, &r1) };
                (0..400).for_each(|_| world.second());
                assert_eq!(world.running(goes), 0, "{case}: {:?}", world.waiting);
                assert_settled(&world, stays, 3);
            }
        }
    }
}

#[test]
fn another_deploy_begins_from_the_good_release() {
    for share in [0, 100, 1000] {
        let (mut world, r1, r2) = at_share(share);
        let r3 = web(3, |_| {});
        world.begin(&r3, Kind::Deploy);
        world.until("has the traffic", |world| {
            assert_room(world);
            assert!(world.running(&r1) == 3, "at {share}: the good release serves until then");
            world.share(&r3) == 1000
        });
        assert_eq!((world.running(&r2), world.running(&r3)), (0, 3), "at {share}");
        world.until("succeeds", |world| world.state() == State::Succeeded);
        assert_eq!(world.slots.len(), 6, "at {share}");
    }
}

#[test]
fn a_fix_gets_in_beside_a_warm_set() {
    let (mut world, r1, r2) = succeeded();
    let r3 = web(3, |_| {});
    world.begin(&r3, Kind::Deploy);
    world.until("succeeds", |world| {
        assert_eq!(world.running(&r2), 3);
        world.state() == State::Succeeded
    });
    assert_eq!(
        (world.running(&r1), world.running(&r3), world.slots.len()),
        (0, 3, 5),
        "one fits in its slot"
    );
}

#[test]
fn an_abort_of_a_return_keeps_what_is_warm() {
    for seconds in 0..4 {
        let (mut world, r1, r2) = succeeded();
        world.begin(&r1, Kind::Rollback);
        (0..seconds).for_each(|_| world.second());
        if world.state().is_final() {
            continue;
        }
        world.steer(RolloutCommand::Abort);
        world.until("ends", |world| world.state().is_final());
        (0..400).for_each(|_| world.second());
        assert_eq!(world.running(&r1), 0, "after {seconds} s: {:?}", world.waiting);
        assert_settled(&world, &r2, 3);
    }
}

#[test]
fn a_coordinator_that_starts_again_at_any_write_goes_on() {
    let mut writes = 0;
    for restart in 1.. {
        let (mut world, r1, r2) = world();
        world.restarts_after = Some(restart);
        world.begin(&r2, Kind::Deploy);
        world.until("succeeds", |world| {
            assert_room(world);
            assert_eq!(world.running(&r1), 3, "at write {restart}");
            assert_eq!(world.share(&r1) + world.share(&r2), 1000, "at write {restart}");
            world.state() == State::Succeeded
        });
        world.begin(&r1, Kind::Rollback);
        world.until("is back", |world| {
            assert_eq!(world.running(&r1), 3, "at write {restart}");
            world.state().is_final()
        });
        world.until("is alone", |world| world.running(&r2) == 0 && world.service.split.is_none());
        world.second();
        assert_settled(&world, &r1, 3);
        writes = world.writes;
        if restart > writes {
            break;
        }
    }
    assert!(writes > 8, "only {writes}");
}

#[test]
fn a_coordinator_that_starts_again_on_the_way_back_goes_on() {
    for restart in 0..12 {
        let (mut world, r1, r2) = at_share(500);
        world.restarts_after = Some(world.writes + restart);
        world.fails.insert((reference(&r2).digest, 3));
        world.until("is back", |world| {
            assert_eq!(world.running(&r1), 3, "at write {restart}");
            world.state().is_final()
        });
        world.second();
        assert_eq!(world.state(), State::RolledBack, "at write {restart}");
        assert_settled(&world, &r1, 3);
    }
}

fn canary(json: &mut Value) {
    json["spec"]["strategy"] = json!({ "canary": {
        "steps": [{ "weight": 100, "hold": "1m" }, { "weight": 1000 }],
        "min_instances": 1, "keep_old": "10m", "keep_failed": "5m", "min_ready": "5s"
    } });
}

#[test]
fn a_canary_stands_on_other_hosts_as_well() {
    let (r1, r2) = (web(1, canary), web(2, canary));
    let mut world = world_of(&r1, &[2, 2]);
    world.begin(&r2, Kind::Deploy);
    let mut seen = vec![(0, 0)];
    world.until("succeeds", |world| {
        assert_room(world);
        assert_eq!(world.running(&r1), 3, "the old instances run all along");
        let now = (world.running(&r2), world.share(&r2));
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        world.state() == State::Succeeded
    });
    assert_eq!(seen, [(0, 0), (1, 0), (1, 100), (3, 100), (3, 1000)]);
    world.until("is rid of the old ones", |world| world.running(&r1) == 0);
    world.second();
    assert_settled(&world, &r2, 3);
}

#[test]
fn a_failed_canary_is_kept_for_a_look_on_its_host() {
    let (r1, r2) = (web(1, canary), web(2, canary));
    let mut world = world_of(&r1, &[2, 2]);
    world.begin(&r2, Kind::Deploy);
    world.until("has all instances", |world| world.share(&r2) == 100 && world.running(&r2) == 3);
    world.fails.insert((reference(&r2).digest, 4));
    world.until("is back", |world| world.state() == State::RolledBack);
    let ended = world.now;
    world.second();
    assert_eq!((world.running(&r1), world.share(&r1)), (3, 1000));
    assert_eq!(world.running(&r2), 2, "what runs of it, runs on");
    world.until("is rid of it", |world| world.running(&r2) == 0);
    assert!((295..310).contains(&(world.now - ended)), "{}", world.now - ended);
    world.second();
    assert_settled(&world, &r1, 3);
}

#[test]
fn a_plan_says_where_the_new_set_goes() {
    let (mut world, r1, r2) = world();
    let at = crate::fixture::at(world.now);
    let plan = |world: &World, release: &Release| {
        let digest = reference(release).digest;
        preview(&world.service, &world.slots, &world.releases, &world.fleet, release, digest, at)
    };
    let shown = plan(&world, &r2);
    let rows: Vec<String> =
        shown.slots.iter().map(|of| format!("{}@{} {:?}", of.slot.index, of.host, of.action)).collect();
    assert_eq!(
        rows,
        [
            "0@h0000 Remove",
            "1@h0001 Remove",
            "2@h0002 Remove",
            "3@h0003 Create",
            "4@h0004 Create",
            "5@h0003 Create"
        ]
    );
    let reason = |n: usize| shown.slots[n].reason.as_deref().unwrap();
    assert_eq!(
        reason(4),
        "h0001 cannot hold both releases of production/web/1: no room for both: memory: 64 MiB needed, \
         32 MiB of 96 MiB free"
    );
    assert_eq!(reason(0), "runs on until the rollout is over, and without traffic for 5m after that");
    assert!(shown.steps.iter().any(|step| step.contains("100% of the traffic")), "{:?}", shown.steps);
    assert_eq!(shown.error, None);
    // The warm set ends with the next deploy.
    let (warm, _, _) = succeeded();
    let gone = plan(&warm, &web(3, |_| {})).slots.into_iter().filter(|of| of.action == Action::Remove);
    let gone: Vec<(u32, bool)> = gone.map(|of| (of.slot.index, of.reason.is_some())).collect();
    assert_eq!(gone, [(0, false), (1, false), (2, false), (3, true), (5, true)]);
    let warnings = plan(&warm, &web(3, |_| {})).warnings;
    assert!(warnings.iter().any(|text| text.contains("the warm instances of r1 end")), "{warnings:?}");
    // A host that drains keeps none.
    world.fleet.members.get_mut(&host(0)).unwrap().scheduling = Scheduling::Draining;
    let shown = plan(&world, &r2);
    let kept = shown.slots.iter().map(|of| of.reason.as_ref().is_some_and(|text| text.contains("for 5m")));
    assert_eq!(kept.take(3).collect::<Vec<_>>(), [false, true, true], "{:?}", shown.slots);
    world.fleet.members.get_mut(&host(0)).unwrap().scheduling = Scheduling::Ready;
    // Without a place, it says why of each host.
    [3, 4].iter().for_each(|n| drop(world.fleet.members.remove(&host(*n))));
    let error = plan(&world, &r2).error.unwrap();
    assert!(error.contains("h0000 cannot hold both releases") && error.contains("h0002: no room"), "{error}");
    // The plan comes true, and the record says why.
    let (mut world, _, _) = self::world();
    world.begin(&r2, Kind::Deploy);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    let now: Vec<String> = [hosts_of(&world, &r1), hosts_of(&world, &r2)].concat();
    assert!(rows.iter().zip(&now).all(|(row, now)| row.starts_with(now.as_str())), "{now:?}");
    let told = world.decisions.iter().flat_map(|what| {
        let What::Placed { slots, .. } = what else { return Vec::new() };
        slots.clone()
    });
    let instead: Vec<u32> = told
        .filter_map(|placed| {
            let Chosen::Best { instead: Some(instead), .. } = placed.because else { return None };
            Some(instead.slot.index)
        })
        .collect();
    assert_eq!(instead, [0, 1, 2]);
}

#[test]
fn a_status_counts_one_set_of_two() {
    let (mut world, _, r2) = world();
    let shown = |world: &World| {
        let (none, stats) = (Vec::new(), std::collections::BTreeMap::new());
        let active = world.rollout.as_ref().filter(|rollout| !rollout.state.is_final());
        status(&world.service, &world.slots, active, &world.releases, &world.fleet, &stats, &none)
    };
    world.begin(&r2, Kind::Deploy);
    world.until("succeeds", |world| {
        let view = shown(world);
        assert_eq!((view.wanted, view.available), (3, 3), "{:?}", world.waiting);
        world.state() == State::Succeeded
    });
    let view = shown(&world);
    assert_eq!((view.wanted, view.available, view.state.as_str()), (3, 3, "steady"));
    let warm = view.traffic.unwrap().warm_until.unwrap();
    assert_eq!(warm.since(crate::fixture::at(world.now)).as_secs(), 300);
    assert_eq!((view.healthy, view.serving), (3, [(r2.counter, 3)].into()), "the old set is only warm");
    let well = world.fleet.members.clone();
    for member in world.fleet.members.values_mut() {
        let Some(seen) = member.observation.as_mut().map(Arc::make_mut) else { continue };
        let instances = seen.slots.iter_mut().flat_map(|slot| &mut slot.instances);
        for instance in instances.filter(|instance| instance.counter == r2.counter) {
            instance.state = InstanceState::Unready;
        }
    }
    let view = shown(&world);
    world.fleet.members = well;
    assert_eq!(
        (view.healthy, view.state.as_str()),
        (0, "degraded"),
        "nobody of the release in service is well"
    );
    world.until("is rid of the old set", |world| world.service.split.is_none());
    let view = shown(&world);
    assert_eq!((view.wanted, view.available, view.instances.len()), (3, 3, 3));
}

/// As many slots as take two steps to place, each on a host that holds one instance.
pub(super) fn many() -> (World, Release, Release) {
    let wide = |json: &mut Value| json["spec"]["scale"] = json!({ "replicas": { "min": 1, "max": 100 } });
    let (r1, r2) = (web(1, wide), web(2, wide));
    let mut world = World::on(&r1, 70, 140);
    for member in world.fleet.members.values_mut() {
        let facts = Arc::make_mut(&mut member.facts);
        facts.policy.max_memory = Limit::Bytes(Size::from_bytes(96 * MIB));
    }
    world.begin(&r2, Kind::Deploy);
    world.second();
    assert_eq!((world.state(), world.slots.len()), (State::Pending, 70 + 64), "it takes another step");
    (world, r1, r2)
}

#[test]
fn many_slots_are_placed_in_several_steps() {
    let (mut world, r1, r2) = many();
    world.until("has its share", |world| {
        assert_eq!(world.running(&r1), 70);
        world.share(&r2) == 100
    });
    assert_room(&world);
    assert_eq!((world.running(&r2), world.slots.len()), (70, 140));
    let on: std::collections::BTreeSet<&HostId> = world.slots.values().map(|slot| slot.host()).collect();
    assert_eq!(on.len(), 140);
}

#[test]
fn what_was_placed_for_another_release_is_in_nobodys_way() {
    let (mut world, r1, r2) = many();
    let r3 = web(3, |json| json["spec"]["scale"] = json!({ "replicas": { "min": 1, "max": 100 } }));
    world.begin(&r3, Kind::Deploy);
    world.until("has its share", |world| {
        assert_eq!((world.running(&r1), world.running(&r2)), (70, 0));
        world.share(&r3) == 100
    });
    assert_eq!((world.running(&r3), world.slots.len()), (70, 140));
}
