//! Steps, done as they were decided. Behaviour does not live here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;
use windlass_core::Digest;
use windlass_core::observation::{TASK_LOG, keep_end};
use windlass_core::reconcile::{Container, Launch, LocalImage, Outcome, StartFailure, Step, Target};

use super::fault;
use crate::runtime::{LogOptions, Runtime, RuntimeError, blame, published_on};

/// Creating and starting takes at most this.
const START: Duration = Duration::from_secs(60);
/// The last lines of something that ended, as they are read.
struct Lines {
    /// The most lines.
    count: u32,
    /// The most bytes of each.
    bytes: usize,
    /// The longest time to read them.
    within: Duration,
}

/// The lines of a failed instance.
const LINES: Lines = Lines { count: 20, bytes: 500, within: Duration::from_secs(2) };
/// The lines of a hook.
const TASK_LINES: Lines = Lines { count: 500, bytes: TASK_LOG, within: Duration::from_secs(10) };

const UNAVAILABLE: &str = "the engine went away";

/// The result of a step.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// Outcomes for the next decision.
    pub(super) outcomes: Vec<Outcome>,
    /// The container as it is now, by the engine's id; `None` if it has gone.
    pub(super) seen: Option<(String, Option<Container>)>,
    /// An image that is here now.
    pub(super) image: Option<(Digest, LocalImage)>,
    /// Whether the known images are out of date.
    pub(super) images_changed: bool,
    /// The networks have changed since they were last listed.
    pub(super) networks_changed: bool,
    /// The engine went away meanwhile: the result is unknown.
    pub(super) unavailable: bool,
    /// The step that failed, for the log.
    pub(super) failed: Option<&'static str>,
}

/// Does a step of a hook.
pub(super) async fn perform_task<R: Runtime>(
    runtime: Arc<R>,
    key: String,
    step: Step,
    address: &str,
) -> Finished {
    let mut finished = match &step {
        Step::CollectLog(target) => {
            let mut finished = collect_log(&*runtime, target, &TASK_LINES).await;
            for outcome in &mut finished.outcomes {
                if let Outcome::Log { lines, .. } = outcome {
                    keep_end(lines, TASK_LOG);
                }
            }
            finished
        }
        _ => perform(runtime, step, address).await,
    };
    let told = finished.outcomes.into_iter();
    finished.outcomes =
        told.map(|outcome| Outcome::Task { key: key.clone(), outcome: Box::new(outcome) }).collect();
    finished
}

/// Does a step of a slot.
pub(super) async fn perform<R: Runtime>(runtime: Arc<R>, step: Step, address: &str) -> Finished {
    let verb = step.verb();
    let finished = match &step {
        Step::Launch(launch) => self::launch(&*runtime, launch, address).await,
        Step::Start(target) => start(&*runtime, target).await,
        Step::Restart(target) => match runtime.stop(&target.container).await {
            Ok(()) => start(&*runtime, target).await,
            Err(error) => failed(target, &error),
        },
        Step::Stop(target) => change(&*runtime, target, runtime.stop(&target.container).await).await,
        Step::KeepRunning(target) => {
            change(&*runtime, target, runtime.keep_running(&target.container).await).await
        }
        Step::Remove(target) => match runtime.remove(&target.container, &target.instance).await {
            Ok(()) => Finished { seen: Some((target.container.clone(), None)), ..Finished::default() },
            Err(error) => failed(target, &error),
        },
        Step::CollectLog(target) => collect_log(&*runtime, target, &LINES).await,
        Step::Pull { .. } | Step::RemoveImage { .. } | Step::Task { .. } => Finished::default(), // no slot's
    };
    if finished.unavailable
        && let Some(slot) = step.slot().cloned()
    {
        // The result is unknown: a failed step, so that the next try comes after a pause.
        let mut outcomes = finished.outcomes;
        outcomes.retain(|outcome| matches!(outcome, Outcome::Launched { .. }));
        outcomes.push(Outcome::StepFailed { slot, message: UNAVAILABLE.to_owned() });
        return Finished { outcomes, failed: Some(verb), ..finished };
    }
    let failed = finished.outcomes.iter().any(Outcome::is_failure).then_some(verb);
    Finished { failed, ..finished }
}

fn failed(target: &Target, error: &RuntimeError) -> Finished {
    let message = windlass_process::report::chain(error);
    let outcome = Outcome::StepFailed { slot: target.slot.clone(), message };
    let outcomes = if error.is_unavailable() { Vec::new() } else { vec![outcome] };
    Finished { outcomes, unavailable: error.is_unavailable(), ..Finished::default() }
}

/// Looks at the container again after it was changed.
async fn change<R: Runtime>(runtime: &R, target: &Target, result: Result<(), RuntimeError>) -> Finished {
    let seen = match result {
        Ok(()) => runtime.inspect(&target.container).await,
        Err(error) => Err(error),
    };
    match seen {
        Ok(seen) => Finished { seen: Some((target.container.clone(), seen)), ..Finished::default() },
        Err(error) => failed(target, &error),
    }
}

