//! The engine's view of containers, in types of the domain.

use std::collections::HashMap;

use bollard::container::LogOutput;
use bollard::models::{
    ContainerInspectResponse, ContainerState as State, ContainerStateStatusEnum as Status, EventMessage,
    HealthStatusEnum as HealthStatus, HealthcheckResult, RestartPolicyNameEnum,
};
use windlass_core::Timestamp;
use windlass_core::observation::{Cause, NotReady, ProbeResult};
use windlass_core::reconcile::{Container, ContainerState, Health, Likeness, LocalHost, RestartPolicy};

use crate::reconciler::word;

use super::super::{EngineEvent, EventKind, labels};

/// `None` if it is not ours.
pub(super) fn container(seen: &ContainerInspectResponse, local: &LocalHost) -> Option<Container> {
    let none = HashMap::new();
    let identity = labels::identity(seen.config.as_ref()?.labels.as_ref().unwrap_or(&none), local)?;
    let host = seen.host_config.as_ref();
    let policy = host.and_then(|host| host.restart_policy.as_ref()).and_then(|policy| policy.name);
    let state = seen.state.as_ref();
    Some(Container {
        id: seen.id.clone()?,
        instance: identity.instance,
        slot: identity.slot,
        release: identity.release,
        content: identity.content,
        counter: identity.counter,
        generation: identity.generation,
        side: identity.side,
        ports: identity.ports,
        memory: host.and_then(|host| host.memory).and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
        gpus: identity.gpus,
        created_at: time(seen.created.as_deref()),
        state: state.map_or(ContainerState::Created, container_state),
        policy: match policy {
            Some(RestartPolicyNameEnum::UNLESS_STOPPED | RestartPolicyNameEnum::ALWAYS) => {
                RestartPolicy::UnlessStopped
            }
            _ => RestartPolicy::No,
        },
        restarts: seen.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
        last_exit: state.filter(|state| state.status == Some(Status::RESTARTING)).map(exit),
        health: state.and_then(health),
        plan: identity.plan,
        name: seen.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned(),
        likeness: Likeness::Unknown,
        answers: Default::default(),
    })
}

fn container_state(state: &State) -> ContainerState {
    match state.status {
        Some(Status::CREATED) => ContainerState::Created,
        Some(Status::RUNNING | Status::PAUSED) => {
            ContainerState::Running { started_at: time(state.started_at.as_deref()) }
        }
        Some(Status::RESTARTING) => ContainerState::Restarting,
        _ => {
            let (code, oom_killed) = exit(state);
            ContainerState::Exited { code, oom_killed, finished_at: time(state.finished_at.as_deref()) }
        }
    }
}

/// The engine's word: paused, or what the HEALTHCHECK of the image says.
fn health(state: &State) -> Option<Health> {
    if state.paused == Some(true) || state.status == Some(Status::PAUSED) {
        return Some(word::paused());
    }
    let seen = state.health.as_ref()?;
    let mut health = match seen.status? {
        HealthStatus::HEALTHY => word::said(true),
        HealthStatus::STARTING => word::said(false),
        HealthStatus::UNHEALTHY => Health { decided: true, ..word::said(false) },
        HealthStatus::NONE | HealthStatus::EMPTY => return None,
    };
    health.history = seen.log.iter().flatten().map(answer).collect();
    if !health.ready {
        let last = health.history.iter().rev().find(|result| !result.ok);
        let mut why = NotReady {
            cause: Cause::Image,
            asked: "image HEALTHCHECK".to_owned(),
            answer: last.map_or_else(|| "no answer yet".to_owned(), |result| result.detail.clone()),
            failed: seen.failing_streak.and_then(|streak| u32::try_from(streak).ok()).unwrap_or(0),
            of: seen.failing_streak.and_then(|streak| u32::try_from(streak).ok()).unwrap_or(0),
            since: Timestamp::ZERO,
        };
        why.bound();
        health.why = Some(why);
    }
    Some(health)
}

