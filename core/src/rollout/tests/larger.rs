//! A release that needs more than the one before: a slot stays on its host only where that has room for it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::elsewhere::{MIB, assert_settled, host, hosts_of, web, world_of};
use super::shifting::World;
use crate::Size;
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
