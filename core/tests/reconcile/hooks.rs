//! Hooks on a host: once, whatever dies; watched by the journal; stopped when nobody wants them.

use windlass_core::host::{Gpu, GpuAccess, GpuHealth};
use windlass_core::observation::{TaskObservation, TaskOutcome, TaskState};
use windlass_core::plan::{Phase, PlanSlot, Task};
use windlass_core::reconcile::{Container, ContainerState, Memory, StartFailure};
use windlass_core::release::{Gpus, Hook, HookHosts};
use windlass_core::{Digest, Span};

use crate::world::*;

const NAME: &str = "production.web.0.r2.hook.00000001.test";

fn hook(gpus: Option<u32>) -> Hook {
    let (name, run) = ("test".to_owned(), vec!["true".to_owned()]);
    Hook { name, run, gpus, timeout: Span::from_secs(60), on: HookHosts::Lowest }
}

fn task(hook: &str) -> Option<Task> {
    Some(Task { rollout: "00000001".parse().unwrap(), hook: hook.to_owned() })
}

/// r1 runs; r2 is pulled and has a hook.
fn world(gpus: Option<u32>) -> (World, Digest, Digest) {
    let mut world = World::new();
    let r1 = world.release(1, HEALTHY, |_| {});
    let r2 = world.release(2, HEALTHY, |spec| spec.hooks.before = vec![hook(gpus)]);
    world.plan(vec![good(0, r1)]);
    world.run(secs(60));
    world.plan(vec![PlanSlot { phase: Phase::Pulled, ..replacing(0, r2, r1, Phase::Running) }]);
    world.run(secs(5));
    (world, r1, r2)
}

fn with_task(world: &mut World, hook: Option<Task>) {
    let mut slots = world.plan.slots.clone();
    slots[0].task = hook;
    world.plan(slots);
}

impl World {
    fn hook(&mut self) -> Option<&mut Container> {
        self.observed.containers.iter_mut().find(|seen| seen.instance == NAME)
    }

    /// The process of the hook ends.
    fn ends(&mut self, code: i64) {
        let finished_at = self.now;
        self.hook().unwrap().state = ContainerState::Exited { code, oom_killed: false, finished_at };
    }

    fn told(&self) -> &TaskState {
        let [TaskObservation { state, .. }] = self.tasks.as_slice() else { panic!("{:?}", self.tasks) };
        state
    }

    fn outcome(&self) -> TaskOutcome {
        let TaskState::Ended(end) = self.told() else { panic!("{:?}", self.told()) };
        end.outcome.clone()
    }

    fn launches(&self) -> usize {
        self.journal.iter().filter(|line| line.ends_with(&format!("launch {NAME}"))).count()
    }
}

#[test]
fn a_hook_runs_once_and_its_end_is_told_until_nobody_asks() {
    let (mut world, r1, _) = world(None);
    with_task(&mut world, task("test"));
    world.run(secs(10));
    assert!(matches!(world.told(), TaskState::Running { .. }), "{:?}", world.told());
    assert!(world.up(&r1), "what serves goes on");
    assert_eq!(world.picture(&slot(0)), "r1 healthy+", "a hook is no instance");
    world.ends(3);
    world.run(secs(1));
    let TaskState::Ended(end) = world.told().clone() else { panic!("{:?}", world.told()) };
    assert_eq!((&end.outcome, end.took), (&TaskOutcome::Exited { code: 3 }, Span::from_secs(10)));
    assert_eq!(end.log, ["boom"]);
    world.run(secs(300));
    assert!(world.hook().is_some(), "its container stays as long as it is asked for");
    assert_eq!((world.outcome(), world.launches()), (TaskOutcome::Exited { code: 3 }, 1));
    with_task(&mut world, None);
    world.run(secs(1));
    assert!(world.tasks.is_empty());
    world.run(secs(1));
    assert!(world.hook().is_none(), "its container goes");
    // A coordinator that asks again gets the answer from before.
    with_task(&mut world, task("test"));
    world.run(secs(60));
    assert_eq!((world.outcome(), world.launches()), (TaskOutcome::Exited { code: 3 }, 1));
}

