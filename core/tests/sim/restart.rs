//! A rolling restart: new instances of the same release, and the old ones until those serve.

use windlass_core::observation::SlotStatus;
use windlass_core::release::OrderRule;
use windlass_core::rollout::{RolloutCommand, ServiceCommand, State};
use windlass_core::{Amount, Span};

use super::fleet::{Behaviour, recreate, rolling, spec};
use super::seeds;
use super::world::World;

fn generations(world: &World) -> Vec<u64> {
    let mut all: Vec<u64> = world.hosts.iter().flat_map(|host| host.up()).map(|c| c.generation).collect();
    all.sort_unstable();
    all
}

#[test]
fn every_instance_is_replaced_once_and_the_count_never_falls() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(5));
        for generation in 1..=2 {
            let starts = world.starts(1);
            assert!(world.restart(), "seed {seed}");
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
            world.assert_all_serve(1, 5);
            assert_eq!(generations(&world), [generation; 5], "seed {seed}");
            assert_eq!(world.starts(1), starts + 5, "seed {seed}: each once");
        }
        world.assert_quiet();
        let kept: usize = world.hosts.iter().map(|host| host.engine.containers.len()).sum();
        assert_eq!(kept, 5, "seed {seed}: nothing of the old ones is left");
    }
}

#[test]
fn it_keeps_to_the_order_and_to_what_may_be_missing() {
    for seed in seeds() {
        let mut spec = spec(6);
        let mut strategy = rolling(Amount::Count(3), Amount::Count(0), Amount::Count(2));
        if let windlass_core::release::Strategy::Rolling { order, .. } = &mut strategy {
            *order = OrderRule::StopFirst;
        }
        spec.strategy = strategy;
        let mut world = World::settled(seed, 3, spec);
        world.checks.slack = 2;
        assert!(world.restart());
        while !world.state().is_final() {
            world.second();
            assert!(world.running() <= 6, "seed {seed}: one stops before the next starts");
        }
        assert_eq!(world.state(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
        world.assert_all_serve(1, 6);
        assert_eq!(generations(&world), [1; 6], "seed {seed}");
    }
}

#[test]
fn with_recreate_all_stop_before_any_starts() {
    for seed in seeds() {
        let mut spec = spec(4);
        spec.strategy = recreate();
        let mut world = World::settled(seed, 2, spec);
        world.checks.slack = 4;
        assert!(world.restart());
        while !world.state().is_final() {
            world.second();
            let mut both = generations(&world);
            both.dedup();
            assert!(both.len() <= 1, "seed {seed}: {both:?} run at once");
        }
        assert_eq!(world.state(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
        world.assert_all_serve(1, 4);
        assert_eq!(generations(&world), [1; 4], "seed {seed}");
        world.assert_quiet();
    }
}

#[test]
fn failed_instance_stops_the_restart_and_keeps_the_old_one() {
    for seed in seeds() {
        for stop_first in [false, true] {
            let mut spec = spec(4);
            spec.soak = Span::from_secs(0);
            if stop_first {
                spec.strategy = rolling(Amount::Count(1), Amount::Count(0), Amount::Count(1));
            }
            let mut world = World::settled(seed, 2, spec);
            world.checks.slack = usize::from(stop_first);
            let digest = world.digest(1);
            world.hosts[1].engine.will_not_start.insert(digest);
            assert!(world.restart());
            assert_eq!(world.run_to_end(), State::Failed, "seed {seed}: {:#?}", world.rollout);
            let rollout = world.rollout.clone().unwrap();
            let evidence = rollout.failures[0].evidence.clone().expect("what the agent saw");
            assert_eq!((evidence.exit_code, evidence.log.as_slice()), (Some(1), &["boom".to_owned()][..]));
            world.run_for(60);
            assert_eq!(world.serving().len(), 4, "seed {seed}: {:#?}", world.slots);
            let on_second = world.hosts[1].up().filter(|c| c.generation == 0).count();
            assert!(on_second >= 1, "seed {seed}: the old one serves there");
            // The next one brings everything there, once it can start again.
            world.hosts[1].engine.will_not_start.clear();
            assert!(world.restart());
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
            world.assert_all_serve(1, 4);
            assert_eq!(generations(&world), [2; 4], "seed {seed}");
            world.assert_quiet();
        }
    }
}

/// It used to end by its deadline, and to say only that nothing had moved.
#[test]
fn engine_refusal_fails_the_restart_at_once_with_its_reason() {
    for seed in seeds() {
        for stop_first in [false, true] {
            let mut spec = spec(4);
            if stop_first {
                spec.strategy = rolling(Amount::Count(1), Amount::Count(0), Amount::Count(1));
            }
            let mut world = World::settled(seed, 2, spec);
            world.checks.slack = usize::from(stop_first);
            let digest = world.digest(1);
            world.hosts[1].engine.refuses.insert(digest);
            assert!(world.restart());
            while world.hosts[1].slots.iter().all(|seen| !matches!(seen.status, SlotStatus::Failed { .. })) {
                world.second();
            }
            let begun = world.now;
            assert_eq!(world.run_to_end(), State::Failed, "seed {seed}: {:#?}", world.rollout);
            assert!(world.now - begun < 30, "seed {seed}: after {} s", world.now - begun);
            let rollout = world.rollout.clone().unwrap();
            let evidence = rollout.failures[0].evidence.clone().expect("what the agent saw");
            assert!(evidence.reason.to_string().contains("the engine says no"), "{evidence:?}");
            world.run_for(60);
            assert_eq!(world.serving().len(), 4, "seed {seed}: {:#?}", world.slots);
            world.hosts[1].engine.refuses.clear();
            assert!(world.restart());
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
            world.assert_all_serve(1, 4);
            assert_eq!(generations(&world), [2; 4], "seed {seed}");
            world.assert_quiet();
        }
    }
}

#[test]
fn lost_journal_and_dead_coordinator_restart_nothing_twice() {
    for seed in 0..seeds().end * 2 {
        let mut world = World::settled(seed, 3, spec(5));
        let starts = world.starts(1);
        world.fragile = true;
        assert!(world.restart());
        let forgetful = world.pick(3);
        let after = world.dice(60);
        world.run_for(after);
        world.hosts[forgetful].lose_disk();
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
        world.fragile = false;
        world.assert_all_serve(1, 5);
        assert_eq!(generations(&world), [1; 5], "seed {seed}");
        assert_eq!(world.starts(1), starts + 5, "seed {seed}: each once");
        world.assert_quiet();
    }
}

#[test]
fn a_restart_starts_what_was_stopped() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(3));
        assert!(world.command(ServiceCommand::Stop));
        world.run_for(30);
        assert!(world.restart());
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
        world.assert_all_serve(1, 3);
        assert_eq!(generations(&world), [1; 3], "seed {seed}");
    }
}

#[test]
fn it_is_paused_aborted_superseded_and_refused_as_any_rollout() {
    for seed in 0..seeds().end * 2 {
        let mut world = World::settled(seed, 3, spec(5));
        assert!(world.restart());
        assert!(!world.restart(), "seed {seed}: one at a time");
        assert!(!world.command(ServiceCommand::Stop), "seed {seed}");
        world.run_for(seed * 3 % 40);
        match seed % 3 {
            _ if world.state().is_final() => continue,
            0 => {
                assert!(world.steer(RolloutCommand::Pause));
                world.run_for(30);
                assert!(world.steer(RolloutCommand::Resume));
                assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
                assert_eq!(generations(&world), [1; 5], "seed {seed}");
            }
            1 => {
                assert!(world.steer(RolloutCommand::Abort));
                assert_eq!(world.run_to_end(), State::Aborted, "seed {seed}");
            }
            _ => {
                world.deploy(Behaviour::Good);
                assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
            }
        }
        world.assert_all_serve(world.last_good(), 5);
        world.assert_quiet();
    }
}