async fn start<R: Runtime>(runtime: &R, target: &Target) -> Finished {
    let begun = timeout(START, runtime.start(&target.container)).await;
    let result = match begun.unwrap_or_else(|_| Err(late())) {
        Err(error) => Err(blame(runtime, error).await),
        begun => begun,
    };
    match result {
        Ok(()) => change(runtime, target, Ok(())).await,
        Err(RuntimeError::NotFound { what: "container", .. }) => {
            Finished { seen: Some((target.container.clone(), None)), ..Finished::default() }
        }
        Err(error) => Finished {
            outcomes: start_failed(target, &error, None).into_iter().collect(),
            unavailable: error.is_unavailable(),
            ..Finished::default()
        },
    }
}

const fn late() -> RuntimeError {
    RuntimeError::TimedOut { doing: "start the container", after: START }
}

fn start_failed(target: &Target, error: &RuntimeError, only_port: Option<u16>) -> Option<Outcome> {
    let failure = match error {
        RuntimeError::Unavailable(_) => return None,
        RuntimeError::NotFound { what: "image", .. } => StartFailure::ImageMissing,
        RuntimeError::NameTaken(name) => StartFailure::NameTaken(name.clone()),
        RuntimeError::PortTaken { port } => match (*port, only_port) {
            (0, None) => StartFailure::Failed(error.to_string()),
            (0, Some(only)) => StartFailure::PortTaken(only),
            (port, _) => StartFailure::PortTaken(port),
        },
        RuntimeError::Refused { message, .. } => fault::of(message),
        RuntimeError::Forbidden(why) => StartFailure::Forbidden(why.clone()),
        // A container that can start does so at once: a late one is the host's fault.
        RuntimeError::TimedOut { .. } => StartFailure::Host(error.to_string()),
        RuntimeError::NotFound { .. } => StartFailure::Failed(error.to_string()),
    };
    let (slot, instance, release) = (target.slot.clone(), target.instance.clone(), target.release);
    Some(Outcome::StartFailed { slot, instance, release, failure })
}

async fn launch<R: Runtime>(runtime: &R, launch: &Launch, address: &str) -> Finished {
    let mut target = Target {
        slot: launch.slot.clone(),
        instance: launch.instance.clone(),
        container: String::new(),
        release: launch.release.digest,
    };
    let make = async {
        free(launch, address)?;
        target.container = runtime.create(launch).await?;
        runtime.start(&target.container).await
    };
    let result = match timeout(START, make).await.unwrap_or_else(|_| Err(late())) {
        Err(error) => Err(blame(runtime, error).await),
        made => made,
    };
    match result {
        Ok(()) => {
            let mut finished = change(runtime, &target, Ok(())).await;
            finished.networks_changed = launch.network.is_some();
            let Target { slot, instance, container, .. } = target;
            finished.outcomes.insert(0, Outcome::Launched { slot, instance, container });
            finished
        }
        Err(error) => {
            // The container is of no use, and its name would block the next try.
            if !target.container.is_empty()
                && let Err(error) = runtime.remove(&target.container, &target.instance).await
            {
                tracing::warn!(instance = launch.instance, %error, "a container that did not start stays");
            }
            let image_missing = matches!(error, RuntimeError::NotFound { what: "image", .. });
            let only_port =
                (launch.ports.len() == 1).then(|| launch.ports.values().next().map(|port| port.host));
            Finished {
                outcomes: start_failed(&target, &error, only_port.flatten()).into_iter().collect(),
                seen: (!target.container.is_empty()).then(|| (target.container.clone(), None)),
                images_changed: image_missing,
                networks_changed: launch.network.is_some(),
                unavailable: error.is_unavailable(),
                ..Finished::default()
            }
        }
    }
}

/// Asks the kernel before the engine does, which would make and start a container first.
fn free(launch: &Launch, address: &str) -> Result<(), RuntimeError> {
    for port in launch.ports.values().map(|port| port.host) {
        for host in published_on(address) {
            match std::net::TcpListener::bind((*host, port)) {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    return Err(RuntimeError::PortTaken { port });
                }
                Ok(_) | Err(_) => {} // a port below 1024 may be the engine's to bind, not ours
            }
        }
    }
    Ok(())
}

async fn collect_log<R: Runtime>(runtime: &R, target: &Target, wanted: &Lines) -> Finished {
    let options = LogOptions { tail: Some(wanted.count), ..LogOptions::default() };
    let mut stream = runtime.logs(&target.container, options);
    let mut lines = Vec::new();
    // Evidence is read as far as the time allows: it must not delay the rollback.
    let reading = async {
        while let Some(Ok(line)) = stream.next().await {
            lines.push(cut(line.text, wanted.bytes));
        }
    };
    if timeout(wanted.within, reading).await.is_err() {
        tracing::warn!(instance = target.instance, "the log of a failed instance could not be read in time");
    }
    let outcome = Outcome::Log { slot: target.slot.clone(), instance: target.instance.clone(), lines };
    Finished { outcomes: vec![outcome], ..Finished::default() }
}

fn cut(mut text: String, most: usize) -> String {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
