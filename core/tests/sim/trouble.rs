//! Faults: of hosts, networks, engines, disks, the coordinator.

use windlass_core::Span;
use windlass_core::fleet::Scheduling;
use windlass_core::release::{OnLost, OnReturn};
use windlass_core::rollout::{RolloutCommand, State};

use super::fleet::{Behaviour, recreate, spec};
use super::seeds;
use super::world::World;

#[test]
fn rollout_ends_with_a_lost_host_that_later_gets_the_outcome() {
    for seed in seeds() {
        for bad in [Behaviour::Good, Behaviour::NeverReady] {
            let mut world = World::settled(seed, 4, spec(8));
            world.deploy(bad);
            world.run_for(seed * 13 % 45);
            if world.state().is_final() {
                continue;
            }
            let host = world.pick(4);
            world.hosts[host].cut = true;
            let end = world.run_to_end();
            let good = if bad == Behaviour::Good { 2 } else { 1 };
            assert_eq!(end, if good == 2 { State::Succeeded } else { State::RolledBack }, "seed {seed}");
            world.hosts[host].cut = false;
            world.run_for(200);
            world.assert_all_serve(good, 8);
            world.assert_quiet();
        }
    }
}

#[test]
fn a_host_lost_while_rolling_back_is_not_waited_for() {
    for seed in seeds() {
        let mut world = World::settled(seed, 4, spec(8));
        world.checks.slack = 8;
        world.deploy(Behaviour::CrashesLater);
        assert!(world.run_until(State::RollingBack), "seed {seed}");
        world.hosts[0].cut = true;
        assert_eq!(world.run_to_end(), State::RolledBack, "seed {seed}");
        world.run_for(2000);
        world.hosts[0].cut = false;
        world.run_for(200);
        world.assert_all_serve(1, 8);
        world.assert_quiet();
    }
}

#[test]
fn a_service_whose_every_host_is_lost_has_not_succeeded() {
    for seed in seeds() {
        let mut world = World::settled(seed, 1, spec(2));
        world.deploy(Behaviour::Good);
        world.run_for(seed * 3 % 25);
        world.hosts[0].cut = true;
        let end = world.run_to_end();
        assert_ne!(end, State::Succeeded, "seed {seed}: nobody saw it");
        world.hosts[0].cut = false;
        world.run_for(100);
        world.assert_all_serve(1, 2);
        world.assert_quiet();
    }
}

#[test]
fn lost_host_is_replaced_after_its_time_and_one_slot_stays() {
    for seed in seeds() {
        for on_return in [OnReturn::KeepNew, OnReturn::KeepOld] {
            let mut spec = spec(4);
            spec.on_lost =
                OnLost { replace_after: Some(Span::from_secs(120)), on_return, ..OnLost::default() };
            let mut world = World::settled(seed, 4, spec);
            let old = world.hosts[0].serving();
            world.hosts[0].cut = true;
            world.run_for(110);
            assert_eq!(world.slots.len(), 4, "seed {seed}: too early");
            world.run_for(60);
            assert_eq!(world.slots.len(), 5, "seed {seed}");
            assert!(world.serving().len() >= 5, "seed {seed}");
            if seed % 2 == 0 {
                // A rollout meanwhile does not take the replacement away.
                world.checks.slack = 0;
                world.deploy(Behaviour::Good);
                assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
                let others = world.hosts[1..].iter().map(|host| host.serving().len()).sum::<usize>();
                assert!(others >= 4, "seed {seed}: {others} serve on the other hosts");
            }
            world.hosts[0].cut = false;
            world.run_for(200);
            let kept = old.keys().all(|slot| world.slots.contains_key(slot));
            if seed % 2 == 1 {
                assert_eq!(kept, on_return == OnReturn::KeepOld, "seed {seed}");
            }
            world.assert_all_serve(1 + (seed + 1) % 2, 4);
            world.assert_quiet();
        }
    }
}

#[test]
fn replacement_waits_from_the_start_of_the_coordinator() {
    for seed in seeds() {
        let mut spec = spec(4);
        spec.on_lost.replace_after = Some(Span::from_secs(600));
        let mut world = World::settled(seed, 4, spec);
        world.hosts[0].cut = true;
        world.run_for(50);
        world.kill_coordinator(10);
        world.run_for(400);
        assert_eq!(world.slots.len(), 4, "seed {seed}: replaced too early");
        world.run_for(400);
        assert_eq!(world.slots.len(), 5, "seed {seed}: not replaced");
    }
}

