//! Start-first services: the common case.

use windlass_core::rollout::State;

use super::fleet::{Behaviour, spec};
use super::seeds;
use super::world::World;

#[test]
fn good_release_succeeds_everywhere_above_the_minimum() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(6));
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(2, 6);
        world.assert_quiet();
    }
}

#[test]
fn a_bad_release_ends_as_rolled_back_everywhere() {
    for seed in seeds() {
        for bad in
            [Behaviour::NeverReady, Behaviour::ExitsAtOnce, Behaviour::CrashesLater, Behaviour::CannotPull]
        {
            let mut world = World::settled(seed, 3, spec(6));
            // A release that crashes after it was available takes the slots along that were proven by then.
            world.checks.slack = if bad == Behaviour::CrashesLater { 3 } else { 0 };
            world.deploy(bad);
            let want = if bad == Behaviour::CannotPull { State::Failed } else { State::RolledBack };
            assert_eq!(world.run_to_end(), want, "seed {seed} {bad:?}");
            world.assert_all_serve(1, 6);
            world.assert_quiet();
        }
    }
}

#[test]
fn bad_first_release_fails_and_leaves_nothing_running() {
    for seed in seeds() {
        let mut world = World::new(seed, 2, 3);
        world.deploy(Behaviour::NeverReady);
        assert_eq!(world.run_to_end(), State::Failed, "seed {seed}");
        assert_eq!(world.running(), 0, "seed {seed}");
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(2, 3);
    }
}

#[test]
fn the_same_release_again_touches_nothing_and_stays_good() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(6));
        world.redeploy();
        world.run_for(2);
        assert!(world.slots.values().all(|a| a.is_good()), "seed {seed}: what is good stays good");
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        assert!(!world.rollout.as_ref().unwrap().changed, "seed {seed}");
        world.assert_all_serve(1, 6);
        world.assert_quiet();
    }
}

#[test]
fn two_hundred_slots_take_several_steps_each_way() {
    let mut world = World::settled(0, 10, spec(200));
    world.deploy(Behaviour::Good);
    assert_eq!(world.run_to_end(), State::Succeeded);
    world.assert_all_serve(2, 200);
    world.rollback();
    let begun = world.now;
    assert_eq!(world.run_to_end(), State::Succeeded);
    assert!(world.now - begun < 90, "a rollback of 200 took {} s", world.now - begun);
    world.assert_all_serve(1, 200);
    world.deploy(Behaviour::NeverReady);
    assert_eq!(world.run_to_end(), State::RolledBack);
    world.assert_all_serve(1, 200);
}

#[test]
fn a_rollback_begins_all_ten_at_once() {
    for seed in seeds() {
        for hosts in [1, 2, 10] {
            let mut world = World::settled(seed, hosts, spec(10));
            world.deploy(Behaviour::Good);
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            world.rollback();
            assert!(world.run_until(State::Advancing), "seed {seed}");
            let good = world.digest(1);
            let begun = world
                .slots
                .values()
                .filter(|a| a.release() == good && a.run() == windlass_core::plan::Phase::Running);
            assert_eq!(begun.count(), 10, "seed {seed}");
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            world.assert_all_serve(1, 10);
        }
    }
}