/// The result of a run of the HEALTHCHECK: the exit code and the first line that it wrote.
fn answer(seen: &HealthcheckResult) -> ProbeResult {
    let code = seen.exit_code.unwrap_or(-1);
    let line = seen.output.as_deref().unwrap_or_default().trim().lines().next().unwrap_or_default();
    let line: String = line.chars().take(200).collect();
    let detail = if line.is_empty() { format!("exit {code}") } else { format!("exit {code}: {line}") };
    ProbeResult { at: time(seen.end.as_deref()), probe: "image".to_owned(), ok: code == 0, detail }
}

fn exit(state: &State) -> (i64, bool) {
    (state.exit_code.unwrap_or(-1), state.oom_killed.unwrap_or(false))
}

/// The engine writes the year 1 for "never".
fn time(text: Option<&str>) -> Timestamp {
    text.and_then(|text| text.parse().ok()).unwrap_or(Timestamp::ZERO)
}

pub(super) fn event(event: EventMessage) -> Option<EngineEvent> {
    let actor = event.actor?;
    let kind = match event.action.as_deref()? {
        "die" => {
            let code = actor.attributes.as_ref().and_then(|known| known.get("exitCode")?.parse().ok());
            EventKind::Died(code.unwrap_or(-1))
        }
        "oom" => EventKind::OutOfMemory,
        "destroy" => EventKind::Destroyed,
        _ => EventKind::Changed,
    };
    Some(EngineEvent { container: actor.id?, kind })
}

/// An entry of a container's log: a line, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogEntry {
    /// Unix nanoseconds; 0 if the engine does not say.
    pub(super) nanos: i64,
    pub(super) stderr: bool,
    pub(super) text: Vec<u8>,
    /// The line ends here.
    pub(super) is_end: bool,
}

/// `2026-11-22T13:07:44.123456789Z text`, as the engine writes it when asked for times. A part of a line has no line
/// end.
pub(super) fn log_entry(entry: LogOutput) -> LogEntry {
    let (stderr, bytes) = match entry {
        LogOutput::StdErr { message } => (true, message),
        LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
            (false, message)
        }
    };
    let is_end = bytes.last() == Some(&b'\n');
    let mut text = &bytes[..];
    if is_end {
        while let Some((b'\n' | b'\r', rest)) = text.split_last() {
            text = rest;
        }
    }
    let end = text.iter().take(40).position(|byte| *byte == b' ');
    let (time, rest) = end.map_or((text, &[][..]), |at| (&text[..at], &text[at + 1..]));
    let parse = |time: &[u8]| std::str::from_utf8(time).ok()?.parse::<jiff::Timestamp>().ok();
    match parse(time) {
        Some(at) => {
            let nanos = i64::try_from(at.as_nanosecond()).unwrap_or(0).max(0);
            LogEntry { nanos, stderr, text: rest.to_vec(), is_end }
        }
        None => LogEntry { nanos: 0, stderr, text: text.to_vec(), is_end },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_times_are_read() {
        let entry = |text: &str| log_entry(LogOutput::StdOut { message: text.to_owned().into() });
        let read = entry("2026-11-22T13:07:44.123456789Z hello world\n");
        assert_eq!((&read.text[..], read.is_end), (&b"hello world"[..], true));
        assert_eq!(read.nanos, 1_795_352_864_123_456_789);
        assert_eq!(entry("2026-11-22T13:07:44.123456789Z \n").text, b"");
        let part = entry("2026-11-22T13:07:44.123456789Z part");
        assert_eq!((&part.text[..], part.is_end), (&b"part"[..], false));
        assert_eq!(
            entry("no time\n"),
            LogEntry { nanos: 0, stderr: false, text: b"no time".into(), is_end: true }
        );
        assert_eq!(time(Some("0001-01-01T00:00:00Z")), Timestamp::ZERO);
    }
}
