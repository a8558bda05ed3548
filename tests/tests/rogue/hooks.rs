//! Hooks by a coordinator that lies: only those of a signed release run, as they were signed, and each once for a rollout.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_core::Digest;
use windlass_core::observation::{TASK_LOG, TaskOutcome, TaskState};
use windlass_tests::rogue::papers::slot;
use windlass_tests::rogue::scene;
use windlass_tests::rogue::server::within;
use windlass_tests::rogue::{Draft, Target};

use super::{check, conclude};

const LIMIT: Duration = Duration::from_secs(30);
const SLOT: &str = "production/hooked/0";

/// A plan in which the release is pulled and nothing of it runs, with this task.
fn plan(target: &Target, release: &Digest, task: &Value) -> Draft {
    let mut slots = target.slots.clone();
    let mut pulled = slot(SLOT, release);
    (pulled["phase"], pulled["good"]) = ("pulled".into(), false.into());
    if !task.is_null() {
        pulled["task"] = task.clone();
    }
    slots.push(pulled);
    Draft::plan(&target.host.name, target.seq + 1, slots).with("version", 3)
}

fn task(rollout: &str, hook: &str) -> Value {
    json!({ "rollout": rollout, "hook": hook })
}

/// The end of the newest plan's hook.
fn outcome(target: &Target) -> Result<TaskOutcome, String> {
    target.rogue.observed(LIMIT, |seen| match seen.tasks.first().map(|task| &task.state) {
        Some(TaskState::Ended(end)) => Ok(end.outcome.clone()),
        other => Err(format!("it has not ended: {other:?}")),
    })
}

fn refused(target: &Target, code: &str, detail: &str) -> Result<(), String> {
    match outcome(target)? {
        TaskOutcome::Refused(refusal) => check(&refusal, code, detail),
        other => Err(format!("it was not refused: {other:?}")),
    }
}

/// The number of times that the engine started a container of a hook since then.
fn starts(target: &Target, since: &str) -> Result<usize, String> {
    let events = scene::events(&target.host.engine, since).map_err(|error| format!("{error:#}"))?;
    Ok(events.iter().filter(|event| event.starts_with("container start") && event.contains(".hook.")).count())
}

/// A name that the signed release does not have, and one of a release that nobody signed.
fn only_signed_hooks(target: &mut Target, signed: &Digest, since: &str) -> Result<(), String> {
    target.accept(&plan(target, signed, &task("00000001", "shell")))?;
    refused(target, "unsigned_release", "has no hook `shell`")?;
    let forged = Draft::release("production/hooked", 9, &target.image).with("version", 4).with(
        "spec.hooks",
        json!({ "before": [{ "name": "check", "run": ["/web", "job", "0"], "timeout": "1m" }] }),
    );
    let forged = forged.seal(windlass_certs::dsse::PayloadType::Release, &target.keys.dispatch.each_ref());
    target.serve(&forged);
    target.accept(&plan(target, &forged.digest, &task("00000001", "check")))?;
    refused(target, "unsigned_release", "unknown_key")?;
    match starts(target, since)? {
        0 => Ok(()),
        some => Err(format!("{some} hooks ran")),
    }
}

/// The same hook of the same rollout, named again and again, over a restart of the agent.
fn once(target: &mut Target, signed: &Digest, since: &str) -> Result<(), String> {
    let wanted = TaskOutcome::Exited { code: 3 };
    for again in 0..3 {
        target.accept(&plan(target, signed, &task("00000002", "check")))?;
        let ended = outcome(target)?;
        if ended != wanted {
            return Err(format!("it ended as {ended:?}, time {again}"));
        }
        target.accept(&plan(target, signed, &Value::Null))?;
        if again == 1 {
            target.restart();
            target.honest()?;
        }
    }
    match starts(target, since)? {
        1 => Ok(()),
        some => Err(format!("the hook ran {some} times")),
    }
}

/// A signed hook that fills its log and does not end: it has its time, and its last 16 KiB.
fn loud(target: &mut Target) -> Result<(), String> {
    let release = Draft::release("production/hooked", 2, &target.image)
        .with("version", 4)
        .with("spec.env", json!({ "LOG_EVERY_MS": "1", "PORT": "8080" }))
        .with("spec.hooks", json!({ "before": [{ "name": "loud", "run": ["/web"], "timeout": "5s" }] }));
    let signed = target.publish(&release).digest;
    target.accept(&plan(target, &signed, &task("00000003", "loud")))?;
    let (outcome, log) = target.rogue.observed(LIMIT, |seen| {
        let loud = seen.tasks.iter().find(|task| task.task.hook == "loud");
        match loud.map(|task| &task.state) {
            Some(TaskState::Ended(end)) => Ok((end.outcome.clone(), end.log.clone())),
            other => Err(format!("it has not ended: {other:?}")),
        }
    })?;
    let bytes: usize = log.iter().map(String::len).sum();
    target.accept(&plan(target, &signed, &Value::Null))?;
    match outcome {
        TaskOutcome::TimedOut { .. } if (1..=TASK_LOG).contains(&bytes) => Ok(()),
        other => Err(format!("it ended as {other:?} with {bytes} bytes of its log")),
    }
}

#[test]
fn a_coordinator_that_lies_runs_no_hook_but_a_signed_one_once() {
    let mut target = Target::start("rogue-hooks", "", |_, _, _| {});
    let since = scene::moment();
    let release = Draft::release("production/hooked", 1, &target.image).with("version", 4).with(
        "spec.hooks",
        json!({ "before": [{ "name": "check", "run": ["/web", "job", "3"], "timeout": "1m" }] }),
    );
    let signed = target.publish(&release).digest;
    let mut wrong = Vec::new();
    let mut note = |what: &str, result: Result<(), String>| {
        wrong.extend(result.err().map(|error| format!("{what}: {error}")));
    };
    note("hooks that nobody signed", only_signed_hooks(&mut target, &signed, &since));
    note("a hook twice", once(&mut target, &signed, &since));
    note("a hook that writes and writes", loud(&mut target));
    note("the next plan", target.honest());
    let gone = || {
        let left = scene::Scene::of(&target.host.engine).map_err(|error| error.to_string())?;
        if left.named(".hook.").is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    };
    note("what is left", within(LIMIT, gone));
    note("the honest service", target.serves());
    conclude(6, &wrong);
}
