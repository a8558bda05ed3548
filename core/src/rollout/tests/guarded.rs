//! The traffic guard: what serves goes on serving until something else does, whatever is lost, falls ill or turns back meanwhile.

use std::sync::Arc;

use super::elsewhere::{MIB, assert_settled, host, hosts_of, succeeded, web};
use super::fixture::reference;
use super::shifting::World;
use crate::Size;
use crate::host::{Limit, Liveness};
use crate::observation::InstanceState;
use crate::release::Release;
use crate::rollout::{Kind, State, Steering};

/// One slot at r1 on the first host, and hosts that hold so many instances each.
pub(super) fn single(holds: &[u64]) -> (World, Release, Release) {
    let (r1, r2) = (web(1, |_| {}), web(2, |_| {}));
    let mut world = World::on(&r1, 1, holds.len());
    for (n, holds) in holds.iter().enumerate() {
        let facts = Arc::make_mut(&mut world.fleet.members.get_mut(&host(n)).unwrap().facts);
        facts.policy.max_memory = Limit::Bytes(Size::from_bytes(holds * 64 * MIB + 32 * MIB));
    }
    world.hosts();
    (world, r1, r2)
}

fn lose(world: &mut World, n: usize) {
    world.fleet.members.get_mut(&host(n)).unwrap().liveness = Liveness::Lost;
}

fn find(world: &mut World, n: usize) {
    world.fleet.members.get_mut(&host(n)).unwrap().liveness = Liveness::Connected;
}

/// Instances of a release that serve on hosts that are there.
pub(super) fn reachable(world: &World, release: &Release) -> usize {
    let digest = reference(release).digest;
    let members = world.fleet.members.values().filter(|member| member.liveness == Liveness::Connected);
    let seen = members.filter_map(|member| member.observation.as_ref());
    let instances = seen.flat_map(|seen| &seen.slots).flat_map(|slot| &slot.instances);
    instances.filter(|of| of.release == digest && of.state == InstanceState::Healthy).count()
}

/// The share of a release by the record of its service; all of it where the service is one pool.
pub(super) fn weight(world: &World, release: &Release) -> u16 {
    let digest = reference(release).digest;
    world.service.split.as_ref().map_or(1000, |split| split.share(&digest).permille())
}

fn assert_served(world: &World, releases: [&Release; 2], case: &str) {
    let served = releases.iter().any(|of| weight(world, of) > 0 && reachable(world, of) > 0);
    assert!(served, "{case}: {:?} {:?} {:?}", world.service.split, world.slots, world.waiting);
}

