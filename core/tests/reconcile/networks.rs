//! Inner networks: drawn once, kept as long as something is in them, and never where others are.

use windlass_core::network::InnerNetwork;
use windlass_core::observation::{RefusalCode, SlotStatus};
use windlass_core::plan::{Phase, PlanSlot};
use windlass_core::reconcile::{LaunchNetwork, Step};
use windlass_core::release::Spec;
use windlass_core::{Digest, EnvironmentId};

use crate::world::*;

fn production() -> EnvironmentId {
    "production".parse().unwrap()
}

fn calls(names: &'static [&'static str]) -> impl FnOnce(&mut Spec) {
    move |spec| spec.uses = names.iter().map(|name| name.parse().unwrap()).collect()
}

fn told(world: &World) -> Vec<String> {
    let text = |network: &InnerNetwork| {
        let uses: Vec<&str> = network.uses.iter().map(|name| name.as_str()).collect();
        format!("{} {} {}", network.environment, network.gateway(), uses.join(","))
    };
    world.networks.iter().map(text).collect()
}

/// A host with an instance that calls `api`.
fn calling() -> (World, Digest) {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, calls(&["api"]));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    (world, one)
}

#[test]
fn a_container_that_calls_is_in_its_environments_network() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, calls(&["api"])), world.release(2, HEALTHY, |_| {}));
    world.plan(vec![good(0, one), good(1, two)]);
    world.turn();
    assert_eq!(told(&world), ["production 10.210.0.1 api"], "the ingress listens while the image is pulled");
    let launched: Vec<Step> =
        world.turn().into_iter().filter(|step| matches!(step, Step::Launch(_))).collect();
    let networks: Vec<Option<&LaunchNetwork>> = launched
        .iter()
        .map(|step| match step {
            Step::Launch(launch) => launch.network.as_ref(),
            _ => None,
        })
        .collect();
    let inner = LaunchNetwork {
        name: "windlass.demo.h1.production".to_owned(),
        subnet: "10.210.0.0/24".parse().unwrap(),
    };
    assert_eq!(networks, [Some(&inner), None], "a container that calls nothing is where it always was");
}

#[test]
fn a_network_stays_through_restarts_and_other_routes() {
    let (mut world, _) = calling();
    world.restart_agent();
    // A route that came later does not move what has containers.
    world.observed.subnets = ["10.210.0.0/24".parse().unwrap()].into();
    world.run(secs(30));
    assert_eq!(told(&world), ["production 10.210.0.1 api"]);
    assert!(world.unused_networks.is_empty());
    // A memory that was lost finds it at the engine again.
    world.memory.networks.clear();
    world.turn();
    assert_eq!(told(&world), ["production 10.210.0.1 api"]);
}

#[test]
fn a_network_is_drawn_beside_those_of_others() {
    let mut world = World::new();
    world.observed.subnets = ["10.210.0.0/17".parse().unwrap(), "172.17.0.0/16".parse().unwrap()].into();
    let one = world.release(1, HEALTHY, calls(&["api"]));
    world.plan(vec![PlanSlot { phase: Phase::Pulled, ..running(0, one) }]);
    world.run(secs(5));
    assert_eq!(told(&world), ["production 10.210.128.1 api"]);
    // Nothing is in it yet, and somebody else takes the addresses.
    world.observed.subnets.insert("10.210.128.0/24".parse().unwrap());
    world.turn();
    assert_eq!(told(&world), ["production 10.210.129.1 api"]);
    // The engine has one already.
    world.observed.networks.insert(production(), "10.99.7.0/24".parse().unwrap());
    world.turn();
    assert_eq!(told(&world), ["production 10.99.7.1 api"]);
}

#[test]
fn a_host_without_a_free_network_refuses() {
    let mut world = World::new();
    world.observed.subnets = ["10.0.0.0/8".parse().unwrap()].into();
    let one = world.release(1, HEALTHY, calls(&["api"]));
    world.plan(vec![running(0, one)]);
    world.run(secs(5));
    let SlotStatus::Refused(refusal) = world.status(&slot(0)) else { panic!("{:?}", world.status(&slot(0))) };
    assert_eq!(refusal.code, RefusalCode::NoRoom);
    assert!(
        refusal.detail.contains("inner_networks: no network of `production` fits into 10.210.0.0/16"),
        "{refusal:?}"
    );
    assert_eq!(told(&world), Vec::<String>::new());
}

#[test]
fn names_of_every_instance_count_until_it_has_gone() {
    let (mut world, one) = calling();
    let two = world.release(2, HEALTHY, calls(&["db"]));
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(30));
    assert_eq!(told(&world), ["production 10.210.0.1 api,db"]);
    // The plan names the old release no more, and its container is still there.
    world.desired.releases.remove(&one);
    world.observed.busy = [slot(0)].into();
    world.turn();
    assert_eq!(told(&world), ["production 10.210.0.1 api,db"]);
    world.observed.busy.clear();
    world.plan(vec![good(0, two)]);
    world.run(secs(30));
    assert_eq!(told(&world), ["production 10.210.0.1 db"]);
}

#[test]
fn a_network_goes_with_its_last_container() {
    let (mut world, one) = calling();
    world.plan(vec![PlanSlot { phase: Phase::Absent, ..good(0, one) }]);
    world.turn();
    assert!(world.unused_networks.is_empty(), "its container is still there");
    world.run(secs(30));
    assert!(world.observed.containers.is_empty());
    assert_eq!((told(&world), world.unused_networks.clone()), (vec![], vec![production()]));
    assert!(
        world.memory.networks.contains_key(&production()),
        "it is remembered until the engine has removed it"
    );
    world.observed.networks.clear();
    world.turn();
    assert!(world.memory.networks.is_empty() && world.unused_networks.is_empty());
}
