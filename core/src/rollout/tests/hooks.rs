//! Hooks: what runs when and where, once; and what becomes of a rollout by them.

use std::sync::Arc;

use super::midway::Midway;
use crate::fixture::{at, reference, release, report};
use crate::id::HostId;
use crate::observation::{InstanceState, TaskEnd, TaskObservation, TaskOutcome, TaskState};
use crate::plan::{Phase, Task};
use crate::release::Release;
use crate::rollout::{Kind, Reason, RollbackMode, RolloutCommand, State, steer};
use crate::units::Span;

/// r2 with these hooks; every host has its image.
fn world(hooks: &serde_json::Value, edit: impl Fn(&mut serde_json::Value)) -> Midway {
    let r2 = release(2, |json| {
        (json["version"], json["spec"]["hooks"]) = (4.into(), hooks.clone());
        json["spec"]["soak"] = "1s".into();
        edit(json);
    });
    let mut midway = Midway::between(release(1, |_| {}), r2);
    (midway.rollout.state, midway.rollout.changed) = (State::Preparing, false);
    midway
}

fn hook(name: &str, on: &str) -> serde_json::Value {
    serde_json::json!({ "name": name, "run": ["true"], "timeout": "5m", "on": on })
}

fn before(hooks: &[serde_json::Value]) -> serde_json::Value {
    serde_json::json!({ "before": hooks })
}

/// Every slot is available at r2, and the soak may begin.
fn soaking(hooks: &serde_json::Value, edit: impl Fn(&mut serde_json::Value)) -> Midway {
    let mut midway = world(hooks, edit);
    let r2 = midway.r2.clone();
    for n in 0..3 {
        midway.begin(n);
        midway.see(n, &[(&r2, InstanceState::Healthy)]);
        midway.seen(n).release = Some(reference(&r2).digest);
    }
    (midway.rollout.state, midway.rollout.state_since) = (State::Soaking, at(100));
    midway.rollout.changed = true;
    midway
}

impl Midway {
    /// The hooks that the plans of the hosts name, by slot.
    fn tasks(&self) -> Vec<(u32, String)> {
        let tasks = self.slots.values().filter_map(|slot| Some((slot.id().index, slot.plan().task?.hook)));
        tasks.collect()
    }

    fn tell(&mut self, n: usize, hook: &str, state: TaskState) {
        let (slot, rollout) = (self.slot(n), self.rollout.id.clone());
        let member = self.fleet.members.get_mut(self.slots[&slot].host()).unwrap();
        let seen = Arc::make_mut(member.observation.as_mut().unwrap());
        let task = Task { rollout, hook: hook.to_owned() };
        seen.tasks.retain(|seen| seen.task != task);
        seen.tasks.push(TaskObservation { task, slot, state });
    }

    fn ends(&mut self, n: usize, hook: &str, outcome: TaskOutcome) {
        let end = TaskEnd { outcome, took: Span::from_secs(12), log: vec!["boom".to_owned(), String::new()] };
        self.tell(n, hook, TaskState::Ended(Box::new(end)));
    }

    fn outcome(&self, n: usize) -> Option<TaskOutcome> {
        self.rollout.hooks[n].end.as_ref().map(|end| end.outcome.clone())
    }

    fn reason(&self) -> String {
        self.rollout.reason.as_ref().map(Reason::to_string).unwrap_or_default()
    }