#[test]
fn an_agent_that_dies_goes_on_watching_and_never_begins_again() {
    let (mut world, ..) = world(None);
    with_task(&mut world, task("test"));
    world.run(secs(5));
    // Between the journal and the answer of the engine: its id was never heard.
    world.memory.tasks.values_mut().for_each(|known| known.container = None);
    world.restart_agent();
    world.run(secs(5));
    assert!(matches!(world.told(), TaskState::Running { .. }), "{:?}", world.told());
    world.ends(0);
    world.run(secs(1));
    assert_eq!((world.outcome(), world.launches()), (TaskOutcome::Succeeded, 1));
}

#[test]
fn a_hook_that_may_have_run_is_interrupted() {
    for known in [true, false] {
        let (mut world, ..) = world(None);
        with_task(&mut world, task("test"));
        world.run(secs(5));
        world.observed.containers.retain(|seen| seen.instance != NAME);
        if !known {
            world.memory.tasks.values_mut().for_each(|task| task.container = None);
        }
        world.restart_agent();
        world.run(secs(60));
        assert_eq!((world.outcome(), world.launches()), (TaskOutcome::Interrupted, 1));
    }
}

/// The journal is lost, or set back to before the hook: the engine's container counts.
#[test]
fn a_hook_runs_once_over_the_loss_of_the_journal() {
    for (lost, ended) in [(true, false), (true, true), (false, false), (false, true)] {
        let (mut world, ..) = world(None);
        let before = world.memory.clone();
        with_task(&mut world, task("test"));
        world.run(secs(5));
        if ended {
            world.ends(3);
            world.run(secs(5));
            assert_eq!(world.outcome(), TaskOutcome::Exited { code: 3 });
        }
        world.memory = if lost { Memory::of_new_host() } else { before };
        world.restart_agent();
        world.run(secs(5));
        if !ended {
            assert!(matches!(world.told(), TaskState::Running { .. }), "{:?}", world.told());
            world.ends(3);
            world.run(secs(5));
        }
        assert_eq!(
            (world.outcome(), world.launches()),
            (TaskOutcome::Exited { code: 3 }, 1),
            "{lost} {ended}"
        );
    }
}

#[test]
fn where_nothing_can_be_known_a_hook_is_not_run_again() {
    let (mut world, ..) = world(None);
    with_task(&mut world, task("test"));
    world.run(secs(5));
    // Journal and container are gone; the next hook, which comes later, runs.
    world.observed.containers.retain(|seen| seen.instance != NAME);
    world.memory = Memory::of_new_host();
    world.restart_agent();
    world.run(secs(60));
    assert_eq!((world.outcome(), world.launches()), (TaskOutcome::Interrupted, 1));
    let again = Some(Task { rollout: "00000002".parse().unwrap(), hook: "test".to_owned() });
    with_task(&mut world, again);
    world.run(secs(5));
    assert!(matches!(world.told(), TaskState::Running { .. }), "{:?}", world.told());
}

#[test]
fn the_container_of_another_hook_is_not_taken_for_it() {
    let (mut world, ..) = world(None);
    with_task(&mut world, task("test"));
    world.run(secs(5));
    world.ends(0);
    world.run(secs(5));
    world.memory.tasks.clear();
    let again = Some(Task { rollout: "00000002".parse().unwrap(), hook: "test".to_owned() });
    with_task(&mut world, again);
    world.run(secs(5));
    assert!(matches!(world.told(), TaskState::Running { .. }), "{:?}", world.told());
    // Only labels say so, not the engine: a copy is nobody's, and where nothing else is known, nothing is.
    world.memory.tasks.clear();
    world.memory.unsure_of_tasks = true;
    world.observed.containers.retain(|seen| seen.instance != NAME);
    for seen in world.observed.containers.iter_mut().filter(|seen| seen.instance.contains(".hook.")) {
        (seen.instance, seen.name) = (NAME.to_owned(), "copy".to_owned());
        seen.state = ContainerState::Exited { code: 0, oom_killed: false, finished_at: world.now };
    }
    with_task(&mut world, task("test"));
    world.run(secs(5));
    assert_eq!(world.outcome(), TaskOutcome::Interrupted);
}

