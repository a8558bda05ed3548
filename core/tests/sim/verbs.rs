//! Scale, stop and remove, with losses and deaths.

use windlass_core::release::Scale;
use windlass_core::rollout::{ServiceCommand, State};
use windlass_core::service::Mode;

use super::fleet::{Behaviour, recreate, replicas, spec};
use super::seeds;
use super::world::World;

fn ranged(seed: u64, hosts: usize) -> World {
    let mut spec = spec(3);
    spec.scale = Scale::Replicas { min: 2, max: 8 };
    let mut world = World::settled(seed, hosts, spec);
    assert!(world.command(ServiceCommand::Scale(3)));
    world.assert_all_serve(1, 3);
    world
}

#[test]
fn scaling_keeps_to_the_range_and_serves_the_smaller_count() {
    for seed in seeds() {
        let mut world = ranged(seed, 3);
        for count in [6, 4, 8, 2] {
            let before = world.serving().len();
            assert!(world.command(ServiceCommand::Scale(count)));
            for _ in 0..60 {
                world.second();
                assert!(world.serving().len() >= before.min(count as usize), "seed {seed}");
            }
            world.assert_all_serve(1, count as usize);
        }
        assert!(
            !world.command(ServiceCommand::Scale(9)) && !world.command(ServiceCommand::Scale(1)),
            "seed {seed}"
        );
        world.assert_quiet();
    }
}

#[test]
fn scaling_down_takes_non_serving_slots_first_then_newest() {
    for seed in seeds() {
        let mut world = ranged(seed, 4);
        assert!(world.command(ServiceCommand::Scale(6)));
        world.assert_all_serve(1, 6);
        world.hosts[1].cut = true;
        world.run_for(40);
        let on_cut = world.slots.values().filter(|a| a.host() == &world.hosts[1].name).count();
        assert!(world.command(ServiceCommand::Scale(6 - u32::try_from(on_cut).unwrap())));
        world.run_for(10);
        assert!(world.slots.values().all(|a| a.host() != &world.hosts[1].name), "seed {seed}");
        let before: Vec<_> = world.slots.keys().cloned().collect();
        world.hosts[1].cut = false;
        assert!(world.command(ServiceCommand::Scale(2)));
        world.assert_all_serve(1, 2);
        let after: Vec<_> = world.slots.keys().cloned().collect();
        assert_eq!(after, before[..2], "seed {seed}");
    }
}

#[test]
fn stopped_service_stays_stopped_and_starts_as_it_was() {
    for seed in seeds() {
        let mut world = ranged(seed, 3);
        let slots: Vec<_> = world.slots.keys().cloned().collect();
        assert!(world.command(ServiceCommand::Stop));
        world.run_for(30);
        world.kill_coordinator(20);
        world.run_for(30);
        world.hosts[0].cut = true;
        world.run_for(60);
        world.hosts[0].cut = false;
        world.assert_quiet();
        assert_eq!(world.running(), 0, "seed {seed}");
        let kept: usize = world.hosts.iter().map(|host| host.engine.containers.len()).sum();
        assert_eq!(kept, 3, "seed {seed}: what was stopped is kept");
        let starts = world.starts(1);
        assert!(world.command(ServiceCommand::Scale(3)), "seed {seed}");
        world.assert_all_serve(1, 3);
        assert_eq!(slots, world.slots.keys().cloned().collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(world.starts(1), starts + 3, "seed {seed}: each once");
        world.assert_quiet();
    }
}

#[test]
fn a_deploy_and_a_rollback_start_a_stopped_service() {
    for seed in seeds() {
        for bad in [false, true] {
            let mut world = ranged(seed, 3);
            world.deploy(Behaviour::Good);
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            assert!(world.command(ServiceCommand::Stop));
            world.run_for(30);
            world.checks.slack = 9;
            world.deploy(if bad { Behaviour::NeverReady } else { Behaviour::Good });
            let want = if bad { State::RolledBack } else { State::Succeeded };
            assert_eq!(world.run_to_end(), want, "seed {seed}");
            world.assert_all_serve(if bad { 2 } else { 3 }, 3);
            assert!(world.command(ServiceCommand::Stop));
            world.run_for(30);
            world.rollback();
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            world.run_for(30);
            assert_eq!((world.serving().len(), world.running()), (3, 3), "seed {seed}");
        }
    }
}

#[test]
fn stop_ends_a_rollout_and_start_brings_the_good_release() {
    for seed in 0..seeds().end * 3 {
        for recreates in [false, true] {
            let mut world = ranged(seed, 3);
            if recreates {
                world.spec.strategy = recreate();
            }
            world.spec.scale = Scale::Replicas { min: 5, max: 8 };
            world.checks.slack = 9;
            world.deploy(if seed % 3 == 0 { Behaviour::NeverReady } else { Behaviour::Good });
            world.run_for(seed * 3 % 47);
            if world.state().is_final() {
                continue;
            }
            assert!(!world.command(ServiceCommand::Stop), "seed {seed}: only if asked to");
            assert!(world.command_supersede(ServiceCommand::Stop), "seed {seed}");
            world.run_for(60);
            assert_eq!((world.running(), world.state()), (0, State::Superseded), "seed {seed}");
            assert_eq!((world.slots.len(), world.last_good()), (3, 1), "seed {seed}");
            assert!(world.command(ServiceCommand::Scale(3)), "seed {seed}");
            world.assert_all_serve(1, 3);
            world.assert_quiet();
        }
    }
}

#[test]
fn removed_service_leaves_nothing_on_a_returning_host() {
    for seed in seeds() {
        let mut world = ranged(seed, 3);
        world.hosts[1].cut = true;
        world.run_for(40);
        assert!(world.command(ServiceCommand::Remove));
        world.run_for(60);
        assert_eq!((world.slots.len(), world.service.mode), (0, Mode::Removed), "seed {seed}");
        let name = world.hosts[1].name.clone();
        assert_eq!(world.service.leaving.iter().collect::<Vec<_>>(), [&name], "seed {seed}");
        assert_eq!(world.running(), 1, "seed {seed}: what the lost host runs");
        world.kill_coordinator(5);
        world.hosts[1].cut = false;
        world.run_for(90);
        assert_eq!(world.running(), 0, "seed {seed}");
        assert!(world.hosts.iter().all(|host| host.engine.containers.is_empty()), "seed {seed}");
        assert!(world.service.leaving.is_empty(), "seed {seed}");
        world.assert_quiet();
        world.spec.scale = replicas(2);
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(2, 2);
    }
}

#[test]
fn removing_in_the_middle_of_a_rollout_leaves_nothing_either() {
    for seed in 0..seeds().end * 3 {
        let mut world = ranged(seed, 3);
        world.checks.slack = 9;
        world.deploy(Behaviour::Good);
        world.run_for(seed * 5 % 53);
        assert!(world.command_supersede(ServiceCommand::Remove), "seed {seed}");
        world.run_for(60);
        assert_eq!(world.running(), 0, "seed {seed}");
        assert!(world.hosts.iter().all(|host| host.engine.containers.is_empty()), "seed {seed}");
        assert!(world.service.leaving.is_empty(), "seed {seed}");
        world.assert_quiet();
    }
}
