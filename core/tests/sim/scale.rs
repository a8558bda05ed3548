//! More and fewer slots: scale by a release, one per host, draining.

use windlass_core::fleet::Scheduling;
use windlass_core::release::{Scale, Volume};
use windlass_core::rollout::{RolloutCommand, ServiceCommand, State};
use windlass_core::{Amount, Span};

use super::fleet::{Behaviour, replicas, rolling, spec};
use super::host::Host;
use super::seeds;
use super::world::World;

#[test]
fn a_release_scales_up_and_down() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(3));
        for (release, count) in [(2, 6), (3, 2), (4, 0), (5, 3)] {
            world.spec.scale = replicas(count);
            world.deploy(Behaviour::Good);
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            world.assert_all_serve(release, count as usize);
        }
        // The count is the service's, within the range of the release that it goes back to.
        world.rollback();
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(4, 0);
        world.assert_quiet();
    }
}

#[test]
fn a_failure_while_scaling_gives_the_old_count_back() {
    for seed in seeds() {
        for (before, after) in [(3, 6), (6, 2)] {
            for bad in [Behaviour::NeverReady, Behaviour::CrashesLater] {
                let mut world = World::settled(seed, 3, spec(before));
                world.checks.slack = if bad == Behaviour::CrashesLater { 3 } else { 0 };
                world.spec.scale = replicas(after);
                world.deploy(bad);
                assert_eq!(world.run_to_end(), State::RolledBack, "seed {seed}");
                world.assert_all_serve(1, before as usize);
                assert_eq!(world.service.replicas, before, "seed {seed}");
                world.assert_quiet();
            }
            let mut world = World::settled(seed, 3, spec(before));
            world.spec.scale = replicas(after);
            world.deploy(Behaviour::Good);
            world.run_for(3 + seed * 5 % 40);
            if world.steer(RolloutCommand::Abort) {
                assert_eq!(world.run_to_end(), State::Aborted, "seed {seed}");
                world.assert_all_serve(1, before as usize);
            }
        }
    }
}

#[test]
fn one_per_host_follows_the_hosts() {
    for seed in seeds() {
        let mut spec = spec(1);
        spec.scale = Scale::PerHost;
        let mut world = World::settled(seed, 3, spec);
        world.assert_all_serve(1, 3);
        world.hosts.push(Host::new("h3"));
        world.run_for(60);
        world.assert_all_serve(1, 4);
        world.deploy(Behaviour::Good);
        world.run_for(seed * 7 % 40);
        world.hosts.push(Host::new("h4"));
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.run_for(60);
        world.assert_all_serve(2, 5);
        world.checks.slack = 2;
        world.hosts[0].scheduling = Scheduling::Draining;
        world.hosts[1].evicted = true;
        world.hosts[1].engine.containers.clear();
        world.run_for(60);
        world.assert_all_serve(2, 3);
        world.deploy(Behaviour::NeverReady);
        world.run_for(seed * 5 % 30);
        world.hosts[0].scheduling = Scheduling::Ready;
        assert_eq!(world.run_to_end(), State::RolledBack, "seed {seed}");
        world.run_for(60);
        world.assert_all_serve(2, 4);
        world.assert_quiet();
    }
}

#[test]
fn draining_many_hosts_stops_per_host_slots_within_budget() {
    for seed in seeds() {
        for most in [1, 2] {
            for deploys in [false, true] {
                let mut spec = spec(1);
                spec.scale = Scale::PerHost;
                spec.strategy = rolling(Amount::Count(1), Amount::Count(1), Amount::Count(most));
                let mut world = World::settled(seed, 5, spec);
                world.checks.slack = 5;
                if deploys {
                    world.deploy(Behaviour::Good);
                    world.run_for(seed * 7 % 40);
                }
                world.hosts[..4].iter_mut().for_each(|host| host.scheduling = Scheduling::Draining);
                for _ in 0..300 {
                    world.second();
                    let serving = world.serving();
                    let down = world.slots.keys().filter(|slot| !serving.contains_key(*slot)).count();
                    assert!(down <= most as usize, "seed {seed}: {down} are down: {:#?}", world.slots);
                }
                world.assert_all_serve(if deploys { 2 } else { 1 }, 1);
                let left: usize = world.hosts[..4].iter().map(|host| host.engine.containers.len()).sum();
                assert_eq!(left, 0, "seed {seed}: {:#?}", world.decide().waiting);
                world.assert_quiet();
            }
        }
    }
}

