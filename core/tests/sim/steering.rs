//! People: pause, resume, abort, supersede, roll back.

use windlass_core::release::OnFailure;
use windlass_core::rollout::{RolloutCommand, State};

use super::fleet::{Behaviour, recreate, spec};
use super::seeds;
use super::world::World;

#[test]
fn second_deploy_supersedes_any_time_and_keeps_the_fallback() {
    for seed in seeds() {
        for moment in [0, 3, 9, 17, 30, 50] {
            let mut world = World::settled(seed, 3, spec(6));
            world.deploy(Behaviour::Good);
            world.run_for(moment + seed % 7);
            world.deploy(Behaviour::NeverReady);
            assert_eq!(world.run_to_end(), State::RolledBack, "seed {seed}");
            let good = world.last_good();
            world.assert_all_serve(good, 6);
        }
    }
}

#[test]
fn chain_of_superseding_deploys_ends_at_last_good_or_last() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(6));
        world.checks.slack = 3;
        for _ in 0..5 {
            let behaviour = [Behaviour::Good, Behaviour::NeverReady, Behaviour::CrashesLater][world.pick(3)];
            world.deploy(behaviour);
            let moment = world.dice(40);
            world.run_for(moment);
        }
        world.deploy(if seed % 2 == 0 { Behaviour::Good } else { Behaviour::ExitsAtOnce });
        let end = world.run_to_end();
        assert_eq!(end, if seed % 2 == 0 { State::Succeeded } else { State::RolledBack }, "seed {seed}");
        let good = world.last_good();
        world.assert_all_serve(good, 6);
        world.assert_quiet();
    }
}

#[test]
fn a_rollback_supersedes_an_active_rollout_at_any_moment() {
    for seed in seeds() {
        for moment in [0, 5, 12, 25] {
            let mut world = World::settled(seed, 3, spec(6));
            let bad = if seed % 2 == 0 { Behaviour::Good } else { Behaviour::NeverReady };
            world.deploy(bad);
            world.run_for(moment + seed % 5);
            if world.state().is_final() {
                continue;
            }
            world.rollback();
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}: {:?}", world.rollout);
            world.assert_all_serve(1, 6);
        }
    }
}

#[test]
fn a_rollback_and_an_abort_end_with_the_old_release_serving() {
    for seed in seeds() {
        for moment in [0, 4, 11, 26, 45] {
            let mut world = World::settled(seed, 3, spec(6));
            world.deploy(Behaviour::Good);
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            world.rollback();
            assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
            world.assert_all_serve(1, 6);
            world.deploy(Behaviour::Good);
            world.run_for(moment + seed % 9);
            if world.steer(RolloutCommand::Abort) {
                assert_eq!(world.run_to_end(), State::Aborted, "seed {seed}");
                world.assert_all_serve(1, 6);
            }
        }
    }
}

#[test]
fn a_pause_takes_no_step_and_goes_on_where_it_was() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(6));
        world.deploy(Behaviour::Good);
        world.run_for(10 + seed % 20);
        assert!(world.steer(RolloutCommand::Pause), "seed {seed}");
        let slots = world.slots.clone();
        world.run_for(500);
        assert_eq!((world.state(), &slots), (State::Paused, &world.slots), "seed {seed}");
        assert!(world.steer(RolloutCommand::Resume), "seed {seed}");
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(2, 6);
    }
}

#[test]
fn paused_failure_retries_once_per_resume_and_can_abort() {
    for seed in seeds() {
        for bad in [Behaviour::NeverReady, Behaviour::CrashesLater] {
            let mut spec = spec(4);
            spec.on_failure = OnFailure::Pause;
            let mut world = World::settled(seed, 2, spec);
            world.checks.slack = if bad == Behaviour::CrashesLater { 3 } else { 0 };
            world.deploy(bad);
            for turn in 0..3 {
                assert!(world.run_until(State::Paused), "seed {seed} {turn}: {:#?}", world.rollout);
                let starts = world.starts(2);
                world.run_for(60);
                assert!(world.steer(RolloutCommand::Resume), "seed {seed}");
                world.run_for(40);
                assert!(world.starts(2) > starts, "seed {seed} {bad:?}: resume {turn} tried nothing");
            }
            assert!(world.run_until(State::Paused), "seed {seed}");
            assert!(world.steer(RolloutCommand::Abort), "seed {seed}");
            assert_eq!(world.run_to_end(), State::Aborted, "seed {seed}");
            world.assert_all_serve(1, 4);
            world.assert_quiet();
        }
    }
}

#[test]
fn only_the_failed_slots_go_back_where_the_manifest_says_so() {
    for seed in seeds() {
        let mut spec = spec(4);
        spec.on_failure = OnFailure::RollbackFailed;
        let mut world = World::settled(seed, 2, spec);
        world.deploy(Behaviour::Good);
        // Its process does not start on the host that comes later.
        let bad = world.digest(2);
        let last = world.slots.last_key_value().unwrap().1.host().clone();
        let broken = world.hosts.iter().position(|host| host.name == last).unwrap();
        world.hosts[broken].engine.broken.insert(bad);
        assert_eq!(world.run_to_end(), State::Failed, "seed {seed}");
        world.run_for(60);
        let serving = |n: usize| world.hosts[n].serving().values().map(|c| c.0).collect::<Vec<_>>();
        assert_eq!(serving(broken), [1, 1], "seed {seed}: {:#?}", world.slots);
        let kept = serving(1 - broken).iter().filter(|counter| **counter == 2).count();
        assert!(kept >= 1, "seed {seed}: none was left: {:#?}", world.slots);
        assert_eq!(world.running(), 4, "seed {seed}: nothing else runs: {:#?}", world.slots);
        world.assert_quiet();
        world.deploy(Behaviour::Good);
        assert_eq!(world.run_to_end(), State::Succeeded, "seed {seed}");
        world.assert_all_serve(3, 4);
    }
}

#[test]
fn an_abort_of_a_recreate_never_runs_two_releases_at_once() {
    for seed in seeds() {
        for moment in [2, 8, 14, 20, 26] {
            let mut spec = spec(4);
            spec.strategy = recreate();
            let mut world = World::settled(seed, 2, spec);
            world.checks.slack = 4;
            world.checks.one_release = true;
            world.deploy(Behaviour::Good);
            world.run_for(moment);
            if world.steer(RolloutCommand::Abort) {
                assert_eq!(world.run_to_end(), State::Aborted, "seed {seed}: {:#?}", world.rollout);
                world.assert_all_serve(1, 4);
            }
        }
    }
}
