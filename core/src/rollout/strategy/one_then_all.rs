//! One slot first, and once it is available all the others: the example of ARCHITECTURE.md for a new strategy. Only the
//! tests have it.

use super::super::draft::Draft;
use super::super::exclusive;
use super::standing::{Old, Standing};
use crate::slot::Limits;

pub(super) fn step(draft: &mut Draft<'_>) {
    let Some(mut standing) = Standing::look(draft, Old::Rests) else { return };
    exclusive::stop_others(draft, &standing.to.digest);
    let limits = match standing.available {
        0 => Limits { batch: 1, ..Limits::NONE },
        _ => Limits::NONE,
    };
    standing.begin(draft, limits);
    standing.close(draft);
}

mod tests {
    use serde_json::json;

    use crate::release::Release;
    use crate::rollout::tests::fixture::{reference, release};
    use crate::rollout::tests::shifting::World;
    use crate::rollout::{Kind, State, Steering};

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
        world.steer(Steering::Abort);
        world.until("goes back", |world| world.state() == State::Aborted);
        assert_eq!((world.running(&r1), world.running(&r2)), (4, 0));
    }
}
