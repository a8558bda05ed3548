//! One slot first, and once it is available all the others: the example of ARCHITECTURE.md for a new strategy. Only the
//! tests have it.

use super::super::exclusive;
use super::super::planner::Planner;
use super::counts::{Old, RolloutCounts};
use crate::slot::Limits;

pub(super) fn step(planner: &mut Planner<'_>) {
    let Some(mut tally) = RolloutCounts::look(planner, Old::Rests) else { return };
    exclusive::stop_others(planner, &tally.to.digest);
    let limits = match tally.available {
        0 => Limits { batch: 1, ..Limits::NONE },
        _ => Limits::NONE,
    };
    tally.begin(planner, limits);
    tally.close(planner);
}

mod tests {
    use serde_json::json;

    use crate::fixture::{reference, release};
    use crate::release::Release;
    use crate::rollout::tests::shifting::World;
    use crate::rollout::{Kind, RolloutCommand, State};

    fn one_then_all(counter: u64) -> Release {
        release(counter, |json| {
            json["spec"]["scale"] = json!({ "replicas": { "min": 4, "max": 4 } });
            json["spec"]["ports"] = json!({ "http": { "container": 8000 } });
            json["spec"]["main_port"] = "http".into();
            json["spec"]["strategy"] = json!({ "one_then_all": { "min_ready": "5s" } });
        })
    }

    fn world() -> (World, Release, Release) {
        let (r1, r2) = (one_then_all(1), one_then_all(2));
        let mut world = World::at(&r1, 4);
        world.begin(&r2, Kind::Deploy);
        (world, r1, r2)
    }

    #[test]
    fn one_slot_comes_first_and_then_all() {
        let (mut world, r1, r2) = world();
        let mut counts = Vec::new();
        world.until("succeeds", |world| {
            let count = world.running(&r2);
            if counts.last() != Some(&count) {
                counts.push(count);
            }
            world.state() == State::Succeeded
        });
        assert_eq!(counts, [0, 1, 4]);
        assert_eq!(world.running(&r1), 0);
    }

    #[test]
    fn the_way_back_needs_nothing_of_the_strategy() {
        for slot in [0, 2] {
            let (mut world, r1, r2) = world();
            world.fails.insert((reference(&r2).digest, slot));
            world.until("goes back", |world| world.state() == State::RolledBack);
            assert_eq!((world.running(&r1), world.running(&r2)), (4, 0), "slot {slot} fails");
        }
        let (mut world, r1, r2) = world();
        world.until("has begun", |world| world.running(&r2) == 1);
        world.steer(RolloutCommand::Abort);
        world.until("goes back", |world| world.state() == State::Aborted);
        assert_eq!((world.running(&r1), world.running(&r2)), (4, 0));
    }
}
