//! A release that needs more than the one before: a slot stays on its host only where that has room for it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::elsewhere::{MIB, assert_settled, host, hosts_of, web, world_of};
use super::shifting::World;
use crate::Size;
use crate::fixture::reference;
use crate::fleet::Scheduling;
use crate::host::Limit;
use crate::release::Release;
use crate::rollout::{Kind, State};

/// A release of a rolling service with so much memory for each instance.
fn rolling(counter: u64, memory: &str) -> Release {
    web(counter, |json: &mut Value| {
        json["spec"]["strategy"] = json!({ "rolling": {
            "batch": 1, "max_surge": 0, "max_unavailable": 1, "order": "auto", "min_ready": "5s"
        } });
        json["spec"]["resources"]["memory"] = memory.into();
    })
}

/// Three slots at r1 on hosts that hold three instances each, two of them of a neighbour, and `others` that are empty.
fn crowded(r1: &Release, others: &[u64]) -> World {
    let mut world = world_of(r1, others);
    let neighbour = rolling(9, "128MiB");
    for n in 0..3 {
        let member = world.fleet.members.get_mut(&host(n)).unwrap();
        let size = Size::from_bytes(3 * 64 * MIB + 32 * MIB);
        Arc::make_mut(&mut member.facts).policy.max_memory = Limit::Bytes(size);
        member.taken.add_instance(&neighbour.spec, &[]);
    }
    world
}

#[test]
fn a_release_too_large_for_its_hosts_moves_to_others() {
    let (r1, r2) = (rolling(1, "64MiB"), rolling(2, "128MiB"));
    let mut world = crowded(&r1, &[4, 4]);
    world.begin(&r2, Kind::Deploy);
    world.until("succeeds", |world| {
        assert!(world.running(&r1) + world.running(&r2) >= 2, "one may be away");
        world.state() == State::Succeeded
    });
    (0..60).for_each(|_| world.second());
    assert_settled(&world, &r2, 3);
    let on = hosts_of(&world, &r2);
    assert!(on.iter().all(|at| at.ends_with("h0003") || at.ends_with("h0004")), "{on:?}");
}

#[test]
fn a_release_too_large_for_every_host_touches_nothing() {
    let (r1, r2) = (rolling(1, "64MiB"), rolling(2, "128MiB"));
    let mut world = crowded(&r1, &[]);
    let before = world.slots.clone();
    world.begin(&r2, Kind::Deploy);
    world.until("ends", |world| world.state().is_final());
    let reason = world.rollout.as_ref().unwrap().reason.as_ref().unwrap().to_string();
    assert!(reason.contains(&format!("{}: no room: memory: 128 MiB needed", host(0))), "{reason}");
    assert_eq!((world.state(), &world.slots), (State::Failed, &before));
}

#[test]
fn a_release_that_fits_once_the_old_one_has_stopped_stays() {
    let (r1, r2) = (rolling(1, "64MiB"), rolling(2, "96MiB"));
    let mut world = crowded(&r1, &[4]);
    world.begin(&r2, Kind::Deploy);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    assert_eq!(hosts_of(&world, &r2), ["0@h0000", "1@h0001", "2@h0002"]);
}

fn volume(json: &mut Value) {
    json["spec"]["volumes"] = json!({ "data": { "mount": "/data" } });
}

/// The reason of a deploy that is refused, and touches nothing.
fn refused(world: &mut World, release: &Release) -> String {
    let before = world.slots.clone();
    world.begin(release, Kind::Deploy);
    world.until("ends", |world| {
        assert_eq!(world.slots, before, "{:?}", world.waiting);
        world.state().is_final()
    });
    assert_eq!(world.state(), State::Failed);
    world.rollout.as_ref().unwrap().reason.as_ref().unwrap().to_string()
}

fn edited(release: Release, edit: impl FnOnce(&mut Value)) -> Release {
    let mut json = serde_json::to_value(&release).unwrap();
    edit(&mut json);
    serde_json::from_value(json).unwrap()
}

#[test]
fn a_pinned_slot_without_room_is_refused_before_it_begins() {
    let blue =
        |counter: u64, memory: &str| web(counter, |json| json["spec"]["resources"]["memory"] = memory.into());
    let pinned = "and its named volume is there";
    for (case, r1, r2) in [
        ("rolling", rolling(1, "64MiB"), rolling(2, "128MiB")),
        ("blue/green", blue(1, "64MiB"), blue(2, "128MiB")),
    ] {
        let (r1, r2) = (edited(r1, volume), edited(r2, volume));
        let why = refused(&mut crowded(&r1, &[4, 4, 4]), &r2);
        let want = format!(
            "{} does not take it in the place of production/web/0: no room: memory: 128 MiB needed",
            host(0)
        );
        assert!(why.contains(&want) && why.contains(pinned), "{case}: {why}");
        let more = edited(rolling(2, "64MiB"), |json| {
            volume(json);
            json["spec"]["resources"]["cpu_millis"] = 64_000.into();
        });
        let why = refused(&mut crowded(&r1, &[4, 4, 4]), &more);
        assert!(why.contains("cpu: 64 cores needed") && why.contains(pinned), "{case}: {why}");
    }
}