#[test]
fn an_evicted_host_holds_up_nothing() {
    for seed in seeds() {
        let mut world = World::settled(seed, 4, spec(8));
        world.checks.slack = 2;
        world.deploy(Behaviour::Good);
        world.run_for(seed * 17 % 60);
        world.hosts[2].evicted = true;
        let (begun, host) = (world.now, world.hosts[2].name.clone());
        while !world.state().is_final() {
            world.second();
        }
        assert_eq!(world.state(), State::Succeeded, "seed {seed}");
        assert!(world.now - begun < 110, "seed {seed}: waited {} s", world.now - begun);
        world.hosts[2].engine.containers.clear();
        world.run_for(60);
        assert!(world.slots.values().all(|a| a.host() != &host), "seed {seed}");
        world.assert_all_serve(2, 8);
        world.assert_quiet();
    }
}

/// Found by the simulation (seed 1882749738681045): they stopped at the end of the way back, and others were made.
#[test]
fn replacements_of_an_evicted_hosts_slots_revert_too() {
    for seed in seeds() {
        let mut spec = spec(8);
        spec.soak = Span::from_secs(600);
        let mut world = World::settled(seed, 4, spec);
        world.checks.slack = 2;
        world.deploy(Behaviour::Good);
        world.run_for(seed * 17 % 60);
        world.hosts[2].evicted = true;
        world.hosts[2].engine.containers.clear();
        assert!(world.run_until(State::Soaking), "seed {seed}: {:#?}", world.rollout);
        while world.serving().len() < 8 {
            world.second();
        }
        world.checks.slack = 0;
        let slots: Vec<_> = world.slots.keys().cloned().collect();
        assert!(world.steer(RolloutCommand::Abort), "seed {seed}");
        assert_eq!(world.run_to_end(), State::Aborted, "seed {seed}: {:#?}", world.rollout);
        assert_eq!(world.slots.keys().cloned().collect::<Vec<_>>(), slots, "seed {seed}");
        world.assert_all_serve(1, 8);
        world.assert_quiet();
    }
}

#[test]
fn a_host_that_refuses_plans_fails_the_rollout() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(6));
        world.hosts[1].refuses = true;
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Failed, "seed {seed}: {:#?}", world.rollout);
        world.hosts[1].refuses = false;
        world.run_for(60);
        world.assert_all_serve(1, 6);
        world.assert_quiet();
    }
}

#[test]
fn engine_away_for_a_while_delays_and_fails_nothing() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(6));
        world.deploy(Behaviour::Good);
        world.run_for(seed * 7 % 50);
        world.hosts[0].engine_down = true;
        world.run_for(80);
        world.hosts[0].engine_down = false;
        while !world.state().is_final() {
            world.second();
        }
        assert_eq!(world.state(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(2, 6);
        world.assert_quiet();
    }
}

#[test]
fn absent_engine_is_omitted_at_the_deadline_and_catches_up() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(6));
        world.deploy(Behaviour::Good);
        world.run_for(12 + seed % 10);
        world.hosts[0].engine_down = true;
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: no release is blamed for an engine");
        assert_eq!(world.rollout.as_ref().unwrap().stragglers.len(), 1, "seed {seed}");
        world.hosts[0].engine_down = false;
        world.run_for(100);
        world.assert_all_serve(2, 6);
        world.assert_quiet();
    }
}

/// If old and new never run together, everything waits for the old ones to stop: an engine that is away was taken for one that does
/// not.
#[test]
fn recreate_blames_no_release_for_an_absent_engine() {
    for seed in seeds() {
        for bad in [Behaviour::Good, Behaviour::NeverReady] {
            let mut spec = spec(6);
            spec.strategy = recreate();
            let mut world = World::settled(seed, 3, spec);
            world.checks.slack = 6;
            world.deploy(bad);
            let until = if bad == Behaviour::Good { State::Advancing } else { State::RollingBack };
            assert!(world.run_until(until), "seed {seed}");
            world.hosts[0].engine_down = true;
            let (end, good) =
                if bad == Behaviour::Good { (State::Succeeded, 2) } else { (State::RolledBack, 1) };
            assert_eq!(world.run_to_end(), end, "seed {seed}: {:#?}", world.rollout);
            let rollout = world.rollout.clone().unwrap();
            assert!(rollout.failures.iter().all(|failure| failure.evidence.is_some()), "seed {seed}");
            assert_eq!(rollout.stragglers.len(), 1, "seed {seed}: {rollout:#?}");
            let others: usize = world.hosts[1..].iter().map(|host| host.serving().len()).sum();
            assert_eq!(others, 4, "seed {seed}: the others serve");
            world.hosts[0].engine_down = false;
            world.run_for(100);
            world.assert_all_serve(good, 6);
            world.assert_quiet();
        }
    }
}

