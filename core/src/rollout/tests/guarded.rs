//! The traffic guard: what serves goes on serving until something else does, whatever is lost, falls ill or turns back meanwhile.

use std::sync::Arc;

use super::elsewhere::{MIB, assert_settled, host, hosts_of, many, succeeded, web};
use super::shifting::World;
use crate::Size;
use crate::fixture::{at, reference};
use crate::host::{Limit, Liveness};
use crate::observation::InstanceState;
use crate::release::Release;
use crate::rollout::{Kind, RolloutCommand, State};

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
        world.steer(RolloutCommand::Abort);
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
    world.steer(RolloutCommand::Abort);
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
    world.steer(RolloutCommand::Abort);
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
        ("abort", |world| world.steer(RolloutCommand::Abort)),
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

#[test]
fn a_refused_deploy_leaves_the_warm_set() {
    let (mut world, r1, r2) = succeeded();
    let before = world.slots.clone();
    let huge = web(3, |json| json["spec"]["resources"]["memory"] = "1GiB".into());
    world.begin(&huge, Kind::Deploy);
    world.until("ends", |world| world.state().is_final());
    let rollout = world.rollout.as_ref().unwrap();
    assert_eq!((rollout.state, rollout.changed), (State::Failed, false), "{}", reason(&world));
    assert_eq!((&world.slots, world.running(&r1), weight(&world, &r2)), (&before, 3, 1000));
    world.begin(&r1, Kind::Rollback);
    world.second();
    assert_eq!(weight(&world, &r1), 1000, "and the way back is as short as before");
}

#[test]
fn a_refused_deploy_leaves_what_is_warm_in_its_slot() {
    let release = |counter| super::shifting::blue_green(counter, &super::shifting::steps(&[1000]));
    let (r1, r2) = (release(1), release(2));
    let mut world = World::at(&r1, 2);
    world.begin(&r2, Kind::Deploy);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    let mut huge = release(3);
    huge.spec.resources.memory = Size::from_bytes(1 << 30);
    world.begin(&huge, Kind::Deploy);
    world.until("ends", |world| world.state().is_final());
    (0..5).for_each(|_| world.second());
    assert_eq!((world.state(), world.running(&r1), world.running(&r2)), (State::Failed, 2, 2));
}

#[test]
fn a_deploy_that_ends_a_warm_set_says_that_it_did() {
    let (mut world, r1, _) = succeeded();
    world.begin(&web(3, |_| {}), Kind::Deploy);
    world.until("prepares", |world| world.state() == State::Preparing);
    assert_eq!(world.running(&r1), 0);
    assert!(world.rollout.as_ref().unwrap().changed);
}

#[test]
fn a_restart_leaves_a_warm_set_on_other_hosts() {
    let (mut world, r1, r2) = succeeded();
    let id = "00000000-0000-0000-0000-0000000000aa".parse().unwrap();
    let begun = crate::rollout::restart(&world.service, None, 0, "ada".into(), id, at(world.now)).unwrap();
    (world.service, world.rollout) = (begun.0, Some(begun.1));
    let mut fewest = 3;
    world.until("ends", |world| {
        assert_eq!((world.running(&r1), weight(world, &r2)), (3, 1000), "{:?}", world.waiting);
        fewest = fewest.min(reachable(world, &r2));
        world.state().is_final()
    });
    assert_eq!((world.state(), world.running(&r1)), (State::Succeeded, 3), "{}", reason(&world));
    assert!(fewest >= 2, "one after the other, not {fewest}");
    let new = world.slots.values().filter(|slot| slot.target().generation == 1).count();
    assert_eq!(new, 3);
    world.begin(&r1, Kind::Rollback);
    world.second();
    assert_eq!(weight(&world, &r1), 1000);
}

