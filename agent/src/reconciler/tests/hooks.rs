//! Hooks: on disk before they are made, once over the death of the agent, with the end of what they wrote.

use windlass_core::observation::{TaskOutcome, TaskState};
use windlass_core::plan::Task;
use windlass_core::release::{Hook, HookHosts};

use super::*;

const NAME: &str = "production.web.0.r1.hook.00000001.check";

fn hooked(host: &Host) -> Digest {
    host.release(1, |spec| {
        let (name, run) = ("check".to_owned(), vec!["./check".to_owned(), "all".to_owned()]);
        let timeout = windlass_core::Span::from_secs(300);
        spec.hooks.before = vec![Hook { name, run, gpus: None, timeout, on: HookHosts::Lowest }];
    })
}

fn with_hook(release: Digest) -> PlanSlot {
    let task = Task { rollout: "00000001".parse().unwrap(), hook: "check".to_owned() };
    PlanSlot { phase: Phase::Pulled, task: Some(task), ..running(0, release) }
}

fn state(seen: &Observation) -> Option<TaskState> {
    seen.tasks.first().map(|seen| seen.state.clone())
}

fn outcome(seen: &Observation) -> Option<TaskOutcome> {
    match state(seen)? {
        TaskState::Ended(end) => Some(end.outcome),
        TaskState::Starting | TaskState::Running { .. } => None,
    }
}

impl Host {
    async fn dies(&mut self) {
        self.cancel.cancel();
        self.agent.join_next().await.unwrap().unwrap().unwrap();
    }

    fn made(&self) -> usize {
        self.journal().iter().filter(|line| **line == format!("create {NAME}")).count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_runs_once_over_the_death_of_its_agent() {
    let mut host = Host::new();
    let one = hooked(&host);
    host.engine.world().log = vec!["loading".to_owned(), "\u{1b}[31mno model".to_owned()];
    host.plan(vec![with_hook(one)]);
    host.until(|seen| matches!(state(seen), Some(TaskState::Running { .. }))).await;
    let known = host.disk.0.lock().unwrap().0.tasks.values().next().unwrap().clone();
    assert_eq!((known.instance.as_str(), known.end), (NAME, None), "it is on disk");
    assert!(host.observation.borrow().slots[0].instances.is_empty(), "it is no instance");
    host.dies().await;
    host.engine.exit(NAME, 3);
    host.start_agent();
    host.until(|seen| outcome(seen).is_some()).await;
    let Some(TaskState::Ended(end)) = state(&host.observation.borrow()) else { panic!("it is over") };
    assert_eq!(end.outcome, TaskOutcome::Exited { code: 3 });
    assert_eq!(end.log, ["loading", "[31mno model"]);
    host.dies().await;
    // The journal is lost: the engine still has the container.
    host.disk.0.lock().unwrap().0 = Memory::of_new_host();
    host.start_agent();
    host.until(|seen| outcome(seen) == Some(TaskOutcome::Exited { code: 3 })).await;
    host.plan(vec![PlanSlot { task: None, ..with_hook(one) }]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(host.engine.world().containers.is_empty(), "its container goes");
    assert_eq!(host.made(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_not_made_before_it_is_remembered() {
    let mut host = Host::new();
    let one = hooked(&host);
    host.plan(vec![PlanSlot { task: None, ..with_hook(one) }]);
    host.until(|seen| seen.slots.first().is_some_and(|slot| slot.pulled)).await;
    host.disk.0.lock().unwrap().1 = true;
    host.plan(vec![with_hook(one)]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(host.made(), 0);
    host.disk.0.lock().unwrap().1 = false;
    host.until(|seen| matches!(state(seen), Some(TaskState::Running { .. }))).await;
    assert_eq!(host.made(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_cannot_know_does_not_run_a_hook_again() {
    let mut host = Host::new();
    let one = hooked(&host);
    host.plan(vec![with_hook(one)]);
    host.until(|seen| matches!(state(seen), Some(TaskState::Running { .. }))).await;
    host.dies().await;
    // It was written down; whether its container was ever made, nobody can say.
    host.engine.world().containers.clear();
    host.disk.0.lock().unwrap().0.tasks.values_mut().for_each(|known| known.container = None);
    host.start_agent();
    host.until(|seen| outcome(seen) == Some(TaskOutcome::Interrupted)).await;
    assert_eq!(host.made(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_is_wanted_no_more_is_stopped() {
    let mut host = Host::new();
    let one = hooked(&host);
    host.engine.world().stop_takes = Duration::from_secs(9);
    host.plan(vec![with_hook(one)]);
    host.until(|seen| matches!(state(seen), Some(TaskState::Running { .. }))).await;
    host.plan(vec![PlanSlot { task: None, ..with_hook(one) }]);
    let seq = host.seq;
    host.until(move |seen| seen.seq == seq && !seen.tasks.is_empty()).await;
    let took = host.until(move |seen| seen.seq == seq && seen.tasks.is_empty()).await;
    assert!(took >= Duration::from_secs(8), "it is told of until it has stopped: {took:?}");
    let stopped = host.journal().iter().any(|line| *line == format!("stop {NAME}"));
    assert!(stopped, "{:?}", host.journal());
}
