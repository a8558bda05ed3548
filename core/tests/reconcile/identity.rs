//! Containers that say they are ours.

use windlass_core::condition::ConditionCode;
use windlass_core::reconcile::{Container, ContainerState, Likeness, Memory, PlanNumber};

use crate::world::*;

/// One release that serves in `c1`.
fn serving() -> World {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    world
}

/// The container that `docker commit` and `docker run` make of it: every label is there, and another image.
fn copy(world: &World, id: &str, state: ContainerState) -> Container {
    let likeness = Likeness::Other;
    Container {
        id: id.to_owned(),
        created_at: world.now,
        state,
        likeness,
        answers: Default::default(),
        ..world.observed.containers[0].clone()
    }
}

fn strangers(world: &World) -> usize {
    world.conditions.iter().filter(|found| found.code == ConditionCode::StrangeContainer).count()
}

/// Nothing was done since, `c1` serves, and so many strangers are told of.
fn is_left_alone(world: &World, done: usize, count: usize) {
    assert_eq!(world.journal[done..], [] as [String; 0]);
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert_eq!(world.seen(&slot(0)).instances[0].container.as_deref(), Some("c1"));
    assert_eq!(strangers(world), count);
}

#[test]
fn a_copy_with_our_labels_is_a_stranger_whatever_it_does() {
    for lost in ["nothing", "the process", "the ids", "the journal"] {
        let mut world = serving();
        let (done, now) = (world.journal.len(), world.now);
        for (id, state) in [
            ("runs", ContainerState::Running { started_at: now }),
            ("created", ContainerState::Created),
            ("ended", ContainerState::Exited { code: 1, oom_killed: false, finished_at: now }),
        ] {
            let copy = copy(&world, id, state);
            world.observed.containers.insert(0, copy);
        }
        match lost {
            "the process" => world.restart_agent(),
            "the ids" => {
                let slots = world.memory.slots.values_mut();
                slots.flat_map(|known| known.instances.values_mut()).for_each(|known| known.container = None);
                world.restart_agent();
            }
            "the journal" => world.memory = Memory::of_new_host(),
            _ => {}
        }
        world.run(secs(600));
        is_left_alone(&world, done, 3);
        assert_eq!(world.memory.containers(), ["c1"].into(), "{lost} was lost");
    }
}

#[test]
fn a_copy_of_what_has_gone_is_not_taken_in_its_stead() {
    let mut world = serving();
    let copy = copy(&world, "copy", ContainerState::Running { started_at: world.now });
    world.observed.containers = vec![Container { ports: Default::default(), ..copy }];
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert_eq!(world.seen(&slot(0)).instances[0].id, "production.web.0.r1.2", "a new one is made");
    assert!(world.observed.containers.iter().any(|seen| seen.id == "copy" && seen.state.is_up()));
    assert_eq!(strangers(&world), 1);
}

#[test]
fn what_is_alike_is_ours_only_where_the_journal_may_not_know() {
    let mut world = serving();
    let done = world.journal.len();
    let likeness = Likeness::Same;
    let twin =
        Container { likeness, ..copy(&world, "twin", ContainerState::Running { started_at: world.now }) };
    let other = "production.web.0.r1.9".to_owned();
    world.observed.containers.push(Container { instance: other, ..twin.clone() });
    world.observed.containers.push(Container { id: "same-name".to_owned(), ..twin });
    world.run(secs(60));
    is_left_alone(&world, done, 2);
}

#[test]
fn what_was_made_before_its_id_was_written_is_found() {
    let mut world = serving();
    let done = world.journal.len();
    let known = world.memory.slots.get_mut(&slot(0)).unwrap();
    known.instances.get_mut("production.web.0.r1.1").unwrap().container = None;
    world.restart_agent();
    world.run(secs(60));
    is_left_alone(&world, done, 0);
    assert_eq!(world.memory.containers(), ["c1"].into());
}