#[test]
fn many_slots_become_good_before_any_old_one_is_kept() {
    let (mut world, r1, r2) = many();
    let good = |world: &World| {
        world.slots.values().filter(|slot| slot.release() == reference(&r2).digest && slot.is_good()).count()
    };
    let kept = |world: &World| world.slots.values().filter(|slot| slot.is_kept()).count();
    world.until("are good", |world| good(world) > 0);
    assert_eq!((world.state(), good(&world), kept(&world)), (State::Soaking, 64, 0));
    // The coordinator starts again: nothing is taken back.
    let mut again = world.rollout.clone().unwrap();
    again.soak_since = None;
    world.fleet.since = at(world.now);
    world.rollout = Some(again);
    world.second();
    assert_eq!((good(&world), kept(&world)), (70, 58));
    // And a person who aborts in the middle of it gets the old ones back.
    world.steer(RolloutCommand::Abort);
    world.until("ends", |world| {
        assert_eq!(world.running(&r1), 70);
        world.state().is_final()
    });
    assert_eq!((world.state(), weight(&world, &r1)), (State::Aborted, 1000));
    (0..5).for_each(|_| world.second());
    assert_settled(&world, &r1, 70);
}

/// A row of numbers that looks like chance.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// Something happens to the service.
fn happens(world: &mut World, dice: &mut Dice, releases: &[Release; 3]) {
    let hosts = world.fleet.members.len() as u64;
    let host = usize::try_from(dice.below(hosts)).unwrap();
    let active = world.rollout.as_ref().is_some_and(|rollout| !rollout.state.is_final());
    let goes_back = world.rollout.as_ref().is_some_and(|rollout| rollout.state == State::RollingBack);
    match dice.below(9) {
        0 | 1 => lose(world, host),
        2 | 3 => find(world, host),
        4 if active && !goes_back => world.steer(RolloutCommand::Abort),
        5 if world.service.good.contains(&reference(&releases[0])) => {
            world.begin(&releases[0], Kind::Rollback)
        }
        6 => world.begin(&releases[2], Kind::Deploy),
        7 => world.restarts_after = Some(world.writes + u32::try_from(dice.below(4)).unwrap()),
        8 => {
            let of = &releases[usize::try_from(dice.below(3)).unwrap()];
            world.fails.insert((reference(of).digest, host));
        }
        _ => world.fails.clear(),
    }
}

#[test]
fn no_release_gets_everything_that_nobody_can_reach() {
    let releases = [web(1, |_| {}), web(2, |_| {}), web(3, |_| {})];
    for seed in 0..6 {
        let mut dice = Dice(seed);
        let others: &[u64] =
            [&[2, 2][..], &[1, 1, 1], &[4], &[1, 2]][usize::try_from(dice.below(4)).unwrap()];
        let mut world = super::elsewhere::world_of(&releases[0], others);
        world.begin(&releases[1], Kind::Deploy);
        let mut next = 1 + dice.below(150);
        for second in 0..250 {
            if second == next {
                let pause = [4, 100][usize::try_from(dice.below(2)).unwrap()];
                next += 1 + dice.below(pause);
                happens(&mut world, &mut dice, &releases);
            }
            let before: Vec<(u16, usize)> =
                releases.iter().map(|of| (weight(&world, of), reachable(&world, of))).collect();
            let split = world.service.split.clone();
            world.second();
            let (Some(_), Some(now)) = (split, world.service.split.clone()) else { continue };
            for (n, of) in releases.iter().enumerate() {
                let got = weight(&world, of) == 1000 && before[n].0 < 1000;
                let other = releases
                    .iter()
                    .position(|other| Some(reference(other).digest) == now.beside(&reference(of).digest));
                let serves = other.is_some_and(|other| before[other].1 > 0);
                assert!(
                    !got || before[n].1 > 0 || !serves,
                    "seed {seed}, second {second}: {now:?} {before:?} {:?}",
                    world.rollout
                );
            }
        }
        (0..world.fleet.members.len()).for_each(|n| find(&mut world, n));
        world.fails.clear();
        world.until("ends", |world| world.rollout.as_ref().is_none_or(|rollout| rollout.state.is_final()));
        world.until("serves", |world| {
            releases.iter().any(|of| reachable(world, of) > 0 && weight(world, of) > 0)
        });
    }
}