    fn waits(&self) -> Vec<String> {
        self.waiting.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn hooks_before_run_one_after_the_other_and_each_once() {
    let mut midway = world(&before(&[hook("migrate", "lowest"), hook("test", "lowest")]), |_| {});
    midway.step();
    assert_eq!(midway.tasks(), [(0, "migrate".to_owned())], "on the host of the lowest slot");
    midway.step();
    assert_eq!(midway.waits(), ["hook migrate on h0000 to start"]);
    midway.tell(0, "migrate", TaskState::Running { since: at(101) });
    midway.step();
    assert_eq!(midway.waits(), [format!("hook migrate on h0000 (runs since {})", at(101))]);
    assert_eq!(midway.rollout.state, State::Preparing);
    midway.ends(0, "migrate", TaskOutcome::Succeeded);
    midway.step();
    assert_eq!(midway.tasks(), [], "what is over is named no more");
    midway.step();
    assert_eq!(midway.tasks(), [(0, "test".to_owned())]);
    midway.ends(0, "test", TaskOutcome::Succeeded);
    midway.step();
    midway.step();
    assert_eq!(midway.rollout.state, State::Advancing);
    assert_eq!(midway.rollout.hooks.len(), 2, "each once");
    midway.step();
    assert_eq!(midway.tasks(), []);
}

#[test]
fn a_failing_hook_before_ends_the_rollout_untouched() {
    let mut midway = world(&before(&[hook("test", "lowest")]), |_| {});
    midway.step();
    midway.ends(0, "test", TaskOutcome::Exited { code: 3 });
    midway.step();
    assert_eq!(midway.rollout.going_back, Some(RollbackMode::Untouched));
    assert_eq!(midway.reason(), "hook test on h0000 exited with code 3: boom");
    for _ in 0..4 {
        midway.step();
    }
    assert_eq!((midway.rollout.state, midway.rollout.changed), (State::Failed, false));
    assert_eq!(midway.tasks(), []);
}

#[test]
fn a_hook_on_each_host_runs_on_every_host_at_once() {
    let mut midway = world(&before(&[hook("warm", "each")]), |_| {});
    midway.step();
    assert_eq!(midway.tasks().len(), 3);
    for n in 0..2 {
        midway.ends(n, "warm", TaskOutcome::Succeeded);
    }
    midway.step();
    assert_eq!(midway.tasks(), [(2, "warm".to_owned())]);
    assert_eq!(midway.rollout.state, State::Preparing);
    midway.ends(2, "warm", TaskOutcome::TimedOut { after: Span::from_secs(300) });
    midway.step();
    assert_eq!(midway.rollout.going_back, Some(RollbackMode::Untouched));
    assert_eq!(midway.reason(), "hook warm on h0002 was not done after 5m, and was stopped: boom");
}

#[test]
fn a_hook_of_which_nothing_is_heard_fails_after_its_time() {
    let mut midway = world(&before(&[hook("test", "lowest")]), |_| {});
    midway.step();
    assert_eq!(
        midway.rollout.hooks[0].patience,
        Span::from_secs(300 + 10 + 120),
        "its time, to stop, and more"
    );
    midway.rollout.hooks[0].patience = Span::from_secs(50);
    midway.rollout.hooks[0].begun_at = at(61);
    midway.step();
    assert_eq!(midway.outcome(0), None);
    midway.rollout.hooks[0].begun_at = at(60);
    midway.fleet.since = at(61);
    midway.step();
    assert_eq!(midway.outcome(0), None, "what no coordinator has watched does not count");
    midway.fleet.since = at(0);
    midway.step();
    assert_eq!(midway.rollout.going_back, Some(RollbackMode::Untouched));
    assert_eq!(midway.reason(), "hook test on h0000 is lost: nothing was heard of it for 50s");
}

#[test]
fn an_abort_stops_the_hook_before_it_goes_back() {
    let mut midway = world(&before(&[hook("test", "lowest")]), |_| {});
    midway.step();
    midway.tell(0, "test", TaskState::Running { since: at(101) });
    midway.step();
    midway.rollout = steer(&midway.rollout, RolloutCommand::Abort, "ada", at(110)).unwrap();
    midway.step();
    assert_eq!((midway.tasks(), midway.outcome(0)), (vec![], Some(TaskOutcome::Stopped)));
    assert_eq!(midway.waits(), ["hook test on h0000 to stop"]);
    assert_eq!(midway.rollout.state, State::RollingBack);
    for member in midway.fleet.members.values_mut() {
        Arc::make_mut(member.observation.as_mut().unwrap()).tasks.clear();
    }
    for _ in 0..4 {
        midway.step();
    }
    assert_eq!(midway.rollout.state, State::Aborted);
}

#[test]
fn a_rollout_that_takes_over_takes_the_task_away() {
    let mut midway = world(&before(&[hook("test", "lowest")]), |_| {});
    midway.step();
    midway.tell(0, "test", TaskState::Running { since: at(101) });
    let old = midway.rollout.id.clone();
    let r3 = release(3, |json| {
        (json["version"], json["spec"]["hooks"]) = (4.into(), before(&[hook("test", "lowest")]));
    });
    midway.supersede(&r3);
    midway.step();
    let named = |midway: &Midway| {
        midway.slots.values().any(|slot| slot.task().is_some_and(|task| task.rollout == old))
    };
    assert!(!named(&midway), "the hook of the rollout before is stopped");
    assert!(midway.rollout.hooks.is_empty(), "the next one waits until it has: {:?}", midway.waits());
}

#[test]
fn hooks_after_run_before_the_soak_and_have_time_of_their_own() {
    let after = serde_json::json!({ "after": [hook("announce", "lowest")] });
    let mut midway = soaking(&after, |json| json["spec"]["progress_deadline"] = "30s".into());
    midway.step();
    assert_eq!(midway.tasks(), [(0, "announce".to_owned())]);
    midway.step();
    assert_eq!((midway.rollout.state, midway.rollout.soak_since), (State::Soaking, None));
    midway.rollout.state_since = at(0);
    midway.ends(0, "announce", TaskOutcome::Succeeded);
    midway.step();
    assert_eq!(midway.tasks(), []);
    midway.step();
    assert_eq!((midway.rollout.state, midway.rollout.soak_since), (State::Soaking, Some(at(110))));
}

#[test]
fn a_failing_hook_after_does_what_on_failure_says() {
    for (on_failure, state) in [
        ("rollback_all", State::RollingBack),
        ("rollback_failed", State::RollingBack),
        ("pause", State::Paused),
    ] {
        let after = serde_json::json!({ "after": [hook("announce", "lowest")] });
        let mut midway = soaking(&after, |json| json["spec"]["on_failure"] = on_failure.into());
        midway.step();
        midway.ends(0, "announce", TaskOutcome::OutOfMemory);
        midway.step();
        assert_eq!(midway.rollout.state, state, "{on_failure}");
        let back = (state == State::RollingBack).then_some(RollbackMode::RolledBack);
        assert_eq!(midway.rollout.going_back, back, "{on_failure}: it is the release, and no slot");
        assert!(midway.reason().starts_with("hook announce on h0000 was killed for"), "{}", midway.reason());
        if state == State::Paused {
            // It ran once. A person who lets the rollout go on does so without it.
            midway.rollout = steer(&midway.rollout, RolloutCommand::Resume, "ada", at(110)).unwrap();
            for _ in 0..3 {
                midway.step();
            }
            assert_eq!((midway.rollout.state, midway.tasks()), (State::Soaking, vec![]));
            assert!(midway.rollout.hooks[0].excused && midway.rollout.hooks.len() == 1);
        }
    }
}

#[test]
fn only_a_deploy_has_hooks() {
    let hooks = serde_json::json!({ "before": [hook("a", "lowest")], "after": [hook("b", "each")] });
    for kind in [Kind::Rollback, Kind::Restart] {
        let mut midway = world(&hooks, |_| {});
        midway.rollout.kind = kind;
        midway.step();
        midway.step();
        assert_eq!((midway.tasks(), midway.rollout.hooks.len()), (vec![], 0), "{kind:?}");
        assert_eq!(midway.rollout.state, State::Advancing);
    }
}

#[test]
fn the_output_of_many_hooks_fits_into_one_record() {
    let mut midway = world(&before(&[hook("warm", "each")]), |_| {});
    midway.step();
    let run = midway.rollout.hooks[0].clone();
    let host = |n: usize| -> HostId { format!("x{n}").parse().unwrap() };
    let end = |outcome: TaskOutcome| TaskEnd { outcome, took: Span::ZERO, log: vec!["x".repeat(9_000)] };
    midway.rollout.hooks.extend((0..40).map(|n| {
        let mut run = run.clone();
        run.host = host(n);
        let bad = n == 20;
        run.end = Some(end(if bad { TaskOutcome::Interrupted } else { TaskOutcome::Succeeded }));
        run.excused = bad;
        run
    }));
    midway.step();
    let log = |run: &crate::rollout::HookRun| run.end.as_ref().map_or(0, |end| end.log.concat().len());
    let all: usize = midway.rollout.hooks.iter().map(log).sum();
    assert!(all <= 64 * 1024, "{all}");
    let failed = midway.rollout.hooks.iter().find(|run| run.excused).unwrap();
    assert_eq!(log(failed), 9_000, "the output of the one that failed stays whole");
}

#[test]
fn a_release_with_hooks_is_of_version_4() {
    let one: Release = release(1, |json| json["spec"]["hooks"] = before(&[hook("a", "lowest")]));
    assert_eq!(one.spec.version(), 4);
    assert_eq!(release(1, |_| {}).spec.version(), 1);
}

#[test]
fn a_pause_by_a_person_excuses_no_hook() {
    let mut midway = world(&before(&[hook("test", "lowest")]), |_| {});
    midway.step();
    midway.rollout = steer(&midway.rollout, RolloutCommand::Pause, "ada", at(110)).unwrap();
    midway.step();
    assert_eq!(midway.tasks(), [(0, "test".to_owned())], "what runs, runs");
    midway.ends(0, "test", TaskOutcome::Exited { code: 1 });
    midway.step();
    assert_eq!((midway.rollout.state, midway.tasks()), (State::Paused, vec![]));
    midway.rollout = steer(&midway.rollout, RolloutCommand::Resume, "ada", at(110)).unwrap();
    midway.step();
    assert_eq!(midway.rollout.going_back, Some(RollbackMode::Untouched));
}

#[test]
fn a_hook_on_a_host_that_is_left_behind_is_lost() {
    let mut midway = world(&before(&[hook("migrate", "lowest")]), |_| {});
    midway.step();
    let host = midway.rollout.hooks[0].host.clone();
    midway.rollout.stragglers.insert(host);
    midway.rollout.hooks[0].begun_at = at(20);
    midway.step();
    assert!(matches!(midway.outcome(0), Some(TaskOutcome::Lost { .. })), "nobody knows whether it ran");
    midway.step();
    assert_eq!(midway.rollout.going_back, Some(RollbackMode::Untouched), "{}", midway.reason());
}

#[test]
fn a_hook_that_never_stops_holds_up_no_rollout_for_ever() {
    let mut midway =
        world(&before(&[hook("test", "lowest")]), |json| json["spec"]["progress_deadline"] = "30s".into());
    midway.rollout.progress_at = at(100);
    // One of an earlier rollout hangs on the host of the lowest slot.
    let (slot, earlier) = (midway.slot(0), "00000000-0000-0000-0000-00000000dead".parse().unwrap());
    let member = midway.fleet.members.get_mut(midway.slots[&slot].host()).unwrap();
    let task = Task { rollout: earlier, hook: "old".to_owned() };
    let state = TaskState::Running { since: at(1) };
    Arc::make_mut(member.observation.as_mut().unwrap()).tasks.push(TaskObservation { task, slot, state });
    midway.step();
    assert_eq!((midway.rollout.state, midway.tasks()), (State::Preparing, vec![]));
    midway.rollout.progress_at = at(70);
    midway.fleet.since = at(1);
    midway.step();
    assert_eq!(midway.rollout.going_back, Some(RollbackMode::Untouched), "{:?}", midway.waits());
    assert!(midway.reason().contains("a hook that does not stop"), "{}", midway.reason());
}

#[test]
fn a_hook_after_goes_to_no_host_that_is_lost() {
    let lose = |midway: &mut Midway, n: usize| {
        let slot = midway.slot(n);
        let member = midway.fleet.members.get_mut(midway.slots[&slot].host()).unwrap();
        member.liveness = crate::host::Liveness::Lost;
    };
    let after = serde_json::json!({ "after": [hook("announce", "lowest")] });
    let mut midway = soaking(&after, |_| {});
    lose(&mut midway, 0);
    midway.step();
    assert_eq!(midway.tasks(), [(1, "announce".to_owned())], "the lowest that is heard of");

    let after = serde_json::json!({ "after": [hook("announce", "each")] });
    let mut midway = soaking(&after, |json| json["spec"]["progress_deadline"] = "30s".into());
    lose(&mut midway, 0);
    midway.step();
    assert_eq!(midway.tasks(), [(1, "announce".to_owned()), (2, "announce".to_owned())]);
    for n in [1, 2] {
        midway.ends(n, "announce", TaskOutcome::Succeeded);
    }
    midway.step();
    assert_eq!(midway.rollout.state, State::Soaking, "the one that is lost may come back");
    midway.rollout.state_since = at(20);
    midway.rollout.hooks.iter_mut().for_each(|run| run.ended_at = Some(at(30)));
    midway.fleet.since = at(1);
    midway.step();
    assert_eq!(midway.rollout.stragglers.len(), 1, "it is left behind: {:?}", midway.waits());
    assert_eq!(midway.rollout.state, State::Soaking, "{}", midway.reason());
}

#[test]
fn a_host_that_joins_midway_runs_the_hooks_of_each_first() {
    for (outcome, goes_back) in [(TaskOutcome::Succeeded, false), (TaskOutcome::Exited { code: 1 }, true)] {
        let mut midway = world(&before(&[hook("once", "lowest"), hook("warm", "each")]), |_| {});
        midway.step();
        midway.ends(0, "once", TaskOutcome::Succeeded);
        (0..2).for_each(|_| drop(midway.step()));
        (0..3).for_each(|n| midway.ends(n, "warm", TaskOutcome::Succeeded));
        (0..2).for_each(|_| drop(midway.step()));
        assert_eq!(midway.rollout.state, State::Advancing);
        // One host goes for good, and another one takes its instance.
        midway.fleet.members.remove(&"h0000".parse().unwrap());
        midway.fleet.members.insert("h0003".parse().unwrap(), crate::fixture::member());
        for _ in 0..6 {
            midway.step();
            report(&midway.slots, &midway.releases, &mut midway.fleet, InstanceState::Healthy);
        }
        assert_eq!(midway.tasks(), [(3, "warm".to_owned())], "{:?}", midway.waits());
        let run = |midway: &Midway| midway.slots[&midway.slot(2)].run();
        assert_eq!(run(&midway), Phase::Pulled, "not before the hook");
        midway.ends(2, "warm", outcome);
        midway.step();
        assert_eq!(midway.rollout.going_back, goes_back.then_some(RollbackMode::RolledBack));
        for _ in 0..6 {
            report(&midway.slots, &midway.releases, &mut midway.fleet, InstanceState::Healthy);
            midway.step();
        }
        assert_eq!(midway.rollout.hooks.len(), 5, "each once on each host");
        assert!(goes_back || run(&midway) == Phase::Running, "{:?}", midway.waits());
    }
}