/// Found by the simulation (seed 1882750793548311): it stopped what it started, again and again.
#[test]
fn recreate_rollback_without_a_place_ends() {
    for seed in seeds() {
        let mut spec = spec(2);
        spec.strategy = recreate();
        let mut world = World::settled(seed, 2, spec);
        world.checks.slack = 2;
        world.deploy(Behaviour::Good);
        assert!(world.run_until(State::Advancing), "seed {seed}");
        world.hosts.iter_mut().for_each(|host| host.scheduling = Scheduling::Draining);
        world.rollback();
        let end = world.run_to_end();
        assert_eq!(end, State::Failed, "seed {seed}: {:#?}", world.rollout);
        world.hosts.iter_mut().for_each(|host| host.scheduling = Scheduling::Ready);
        world.assert_all_serve(1, 2);
        world.assert_quiet();
    }
}

#[test]
fn moving_recreate_goes_on_at_the_deadline_with_a_lost_host() {
    for seed in seeds() {
        for cut in [false, true] {
            let mut spec = spec(1);
            spec.strategy = recreate();
            let mut world = World::settled(seed, 2, spec);
            world.checks.slack = 1;
            let old = world.hosts.iter_mut().find(|host| !host.serving().is_empty()).unwrap();
            old.scheduling = Scheduling::Draining;
            (old.cut, old.engine_down) = (cut, !cut);
            let name = old.name.clone();
            world.deploy(Behaviour::Good);
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
            assert_eq!(world.rollout.as_ref().unwrap().stragglers, [name].into(), "seed {seed}");
            world.hosts.iter_mut().for_each(|host| (host.cut, host.engine_down) = (false, false));
            world.run_for(100);
            world.assert_all_serve(2, 1);
            world.assert_quiet();
        }
    }
}

#[test]
fn failed_pull_on_one_host_fails_before_any_change() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(6));
        world.hosts[1].engine.no_registry = true;
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Failed, "seed {seed}");
        assert!(!world.rollout.as_ref().unwrap().changed, "seed {seed}");
        assert_eq!(world.starts(2), 0, "seed {seed}: nothing was touched");
        world.assert_all_serve(1, 6);
        world.assert_quiet();
    }
}

#[test]
fn a_lost_agents_disk_stops_nothing() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(6));
        world.deploy(Behaviour::Good);
        world.run_for(seed * 19 % 70);
        world.hosts[0].lose_disk();
        while !world.state().is_final() {
            world.second();
        }
        assert_eq!(world.state(), State::Succeeded, "seed {seed}");
        world.hosts[1].lose_disk();
        world.run_for(100);
        world.assert_all_serve(2, 6);
    }
}

#[test]
fn rollout_goes_on_after_the_coordinator_is_killed() {
    for seed in seeds() {
        for moment in [0, 2, 7, 15, 28, 41] {
            let mut world = World::settled(seed, 3, spec(6));
            let bad = if seed % 2 == 0 { Behaviour::NeverReady } else { Behaviour::Good };
            world.deploy(bad);
            world.run_for(moment);
            if world.state().is_final() {
                continue;
            }
            world.kill_coordinator(60 + seed % 100);
            let want = if seed % 2 == 0 { State::RolledBack } else { State::Succeeded };
            assert_eq!(world.run_to_end(), want, "seed {seed} at {moment}: {:#?}", world.rollout);
            world.assert_all_serve(if seed % 2 == 0 { 1 } else { 2 }, 6);
        }
    }
}

#[test]
fn a_coordinator_that_dies_at_every_step_still_gets_there() {
    for seed in seeds() {
        for bad in [Behaviour::Good, Behaviour::NeverReady] {
            let mut world = World::settled(seed, 3, spec(4));
            world.fragile = true;
            world.deploy(bad);
            let want = if bad == Behaviour::Good { State::Succeeded } else { State::RolledBack };
            assert_eq!(world.run_to_end(), want, "seed {seed}");
            world.fragile = false;
            world.assert_all_serve(if bad == Behaviour::Good { 2 } else { 1 }, 4);
            world.assert_quiet();
        }
    }
}