#[test]
fn a_container_that_was_made_and_never_ran_is_started() {
    let (mut world, ..) = world(None);
    with_task(&mut world, task("test"));
    world.run(secs(1));
    world.hook().unwrap().state = ContainerState::Created;
    world.memory.tasks.values_mut().for_each(|known| known.started_at = None);
    world.restart_agent();
    world.run(secs(1));
    assert!(matches!(world.told(), TaskState::Running { .. }), "{:?}", world.told());
    assert_eq!(world.launches(), 1);
}

#[test]
fn the_host_ends_a_hook_after_its_time() {
    let (mut world, ..) = world(None);
    with_task(&mut world, task("test"));
    world.run(secs(59));
    assert!(matches!(world.told(), TaskState::Running { .. }));
    world.run(secs(2));
    assert_eq!(world.outcome(), TaskOutcome::TimedOut { after: Span::from_secs(60) });
    assert!(world.hook().is_some_and(|seen| !seen.state.is_up()));
}

#[test]
fn a_hook_that_the_plan_names_no_more_is_stopped() {
    let (mut world, ..) = world(None);
    with_task(&mut world, task("test"));
    world.run(secs(5));
    with_task(&mut world, None);
    world.turn();
    assert!(matches!(world.told(), TaskState::Running { .. }), "told until it has stopped");
    world.run(secs(5));
    assert!(world.hook().is_none() && world.tasks.is_empty());
    with_task(&mut world, task("test"));
    world.run(secs(5));
    assert_eq!((world.outcome(), world.launches()), (TaskOutcome::Stopped, 1));
}

#[test]
fn a_hook_that_cannot_start_says_why() {
    let (mut world, ..) = world(None);
    world.starts = vec![StartFailure::Failed("no such program".to_owned())];
    with_task(&mut world, task("test"));
    world.run(secs(60));
    assert_eq!(world.outcome(), TaskOutcome::NotStarted { message: "no such program".to_owned() });
    assert_eq!(world.launches(), 1);
}

#[test]
fn only_hooks_of_the_signed_release_run() {
    let (mut world, ..) = world(None);
    with_task(&mut world, task("other"));
    world.run(secs(60));
    let said = world.outcome().to_string();
    assert_eq!(said, "was refused by the host: unsigned_release: release r2 has no hook `other`");
    assert_eq!(world.journal.iter().filter(|line| line.contains(".hook.")).count(), 0);
    // A release that may not start here runs no hook either.
    let r2 = world.plan.slots[0].release;
    world.desired.releases.remove(&r2);
    with_task(&mut world, task("test"));
    world.run(secs(10));
    assert!(world.outcome().to_string().contains("unsigned_release: the release is not here"));
}

fn gpu(uuid: &str) -> (String, Gpu) {
    (uuid.to_owned(), Gpu { uuid: uuid.to_owned(), memory: 8 << 30, ..Gpu::default() })
}

