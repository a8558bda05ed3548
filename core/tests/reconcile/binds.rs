//! Releases that bind folders of the host: every start is the agent's, so that the folder is checked before it.

use windlass_core::observation::{Refusal, RefusalCode, SlotStatus};
use windlass_core::plan::{Order, Phase, PlanSlot};
use windlass_core::reconcile::{ContainerState, RestartPolicy};
use windlass_core::release::{Spec, Volume};

use crate::world::*;

fn binds(spec: &mut Spec) {
    let volume = Volume {
        mount: "/data".to_owned(),
        host_path: Some("/srv/a".to_owned()),
        read_only: false,
        shared: false,
    };
    spec.volumes.insert("data".to_owned(), volume);
}

fn forbidden(why: &str) -> SlotStatus {
    SlotStatus::Refused(Refusal { code: RefusalCode::Policy, detail: why.to_owned() })
}

#[test]
fn the_engine_never_restarts_a_container_with_a_bind() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, binds);
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled);
    assert_eq!(world.container("c1").policy, RestartPolicy::No);
    let now = world.now;
    world.container("c1").state = ContainerState::Exited { code: 1, oom_killed: false, finished_at: now };
    world.run(secs(60));
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled, "{:#?}", world.journal);
    assert_eq!(world.container("c1").policy, RestartPolicy::No);
    assert_eq!(world.seen(&slot(0)).instances[0].restarts, 1);
    let done = world.journal.len();
    world.run(secs(3600));
    assert_eq!(world.journal.len(), done, "nothing is left to do");
}

#[test]
fn a_forbidden_start_is_told_and_tried_again() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, binds);
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    world.forbids = Some("`/srv/a` became a link".to_owned());
    let now = world.now;
    world.container("c1").state = ContainerState::Exited { code: 1, oom_killed: false, finished_at: now };
    world.run(secs(200));
    assert_eq!(*world.status(&slot(0)), forbidden("`/srv/a` became a link"), "{:#?}", world.journal);
    let tries = world.journal.iter().filter(|line| line.contains(" start ")).count();
    assert!((3..=10).contains(&tries), "{:#?}", world.journal);
    assert!(world.memory.quarantine.is_empty(), "the release cannot help it");
    // An agent that is restarted asks again, and says it again.
    world.restart_agent();
    world.run(secs(30));
    assert_eq!(*world.status(&slot(0)), forbidden("`/srv/a` became a link"));
    world.forbids = None;
    world.run(secs(120));
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled, "{:#?}", world.journal);
    assert!(world.memory.volatile.forbidden.is_empty());
}

#[test]
fn a_forbidden_candidate_leaves_the_old_instance() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, binds));
    world.plan(vec![good(0, one)]);
    world.run(secs(60));
    world.forbids = Some("not held".to_owned());
    let candidate = |phase| PlanSlot { order: Order::StartFirst, ..replacing(0, two, one, phase) };
    world.plan(vec![candidate(Phase::Running)]);
    world.run(secs(30));
    assert_eq!(*world.status(&slot(0)), forbidden("not held"), "{:#?}", world.journal);
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    assert!(world.memory.quarantine.is_empty());
    // Of a release that is not wanted any more, nothing is told.
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    assert_eq!(*world.status(&slot(0)), SlotStatus::Settled, "{:#?}", world.journal);
}
