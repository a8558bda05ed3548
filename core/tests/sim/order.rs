//! Room for only one of a slot's instances: stop-first, recreate, GPUs; and how many at once.

use std::collections::BTreeSet;

use windlass_core::host::Gpu;
use windlass_core::release::{Gpus, Port, Spec};
use windlass_core::rollout::State;
use windlass_core::{Amount, Size};

use super::fleet::{Behaviour, recreate, rolling, spec};
use super::host::Host;
use super::seeds;
use super::world::World;

const BAD: [Behaviour; 3] = [Behaviour::NeverReady, Behaviour::ExitsAtOnce, Behaviour::CrashesLater];

fn fixed_port(count: u32, max_unavailable: Amount) -> Spec {
    let mut spec = spec(count);
    spec.ports.insert("http".into(), Port { container: 80, host: Some(8080), protocol: Default::default() });
    spec.main_port = Some("http".into());
    spec.strategy = rolling(Amount::Percent(25), Amount::Percent(25), max_unavailable);
    spec
}

#[test]
fn fixed_port_rolls_within_max_unavailable() {
    for seed in seeds() {
        for (amount, most) in [(Amount::Count(0), 1), (Amount::Count(2), 2), (Amount::Percent(50), 2)] {
            let mut world = World::settled(seed, 4, fixed_port(4, amount));
            world.checks.slack = most;
            world.deploy(Behaviour::Good);
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            world.assert_all_serve(2, 4);
            world.rollback();
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            world.assert_all_serve(1, 4);
            for bad in BAD {
                world.checks.slack = if bad == Behaviour::CrashesLater { 4 } else { most };
                world.deploy(bad);
                assert_eq!(world.run_to_end(), State::RolledBack, "seed {seed} {bad:?}");
                world.assert_all_serve(1, 4);
            }
        }
    }
}

#[test]
fn a_lost_host_counts_as_unavailable_before_another_one_stops() {
    for seed in seeds() {
        let mut world = World::settled(seed, 4, fixed_port(4, Amount::Count(1)));
        // The host is off: what it served is gone by itself, and nothing else of ours may be.
        world.hosts[3].cut = true;
        world.hosts[3].engine.containers.clear();
        world.checks.slack = 1;
        world.deploy(Behaviour::Good);
        world.run_for(100);
        world.checks.slack = 2;
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        assert_eq!(world.rollout.as_ref().unwrap().stragglers.len(), 1, "seed {seed}");
        world.hosts[3].cut = false;
        world.run_for(60);
        world.assert_all_serve(2, 4);
        world.assert_quiet();
    }
}

#[test]
fn recreate_never_runs_old_and_new_together() {
    for seed in seeds() {
        let mut spec = spec(6);
        spec.strategy = recreate();
        let mut world = World::settled(seed, 3, spec);
        world.checks.slack = 6;
        world.checks.one_release = true;
        for (release, count) in [(2, 6), (3, 8), (4, 3)] {
            world.spec.scale = super::fleet::replicas(count);
            world.deploy(Behaviour::Good);
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            world.assert_all_serve(release, count as usize);
        }
        world.rollback();
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(3, 8);
        world.checks.one_release = false;
        for bad in BAD {
            world.spec.scale = super::fleet::replicas(5);
            world.deploy(bad);
            assert_eq!(world.run_to_end(), State::RolledBack, "seed {seed} {bad:?}: {:#?}", world.rollout);
            world.assert_all_serve(3, 8);
        }
        world.assert_quiet();
    }
}

#[test]
fn a_counted_batch_is_not_cut_to_one_and_a_share_is() {
    for seed in seeds() {
        for (batch, first) in [(Amount::Count(3), 3), (Amount::Percent(50), 1)] {
            let mut world = World::settled(seed, 6, spec(6));
            world.spec.strategy = rolling(batch, Amount::Count(6), Amount::Count(0));
            world.deploy(Behaviour::NeverReady);
            let mut most = 0;
            while !world.state().is_final() {
                world.second();
                let new = world.hosts.iter().flat_map(|h| h.up()).filter(|c| c.counter.0 == 2);
                most = new.count().max(most);
            }
            assert_eq!((world.state(), most), (State::RolledBack, first), "seed {seed}");
            world.assert_all_serve(1, 6);
        }
    }
}

fn with_gpus(host: &mut Host, count: u8) {
    let gpu = |n| Gpu { uuid: format!("gpu-{n}"), name: "T4".into(), memory: 16 << 30, ..Gpu::default() };
    host.facts.gpus = (0..count).map(gpu).collect();
}

fn devices(world: &World) -> Vec<BTreeSet<String>> {
    let of = |host: &Host| host.up().flat_map(|c| &c.gpus).map(|gpu| gpu.uuid.clone()).collect();
    world.hosts.iter().map(of).collect()
}

#[test]
fn exclusive_gpus_go_start_first_only_if_others_are_free() {
    for (seed, count) in seeds().flat_map(|seed| [(seed, 1), (seed, 2)]) {
        let mut world = World::new(seed, 2, 2);
        world.hosts.iter_mut().for_each(|host| with_gpus(host, count));
        world.spec.resources.gpus = Some(Gpus { count: 1, memory: None });
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        let before = devices(&world);
        // A single slot is handed over.
        world.checks.slack = usize::from(count == 1);
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(2, 2);
        assert_eq!(devices(&world) == before, count == 1, "seed {seed}: the same devices");
        world.deploy(Behaviour::NeverReady);
        assert_eq!(world.run_to_end(), State::RolledBack, "seed {seed}");
        world.assert_all_serve(2, 2);
        if count == 2 {
            // Both devices instead of one: its own and the free one.
            world.checks.slack = 1;
            world.spec.resources.gpus = Some(Gpus { count: 2, memory: None });
            world.deploy(Behaviour::Good);
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
            world.assert_all_serve(4, 2);
        }
        world.assert_quiet();
    }
}

#[test]
fn shared_gpus_go_start_first_only_if_both_fit_on_the_device() {
    for seed in seeds() {
        for (share, slack) in [(6, 0), (10, 1)] {
            let mut world = World::new(seed, 2, 2);
            world.hosts.iter_mut().for_each(|host| with_gpus(host, 2));
            world.spec.resources.gpus = Some(Gpus { count: 1, memory: Some(Size::from_bytes(share << 30)) });
            world.deploy(Behaviour::Good);
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            world.checks.slack = slack;
            for release in [2, 3] {
                world.deploy(Behaviour::Good);
                assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
                world.assert_all_serve(release, 2);
            }
        }
    }
}

#[test]
fn full_host_goes_stop_first_and_refuses_no_good_release() {
    for seed in seeds() {
        let mut spec = spec(6);
        // Three per host fill it but for one more.
        spec.resources.memory = Size::from_bytes(2 << 30);
        spec.strategy = rolling(Amount::Count(6), Amount::Count(6), Amount::Count(1));
        let mut world = World::new(seed, 2, 6);
        for host in &mut world.hosts {
            host.facts.memory = (8_u64 << 30) * 100 / 89;
        }
        world.spec = spec;
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
        world.checks.slack = 1;
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:#?}", world.rollout);
        world.assert_all_serve(2, 6);
        world.assert_quiet();
    }
}