#[test]
fn a_volume_that_a_release_drops_binds_it_to_no_host() {
    let (r1, r2) = (edited(rolling(1, "64MiB"), volume), rolling(2, "128MiB"));
    let mut world = crowded(&r1, &[4, 4]);
    world.begin(&r2, Kind::Deploy);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    let on = hosts_of(&world, &r2);
    assert!(on.iter().all(|at| at.ends_with("h0003") || at.ends_with("h0004")), "{on:?}");
}

#[test]
fn a_pinned_slot_whose_host_forbids_the_release_is_refused() {
    let (r1, r2) = (edited(rolling(1, "64MiB"), volume), edited(rolling(2, "256MiB"), volume));
    let mut world = crowded(&r1, &[9, 9, 9]);
    let why = refused(&mut world, &r2);
    assert!(
        why.contains("production/web/0: host policy: ") && why.contains("its named volume is there"),
        "{why}"
    );
}

/// A host that serves cannot be left out of a service that runs on every host, unless it drains, or nothing serves there.
#[test]
fn one_small_host_refuses_a_per_host_deploy_while_it_serves() {
    let of =
        |counter, memory| edited(rolling(counter, memory), |json| json["spec"]["scale"] = "per_host".into());
    let (r1, r2) = (of(1, "64MiB"), of(2, "80MiB"));
    let small = || {
        let mut world = world_of(&r1, &[]);
        let neighbour = rolling(9, "32MiB");
        world.fleet.members.get_mut(&host(0)).unwrap().taken.add_instance(&neighbour.spec, &[]);
        world
    };
    let why = refused(&mut small(), &r2);
    assert!(why.contains("no room: memory: 80 MiB needed, 64 MiB of 96 MiB free"), "{why}");
    assert!(why.contains("it serves there; drain h0000 to leave that host out"), "{why}");
    assert!(!why.contains("h0001"), "{why}");
    let fails = |world: &mut World| {
        world.fails.insert((reference(&r1).digest, 0));
        world.hosts();
    };
    let drains = |world: &mut World| {
        world.fleet.members.get_mut(&host(0)).unwrap().scheduling = Scheduling::Draining;
    };
    for (case, change) in [("drains", &drains as &dyn Fn(&mut World)), ("serves nothing", &fails)] {
        let mut world = small();
        change(&mut world);
        world.begin(&r2, Kind::Deploy);
        world.until(case, |world| world.state() == State::Succeeded);
        let on = hosts_of(&world, &r2);
        assert!(on.contains(&"1@h0001".to_owned()) && on.contains(&"2@h0002".to_owned()), "{case}: {on:?}");
    }
}

#[test]
fn a_slot_leaves_a_host_whose_fixed_port_is_taken() {
    let r1 = rolling(1, "64MiB");
    let r2 = edited(rolling(2, "64MiB"), |json| json["spec"]["ports"]["http"]["host"] = 8080.into());
    let mut world = crowded(&r1, &[4]);
    world.fleet.members.get_mut(&host(0)).unwrap().taken.ports.insert(8080);
    world.begin(&r2, Kind::Deploy);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    assert_eq!(hosts_of(&world, &r2), ["1@h0001", "2@h0002", "3@h0003"]);
}

/// An instance that goes when the rollout has succeeded holds its memory until then.
#[test]
fn a_slot_needs_room_beside_those_that_go_at_the_end() {
    let one = |json: &mut Value| json["spec"]["scale"] = json!({ "replicas": { "min": 1, "max": 1 } });
    let r1 = rolling(1, "64MiB");
    let mut world = World::on(&r1, 2, 1);
    world.fleet.members.insert(host(1), world.fleet.members[&host(0)].clone());
    for (n, holds) in [(0, 3), (1, 3)] {
        let member = world.fleet.members.get_mut(&host(n)).unwrap();
        Arc::make_mut(&mut member.facts).policy.max_memory = Limit::Bytes(Size::from_bytes(holds * 64 * MIB));
    }
    world.hosts();
    world.begin(&edited(rolling(2, "160MiB"), one), Kind::Deploy);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    let on: Vec<String> = world.slots.values().map(|slot| slot.host().to_string()).collect();
    assert_eq!(on, ["h0001"]);
}