#[test]
fn what_cannot_be_looked_at_is_neither_stopped_nor_replaced() {
    let mut world = serving();
    let done = world.journal.len();
    world.memory = Memory::of_new_host();
    world.observed.containers[0].likeness = Likeness::Unknown;
    world.run(secs(60));
    assert_eq!(world.journal.len(), done);
    world.observed.containers[0].likeness = Likeness::Same;
    world.run(secs(60));
    is_left_alone(&world, done, 0);
}

#[test]
fn labels_of_a_service_that_has_gone_bring_nothing_back() {
    let mut world = serving();
    let copy = copy(&world, "copy", ContainerState::Running { started_at: world.now });
    world.plan(vec![]);
    world.run(secs(60));
    assert!(world.observed.containers.is_empty());
    world.desired.releases.clear();
    world.observed.containers.push(copy);
    let done = world.journal.len();
    world.run(secs(60));
    world.restart_agent();
    world.observed.from_journal = world.desired.plan.as_deref().map(PlanNumber::of);
    world.run(secs(60));
    assert_eq!(world.journal.len(), done);
    assert_eq!(strangers(&world), 1);
}

#[test]
fn what_came_after_an_older_journal_is_found_again() {
    let mut world = serving();
    let (older, from) = (world.memory.clone(), world.desired.plan.clone());
    let two = world.release(2, HEALTHY, |_| {});
    world.plan(vec![good(0, two)]);
    world.run(secs(60));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+");
    world.memory = older;
    world.restart_agent();
    world.observed.from_journal = from.as_deref().map(PlanNumber::of);
    let done = world.journal.len();
    world.run(secs(60));
    assert_eq!(world.journal.len(), done, "the same plan, from a newer copy");
    assert_eq!((world.picture(&slot(0)).as_str(), strangers(&world)), ("r2 healthy+", 0));
}

#[test]
fn what_came_after_a_journal_without_a_plan_is_found() {
    let mut world = World::new();
    world.run(secs(5));
    let older = world.memory.clone();
    let one = world.release(1, HEALTHY, |_| {});
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    let newest = world.desired.clone();
    // Of the release that runs, nothing is here at the first look.
    world.memory = older;
    world.restart_agent();
    world.desired.plan = None;
    world.desired.releases.clear();
    world.observed.from_journal = None;
    world.run(secs(60));
    world.desired = newest;
    world.plan(vec![windlass_core::plan::PlanSlot {
        phase: windlass_core::plan::Phase::Standby,
        ..good(0, one)
    }]);
    world.run(secs(60));
    assert_eq!((world.picture(&slot(0)).as_str(), strangers(&world)), ("r1 standby", 0));
}

#[test]
fn what_a_slot_would_go_back_to_is_missed_and_pulled_again() {
    let mut world = serving();
    let one = world.plan.slots[0].release;
    let two = world.release(2, HEALTHY, |_| {});
    world.plan(vec![replacing(0, two, one, windlass_core::plan::Phase::Standby)]);
    world.run(secs(60));
    assert!(world.picture(&slot(0)).contains("r1 standby"), "{}", world.picture(&slot(0)));
    assert_eq!(world.conditions, []);
    // `docker system prune -a`
    world.observed.containers.retain(|seen| seen.release != one);
    let image = world.desired.releases[&one].release.spec.image.digest;
    world.observed.images.remove(&image);
    world.registry_down = true;
    world.run(secs(1));
    let codes = |world: &World| world.conditions.iter().map(|found| found.code).collect::<Vec<_>>();
    assert_eq!(codes(&world), [ConditionCode::FallbackImageMissing, ConditionCode::StandbyMissing]);
    world.registry_down = false;
    world.run(secs(120));
    assert!(world.observed.images.contains_key(&image), "it is pulled as soon as the registry answers");
    assert_eq!(codes(&world), [ConditionCode::StandbyMissing]);
}