fn reason(world: &World) -> String {
    world.rollout.as_ref().unwrap().reason.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// r2 has succeeded on a host of its own, and r1 is warm on one that is lost.
fn warm_and_lost(holds: &[u64]) -> (World, Release, Release) {
    let (mut world, r1, r2) = single(holds);
    world.begin(&r2, Kind::Deploy);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    assert_eq!(hosts_of(&world, &r1), ["0@h0000"]);
    lose(&mut world, 0);
    (world, r1, r2)
}

#[test]
fn a_return_to_lost_hosts_is_placed_like_any_other() {
    for holds in [[1, 1, 1], [1, 2, 0]] {
        let (mut world, r1, r2) = warm_and_lost(&holds);
        world.begin(&r1, Kind::Rollback);
        world.until("ends", |world| {
            assert_served(world, [&r1, &r2], &format!("{holds:?}"));
            world.state().is_final()
        });
        assert_eq!((world.state(), reachable(&world, &r1)), (State::Succeeded, 1), "{}", reason(&world));
        find(&mut world, 0);
        (0..10).for_each(|_| world.second());
        assert_settled(&world, &r1, 1);
    }
}

#[test]
fn a_return_to_lost_hosts_without_room_goes_in_place() {
    let (mut world, r1, r2) = warm_and_lost(&[1, 1]);
    world.begin(&r1, Kind::Rollback);
    world.until("begins in place", |world| {
        assert!(weight(world, &r2) > 0, "{:?}", world.service.split);
        reachable(world, &r2) == 0
    });
    world.until("ends", |world| world.state().is_final());
    assert_eq!((world.state(), reachable(&world, &r1)), (State::Succeeded, 1), "{}", reason(&world));
}

#[test]
fn what_turns_back_to_a_lost_host_is_made_elsewhere_first() {
    for (share, fails) in [(0, false), (100, false), (1000, false), (500, true)] {
        let case = format!("at {share}, fails: {fails}");
        let (mut world, r1, r2) = single(&[1, 1, 1]);
        world.begin(&r2, Kind::Deploy);
        world.until("has its share", |world| world.share(&r2) == share && world.running(&r2) == 1);
        lose(&mut world, 0);
        world.second();
        world.steer(Steering::Abort);
        world.until("ends", |world| {
            assert!(reachable(world, &r1) + reachable(world, &r2) > 0, "{case}: {:?}", world.slots);
            assert!(weight(world, &r1) < 1000 || share == 0 || reachable(world, &r1) > 0, "{case}");
            world.state().is_final()
        });
        assert_eq!(
            (world.state(), reachable(&world, &r1)),
            (State::Aborted, 1),
            "{case}: {}",
            reason(&world)
        );
        find(&mut world, 0);
        (0..400).for_each(|_| world.second());
        assert_settled(&world, &r1, 1);
    }
}

#[test]
fn what_turns_back_without_room_goes_in_place() {
    let (mut world, r1, r2) = single(&[1, 1]);
    world.begin(&r2, Kind::Deploy);
    world.until("has its share", |world| world.share(&r2) == 1000);
    lose(&mut world, 0);
    world.second();
    world.steer(Steering::Abort);
    world.until("ends", |world| world.state().is_final());
    assert_eq!((world.state(), reachable(&world, &r1)), (State::Aborted, 1), "{}", reason(&world));
    assert_eq!(hosts_of(&world, &r1).last().unwrap(), "1@h0001");
}

#[test]
fn what_cannot_go_back_goes_on_serving() {
    // The host of r1 is lost, and the other one may not run it.
    let (mut world, r1, r2) = single(&[1, 1]);
    world.begin(&r2, Kind::Deploy);
    world.until("has its share", |world| world.share(&r2) == 1000);
    lose(&mut world, 0);
    world.releases.get_mut(&reference(&r1).digest).unwrap().spec.placement =
        serde_json::from_value(serde_json::json!({ "spread": "host", "hosts": ["h0000"] })).unwrap();
    world.second();
    world.steer(Steering::Abort);
    world.until("ends", |world| {
        assert_served(world, [&r1, &r2], "the one that serves");
        world.state().is_final()
    });
    assert_eq!(world.state(), State::Failed);
    assert!(reason(&world).contains("so r2 goes on serving until it does"), "{}", reason(&world));
    for _ in 0..400 {
        world.second();
        assert_served(&world, [&r1, &r2], "and afterwards");
    }
    find(&mut world, 0);
    (0..400).for_each(|_| world.second());
    assert_settled(&world, &r1, 1);
}

/// A world in which a return to r1 has begun, and one instance of r2 is left, which drains.
fn midway_back() -> (World, Release, Release) {
    let (mut world, r1, r2) = succeeded();
    world.begin(&r1, Kind::Rollback);
    world.until("has the traffic", |world| world.share(&r1) == 1000);
    world.busy.insert(3);
    world.until("only one is left", |world| world.running(&r2) == 1);
    assert_eq!(world.state(), State::Pending);
    (world, r1, r2)
}

#[test]
fn a_remnant_never_gets_the_traffic() {
    type Turn = fn(&mut World);
    let turns: [(&str, Turn); 2] = [
        ("abort", |world| world.steer(Steering::Abort)),
        ("another deploy", |world| world.begin(&web(3, |_| {}), Kind::Deploy)),
    ];
    for (case, turn) in turns {
        let (mut world, r1, r2) = midway_back();
        let r3 = web(3, |_| {});
        turn(&mut world);
        world.second();
        world.busy.clear();
        world.until("ends", |world| {
            for of in [&r1, &r2, &r3] {
                assert!(
                    weight(world, of) < 1000 || reachable(world, of) == 3 || world.service.split.is_none(),
                    "{case}: {:?}",
                    world.service.split
                );
            }
            world.state().is_final()
        });
        let (state, at) = if case == "abort" { (State::Aborted, &r2) } else { (State::Succeeded, &r3) };
        assert_eq!(world.state(), state, "{case}: {}", reason(&world));
        (0..400).for_each(|_| world.second());
        assert_settled(&world, at, 3);
    }
}

#[test]
fn a_warm_set_that_falls_ill_is_helped_by_the_other() {
    let (mut world, r1, r2) = midway_back();
    // On h0003 r2 drains. r1 falls ill everywhere.
    world.fails.extend((0..3).map(|n| (reference(&r1).digest, n)));
    world.until("has it again", |world| weight(world, &r2) == 1000);
    world.until("ends", |world| {
        assert!(reachable(world, &r2) >= 1, "{:?}", world.waiting);
        world.state().is_final()
    });
    assert_eq!(world.state(), State::Failed);
    assert_eq!(reason(&world), "r1 was not available everywhere within 2m, so the traffic stays at r2");
    assert_eq!(weight(&world, &r2), 1000);
    world.until("is whole again", |world| reachable(world, &r2) == 3);
}
