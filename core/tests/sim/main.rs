//! Rollouts against modelled hosts: seeded, in virtual time, with lost hosts, bad releases, late and
//! repeated plans, and a coordinator that forgets everything but what it stored.
//!
//! `SIM_SEED=n` runs one seed; the seed of a failure is printed.

#![expect(clippy::unwrap_used, reason = "a test")]

mod fleet;
mod host;
mod world;

use windlass_core::rollout::State;

use world::{Behaviour, World};

fn seeds() -> Vec<u64> {
    match std::env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIM_SEED is a number")],
        Err(_) => (0..40).collect(),
    }
}

#[test]
fn a_good_release_ends_as_succeeded_everywhere_and_never_below_the_minimum() {
    for seed in seeds() {
        let mut world = World::new(seed, 3, 6);
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.check_minimum = true;
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(2);
        world.assert_quiet();
    }
}

#[test]
fn a_bad_release_ends_as_rolled_back_everywhere() {
    for seed in seeds() {
        for bad in
            [Behaviour::NeverReady, Behaviour::ExitsAtOnce, Behaviour::CrashesLater, Behaviour::CannotPull]
        {
            let mut world = World::new(seed, 3, 6);
            world.deploy(Behaviour::Good);
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            world.check_minimum = bad != Behaviour::CrashesLater;
            world.deploy(bad);
            let want = if bad == Behaviour::CannotPull { State::Failed } else { State::RolledBack };
            assert_eq!(world.run_to_end(), want, "seed {seed} {bad:?}");
            world.assert_all_serve(1);
            world.assert_quiet();
        }
    }
}

#[test]
fn the_first_release_of_a_service_fails_when_it_is_bad_and_nothing_is_left_running() {
    for seed in seeds() {
        let mut world = World::new(seed, 2, 3);
        world.deploy(Behaviour::NeverReady);
        assert_eq!(world.run_to_end(), State::Failed, "seed {seed}");
        assert_eq!(world.running(), 0, "seed {seed}");
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(2);
    }
}

#[test]
fn a_rollout_ends_although_a_host_is_lost_in_the_middle_and_the_host_gets_the_outcome() {
    for seed in seeds() {
        let mut world = World::new(seed, 4, 8);
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.deploy(Behaviour::Good);
        world.run_for(seed % 30);
        world.lose(usize::try_from(seed % 4).unwrap());
        let end = world.run_to_end();
        assert_eq!(end, State::Succeeded, "seed {seed}");
        world.find_all();
        world.run_for(300);
        world.assert_all_serve(2);
        world.assert_quiet();
    }
}

#[test]
fn a_rollout_goes_on_after_the_coordinator_was_killed_at_any_moment() {
    for seed in seeds() {
        let mut world = World::new(seed, 3, 6);
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        let bad = if seed % 2 == 0 { Behaviour::NeverReady } else { Behaviour::Good };
        world.deploy(bad);
        world.run_for(seed % 40);
        world.kill_coordinator(60 + seed % 100);
        let want = if seed % 2 == 0 { State::RolledBack } else { State::Succeeded };
        assert_eq!(world.run_to_end(), want, "seed {seed}");
        world.assert_all_serve(if seed % 2 == 0 { 1 } else { 2 });
        world.assert_quiet();
    }
}

#[test]
fn a_second_deploy_supersedes_the_first_at_any_moment_and_keeps_its_fallback() {
    for seed in seeds() {
        let mut world = World::new(seed, 3, 6);
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.deploy(Behaviour::Good);
        world.run_for(seed % 60);
        world.deploy(Behaviour::NeverReady);
        assert_eq!(world.run_to_end(), State::RolledBack, "seed {seed}");
        let good = world.last_good();
        world.assert_all_serve(good);
        world.assert_quiet();
    }
}

#[test]
fn a_rollback_and_an_abort_end_with_the_old_release_serving() {
    for seed in seeds() {
        let mut world = World::new(seed, 3, 6);
        for _ in 0..2 {
            world.deploy(Behaviour::Good);
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        }
        world.check_minimum = true;
        world.rollback();
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(1);
        world.deploy(Behaviour::Good);
        world.run_for(seed % 60);
        if world.abort() {
            assert_eq!(world.run_to_end(), State::Aborted, "seed {seed}");
            world.assert_all_serve(1);
        }
        world.assert_quiet();
    }
}

#[test]
fn a_drained_host_loses_its_slots_and_the_count_stays() {
    for seed in seeds() {
        let mut world = World::new(seed, 3, 6);
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.check_minimum = true;
        world.drain(0);
        world.run_for(300);
        assert_eq!(world.slots_on(0), 0, "seed {seed}");
        world.assert_all_serve(1);
        world.assert_quiet();
    }
}