#[test]
fn drain_of_one_per_host_goes_on_after_a_change() {
    for seed in seeds() {
        let mut spec = spec(1);
        spec.scale = Scale::PerHost;
        let mut world = World::settled(seed, 4, spec);
        world.checks.slack = 4;
        world.hosts[..3].iter_mut().for_each(|host| host.scheduling = Scheduling::Draining);
        world.run_for(1 + seed * 3 % 12);
        // Lost in the middle, another is wanted again after all.
        world.hosts[0].cut = true;
        world.hosts[1].scheduling = Scheduling::Ready;
        world.run_for(120);
        world.hosts[0].cut = false;
        world.run_for(60);
        world.assert_all_serve(1, 2);
        world.assert_quiet();
    }
}

/// Found by the simulation (seed 1882746802667557): they went at once, and were made anew at once.
#[test]
fn slots_skipped_while_draining_catch_up_within_budget() {
    for seed in seeds() {
        let mut spec = spec(1);
        spec.scale = Scale::PerHost;
        spec.strategy = rolling(Amount::Count(4), Amount::Count(0), Amount::Count(1));
        let mut world = World::settled(seed, 4, spec);
        world.checks.slack = 4;
        world.hosts[..2].iter_mut().for_each(|host| host.scheduling = Scheduling::Draining);
        world.deploy(Behaviour::Good);
        while world.state() == State::Pending {
            world.second();
        }
        world.hosts[..2].iter_mut().for_each(|host| host.scheduling = Scheduling::Ready);
        for _ in 0..200 {
            world.second();
            let serving = world.serving();
            let down = world.slots.keys().filter(|slot| !serving.contains_key(*slot)).count();
            assert!(down <= 1, "seed {seed}: {down} are down: {:#?}", world.slots);
        }
        assert_eq!(world.state(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(2, 4);
        world.assert_quiet();
    }
}

#[test]
fn from_replicas_to_one_per_host_and_back() {
    for seed in seeds() {
        let mut world = World::settled(seed, 2, spec(5));
        world.spec.scale = Scale::PerHost;
        world.checks.slack = 3;
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(2, 2);
        world.spec.scale = replicas(5);
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(3, 5);
        world.assert_quiet();
    }
}

#[test]
fn slot_with_a_volume_stays_on_a_drained_or_lost_host() {
    for seed in seeds() {
        let mut spec = spec(6);
        let volume = Volume { mount: "/data".to_owned(), host_path: None, read_only: false, shared: true };
        spec.volumes.insert("data".to_owned(), volume);
        spec.on_lost.replace_after = Some(Span::from_secs(40));
        // Two writers of one volume never run together, so one slot is down while it is replaced.
        spec.strategy = rolling(Amount::Count(1), Amount::Count(1), Amount::Count(1));
        let mut world = World::settled(seed, 3, spec);
        let before: Vec<_> = world.slots.iter().map(|(slot, a)| (slot.clone(), a.host().clone())).collect();
        world.checks.slack = 1;
        world.hosts[0].scheduling = Scheduling::Draining;
        world.run_for(120);
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.hosts[0].scheduling = Scheduling::Ready;
        let after: Vec<_> = world.slots.iter().map(|(slot, a)| (slot.clone(), a.host().clone())).collect();
        assert_eq!(before, after, "seed {seed}");
    }
}

/// The same manifest again used to be "unchanged", and a higher count to change nothing.
#[test]
fn slots_gone_with_volumes_return_only_when_a_person_says() {
    for seed in seeds() {
        for by_scaling in [false, true] {
            let mut spec = spec(6);
            let volume =
                Volume { mount: "/data".to_owned(), host_path: None, read_only: false, shared: true };
            spec.volumes.insert("data".to_owned(), volume);
            spec.scale = Scale::Replicas { min: 6, max: 7 };
            let mut world = World::settled(seed, 3, spec);
            let current = world.service.current.unwrap();
            assert!(world.service.is_at(&current), "seed {seed}");
            world.hosts[1].evicted = true;
            world.run_for(120);
            assert_eq!((world.slots.len(), world.service.given_up), (4, 2), "seed {seed}");
            assert!(!world.service.is_at(&current), "seed {seed}: its content again is not unchanged");
            if by_scaling {
                assert!(world.command(ServiceCommand::Scale(7)), "seed {seed}");
                world.run_for(120);
            } else {
                world.deploy(Behaviour::Good);
                assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            }
            let want = if by_scaling { 7 } else { 6 };
            assert_eq!((world.slots.len(), world.service.given_up), (want, 0), "seed {seed}");
            world.assert_quiet();
        }
    }
}

#[test]
fn a_drained_host_loses_its_slots_and_the_count_stays() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(6));
        world.deploy(Behaviour::Good);
        world.run_for(seed * 11 % 80);
        world.hosts[0].scheduling = Scheduling::Draining;
        while !world.state().is_final() {
            world.second();
        }
        world.run_for(300);
        assert_eq!(world.hosts[0].engine.containers.len(), 0, "seed {seed}");
        world.assert_all_serve(2, 6);
        world.assert_quiet();
    }
}