#[test]
fn a_hook_gets_free_gpus_or_a_reason() {
    let (mut world, ..) = world(Some(1));
    world.observed.capacity.gpu_access = GpuAccess::Runtime;
    world.observed.capacity.gpus = ["a", "b"].map(gpu).into();
    let mut slots = world.plan.slots.clone();
    slots[0].gpus = vec!["a".to_owned()]; // r1 is to run on it
    world.plan(slots);
    with_task(&mut world, task("test"));
    world.run(secs(2));
    let gpus: Vec<String> = world.hook().unwrap().gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
    assert_eq!(gpus, ["b"]);

    let (mut world, ..) = self::world(Some(2));
    world.observed.capacity.gpu_access = GpuAccess::Runtime;
    world.observed.capacity.gpus = ["a"].map(gpu).into();
    with_task(&mut world, task("test"));
    world.run(secs(2));
    let said = world.outcome().to_string();
    assert!(said.ends_with("gpu: no free GPU for the hook: 2 needed, 1 of 1 are free"), "{said}");
}

/// r1 serves on `a`, and r2 is to start on `b` when its hook has ended.
#[test]
fn a_hook_runs_on_the_card_that_the_new_release_gets_after_it() {
    let mut world = World::new();
    world.observed.capacity.gpu_access = GpuAccess::Runtime;
    world.observed.capacity.gpus = ["a", "b"].map(gpu).into();
    let alone = Some(Gpus { count: 1, memory: None });
    let r1 = world.release(1, HEALTHY, |spec| spec.resources.gpus = alone);
    let r2 = world.release(2, HEALTHY, |spec| {
        spec.resources.gpus = alone;
        spec.hooks.before = vec![hook(Some(1))];
    });
    let on = |uuid: &str, want: PlanSlot| PlanSlot { gpus: vec![uuid.to_owned()], ..want };
    world.plan(vec![on("a", good(0, r1))]);
    world.run(secs(60));
    world.plan(vec![on("b", PlanSlot { phase: Phase::Pulled, ..replacing(0, r2, r1, Phase::Running) })]);
    world.run(secs(5));
    with_task(&mut world, task("test"));
    world.run(secs(2));
    assert!(matches!(world.told(), TaskState::Running { .. }), "{:?}", world.told());
    let of =
        |world: &mut World| world.hook().unwrap().gpus.iter().map(|gpu| gpu.uuid.clone()).collect::<Vec<_>>();
    assert_eq!(of(&mut world), ["b"]);
    world.ends(0);
    world.run(secs(1));
    assert_eq!(world.outcome(), TaskOutcome::Succeeded);
    world.plan(vec![on("b", replacing(0, r2, r1, Phase::Running))]);
    world.run(secs(60));
    assert!(world.up(&r1) && world.up(&r2), "{}", world.picture(&slot(0)));
    // A device that is well, and has nothing planned on it, is taken first; bad memory is never given.
    let mut ill = World::new();
    ill.observed.capacity.gpu_access = GpuAccess::Runtime;
    ill.observed.capacity.gpus = ["a", "b", "c", "d"].map(gpu).into();
    let health = [("a", GpuHealth::Defective), ("b", GpuHealth::Errors)];
    for (uuid, health) in health {
        ill.observed.capacity.gpus.get_mut(uuid).unwrap().health = health;
    }
    let r2 = ill.release(2, HEALTHY, |spec| spec.hooks.before = vec![hook(Some(1))]);
    ill.plan(vec![on("c", PlanSlot { phase: Phase::Pulled, ..good(0, r2) })]);
    ill.run(secs(5));
    with_task(&mut ill, task("test"));
    ill.run(secs(2));
    assert_eq!(of(&mut ill), ["d"]);
}

#[test]
fn a_container_with_the_labels_of_a_hook_is_no_hook() {
    let (mut world, ..) = world(None);
    with_task(&mut world, task("test"));
    world.run(secs(5));
    let mut copy = world.hook().unwrap().clone();
    (copy.id, copy.name) = ("copy".to_owned(), "copy".to_owned());
    world.observed.containers.push(copy);
    world.ends(0);
    world.run(secs(30));
    assert_eq!(world.outcome(), TaskOutcome::Succeeded);
    assert!(world.observed.containers.iter().any(|seen| seen.id == "copy"), "it is left alone");
}
