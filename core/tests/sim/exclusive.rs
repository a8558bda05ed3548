//! Never two at once, whatever is cut, lost, drained, restarted or evicted.

use windlass_core::fleet::Scheduling;
use windlass_core::release::Spec;
use windlass_core::rollout::{ServiceCommand, State, Waiting, must_have_stopped};
use windlass_core::{Amount, Span};

use super::fleet::{Behaviour, rolling, spec};
use super::seeds;
use super::world::World;

fn exclusive() -> Spec {
    let mut spec = spec(1);
    spec.exclusive = true;
    spec.strategy = rolling(Amount::Count(1), Amount::Count(0), Amount::Count(1));
    spec.on_lost.stop_isolated_after = Some(Span::from_secs(60));
    spec.on_lost.replace_after = Some(Span::from_secs(40));
    spec
}

fn settled(seed: u64, spec: Spec) -> World {
    let mut world = World::settled(seed, 3, spec);
    world.checks.slack = 9;
    world.checks.exclusive = true;
    world
}

/// Which host runs it.
fn home(world: &World) -> usize {
    let slot = world.slots.values().next().expect("it has a slot");
    world.hosts.iter().position(|host| &host.name == slot.host()).unwrap()
}

#[test]
fn a_cut_host_stops_it_and_only_then_it_starts_elsewhere() {
    let due = must_have_stopped(&exclusive()).unwrap().as_secs();
    for seed in 0..seeds().end * 2 {
        for one_way in [false, true] {
            let mut world = settled(seed, exclusive());
            let (old, since) = (home(&world), world.now);
            if one_way {
                world.hosts[old].mute = true;
            } else {
                world.hosts[old].cut = true;
            }
            while world.serving().len() != 1 || world.hosts[old].up().count() == 1 {
                world.second();
                assert!(world.now < since + due + 60, "seed {seed}: {:#?}", world.decide().waiting);
            }
            assert!(world.now >= since + 60, "seed {seed}: not before it must have stopped");
            let new = home(&world);
            assert_ne!(old, new, "seed {seed}");
            // It comes back, whenever it likes, and finds that it was replaced.
            let after = world.dice(90);
            world.run_for(after);
            (world.hosts[old].cut, world.hosts[old].mute) = (false, false);
            world.run_for(120);
            assert_eq!((world.running(), home(&world)), (1, new), "seed {seed}");
            assert!(world.hosts[old].engine.containers.is_empty(), "seed {seed}");
            world.assert_quiet();
        }
    }
}

#[test]
fn a_host_that_comes_back_at_any_moment_never_runs_a_second_one() {
    for seed in 0..seeds().end * 10 {
        let mut world = settled(seed, exclusive());
        let old = home(&world);
        world.hosts[old].cut = true;
        let away = 20 + world.dice(140);
        world.run_for(away);
        world.hosts[old].cut = false;
        world.run_for(200);
        assert_eq!(world.running(), 1, "seed {seed}: {:#?}", world.slots);
        world.assert_quiet();
    }
}

#[test]
fn where_the_agent_is_dead_a_person_decides() {
    for seed in seeds() {
        for killed_coordinator in [false, true] {
            let mut world = settled(seed, exclusive());
            let old = home(&world);
            world.hosts[old].agent_dead = !killed_coordinator;
            world.hosts[old].cut = true;
            if killed_coordinator {
                // Its knowledge of the host is gone with it.
                world.kill_coordinator(10);
            }
            world.run_for(1000);
            assert_eq!(home(&world), old, "seed {seed}: nobody knows that it has stopped");
            let waits = world.decide().waiting;
            assert!(waits.iter().any(|w| matches!(w, Waiting::Fence { .. })), "seed {seed}: {waits:?}");
            world.hosts[old].engine.containers.clear();
            world.hosts[old].evicted = true;
            world.run_for(60);
            assert_eq!((world.running(), world.slots.len()), (1, 1), "seed {seed}");
            assert_ne!(home(&world), old, "seed {seed}");
        }
    }
}

#[test]
fn it_moves_off_a_draining_host_by_stopping_first() {
    for seed in seeds() {
        let mut world = settled(seed, exclusive());
        let old = home(&world);
        world.hosts[old].scheduling = Scheduling::Draining;
        world.run_for(90);
        assert_ne!(home(&world), old, "seed {seed}");
        assert_eq!(world.serving().len(), 1, "seed {seed}");
        // And does not stop where no other host takes it.
        for host in &mut world.hosts {
            host.scheduling = Scheduling::Draining;
        }
        let last = home(&world);
        world.run_for(90);
        assert_eq!((world.serving().len(), home(&world)), (1, last), "seed {seed}");
    }
}

#[test]
fn releases_restarts_stops_and_removals_keep_to_it() {
    for seed in 0..seeds().end * 3 {
        let mut world = settled(seed, exclusive());
        for turn in 0..6 {
            let away = world.pick(3);
            world.hosts[away].cut = world.dice(3) == 0;
            match world.dice(6) {
                0 => world.deploy(Behaviour::Good),
                1 => world.deploy(Behaviour::NeverReady),
                2 => drop(world.restart()),
                3 => drop(world.command_supersede(ServiceCommand::Stop)),
                4 => drop(world.command_supersede(ServiceCommand::Remove)),
                _ => world.hosts[away].scheduling = Scheduling::Draining,
            }
            let pause = 10 + world.dice(200);
            world.run_for(pause);
            if turn % 2 == 1 {
                for host in &mut world.hosts {
                    (host.cut, host.scheduling) = (false, Scheduling::Ready);
                }
            }
        }
        for host in &mut world.hosts {
            (host.cut, host.scheduling) = (false, Scheduling::Ready);
        }
        world.run_for(400);
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
        world.run_for(60);
        assert_eq!((world.serving().len(), world.running()), (1, 1), "seed {seed}");
    }
}