#[test]
fn drain_moves_slots_within_the_disruption_budget() {
    for seed in seeds() {
        for (surge, unavailable) in [(2, 0), (0, 2)] {
            let mut spec = spec(8);
            spec.strategy = rolling(Amount::Count(8), Amount::Count(surge), Amount::Count(unavailable));
            let mut world = World::settled(seed, 2, spec);
            world.hosts.push(Host::new("h2"));
            world.run_for(10);
            world.hosts[0].scheduling = Scheduling::Draining;
            let (surge, unavailable) = (surge as usize, unavailable as usize);
            for _ in 0..200 {
                world.second();
                let serving = world.serving().len();
                assert!(
                    serving + unavailable >= 8,
                    "seed {seed}: {serving} serve, {unavailable} may be missing"
                );
                assert!(world.slots.len() <= 8 + surge, "seed {seed}: {} slots", world.slots.len());
            }
            assert_eq!(
                world.hosts[0].engine.containers.len(),
                0,
                "seed {seed}: {:#?}",
                world.decide().waiting
            );
            world.assert_all_serve(1, 8);
            world.assert_quiet();
        }
    }
}

#[test]
fn a_drain_without_a_place_stops_nothing_and_says_so() {
    for seed in seeds() {
        for surge in [0, 1] {
            let mut spec = spec(3);
            spec.strategy = rolling(Amount::Count(1), Amount::Count(surge), Amount::Count(1));
            let mut world = World::settled(seed, 1, spec);
            world.checks.slack = 0;
            world.hosts[0].scheduling = Scheduling::Draining;
            world.run_for(60);
            assert_eq!(world.serving().len(), 3, "seed {seed}");
            let waits: Vec<String> = world.decide().waiting.iter().map(ToString::to_string).collect();
            assert!(waits.iter().any(|text| text.contains("the host is draining")), "seed {seed}: {waits:?}");
            world.hosts[0].scheduling = Scheduling::Ready;
            world.assert_all_serve(1, 3);
            world.assert_quiet();
        }
    }
}
