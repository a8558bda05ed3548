//! The end of following a service: one object for programs, a sentence for people.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use windlass_core::host::Liveness;
use windlass_core::time::display_measured;
use windlass_core::view::{StatusView, VolumeView};
use windlass_core::{Counter, EnvironmentId, HostId, ServiceId, ServiceName};

use super::goal::{Done, Goal};
use crate::client::Heard;
use crate::exit::Exit;

/// The outcome of `scale`, `stop` or `rm`.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub(crate) struct ServiceOutcome {
    /// The service's name.
    pub(crate) service: ServiceName,
    /// The service's environment.
    pub(crate) environment: EnvironmentId,
    /// `scale | stop | rm`.
    pub(crate) verb: &'static str,
    /// The release that it is at, or was at.
    pub(crate) release: Option<Counter>,
    /// `succeeded | unchanged | superseded`; null while it goes on, which is how a timeout and `--detach` end.
    pub(crate) outcome: Option<&'static str>,
    /// The reason, in words.
    pub(crate) reason: Option<String>,
    /// The count that was asked for; only for `scale`.
    pub(crate) replicas: Option<u32>,
    /// Instances that are available now.
    pub(crate) available: u32,
    /// The reasons for which it waits.
    pub(crate) waiting: Vec<String>,
    /// Hosts that are lost, and get it when they return.
    pub(crate) stragglers: Vec<HostId>,
    /// Named volumes that stay; only for `rm`.
    pub(crate) volumes: Vec<VolumeView>,
    /// The time for which it was followed, in milliseconds.
    pub(crate) duration_ms: u64,
    #[serde(skip)]
    begun_at: Instant,
}

impl ServiceOutcome {
    /// Of what was told just now.
    pub(crate) fn told(service: &ServiceId, goal: Goal, heard: &Heard) -> Self {
        let (verb, replicas) = match goal {
            Goal::Count(count) => ("scale", Some(count)),
            Goal::Stopped => ("stop", None),
            Goal::Gone => ("rm", None),
        };
        Self {
            service: service.name.clone(),
            environment: service.environment.clone(),
            verb,
            release: heard.release,
            outcome: None,
            reason: None,
            replicas,
            available: 0,
            waiting: Vec::new(),
            stragglers: Vec::new(),
            volumes: heard.volumes.clone(),
            duration_ms: 0,
            begun_at: Instant::now(),
        }
    }

    /// With how it ended, and the exit code of that.
    pub(crate) fn ended(mut self, done: Done, unchanged: bool) -> (Self, Exit) {
        self.duration_ms = u64::try_from(self.begun_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (outcome, exit, reason, status) = match done {
            Done::Reached(status) if unchanged => (Some("unchanged"), Exit::Done, None, status),
            Done::Reached(status) => (Some("succeeded"), Exit::Done, None, status),
            Done::Overtaken(status) => {
                let reason = format!("somebody else changed it: it is {}", status.state.replace('_', " "));
                (Some("superseded"), Exit::Superseded, Some(reason), Some(status))
            }
            Done::Timeout(status) => {
                let reason = "the timeout passed; the coordinator goes on";
                (Some("timeout"), Exit::Timeout, Some(reason.to_owned()), status)
            }
            Done::Interrupted(status) => {
                (None, Exit::Interrupted, Some("interrupted; the coordinator goes on".to_owned()), status)
            }
            Done::Detached if unchanged => (Some("unchanged"), Exit::Done, None, None),
            Done::Detached => (None, Exit::Done, None, None),
        };
        (self.outcome, self.reason) = (outcome, reason);
        if let Some(status) = status {
            self.available = status.available;
            self.stragglers = lost(&status);
            self.waiting = status.waiting;
        }
        (self, exit)
    }

    /// The sentence.
    pub(crate) fn sentence(&self) -> String {
        let what = format!("{}/{}", self.environment, self.service);
        let took = display_measured(Duration::from_millis(self.duration_ms));
        let mut text = match (self.outcome, self.verb) {
            (Some("succeeded"), "scale") => {
                format!("{what}: {} of {} available after {took}", self.available, self.replicas.unwrap_or(0))
            }
            (Some("unchanged"), "scale") => {
                format!("{what}: nothing to change, it has {} replicas", self.replicas.unwrap_or(0))
            }
            (Some("succeeded" | "unchanged"), "stop") => {
                format!("{what}: stopped; `windlass restart {what}` starts it again, and so does a deploy")
            }
            (Some("succeeded" | "unchanged"), _) => format!("{what}: removed after {took}"),
            (Some("superseded"), _) => format!("{what}: {}", self.reason.as_deref().unwrap_or_default()),
            _ => {
                let reason = self.reason.as_deref().unwrap_or("it goes on");
                format!("{what}: {reason}; look with `windlass status {what}`")
            }
        };
        if matches!(self.outcome, None | Some("timeout")) && !self.waiting.is_empty() {
            text.push_str(&format!("\nwaiting: {}", self.waiting.join(", ")));
        }
        if !self.stragglers.is_empty() {
            let hosts: Vec<&str> = self.stragglers.iter().map(HostId::as_str).collect();
            text.push_str(&format!("\nlost, and told when they return: {}", hosts.join(", ")));
        }
        for VolumeView { host, volume } in &self.volumes {
            text.push_str(&format!("\nkept on {host}: volume {volume}"));
        }
        text
    }
}

/// Lost hosts that may still run something of it.
fn lost(status: &StatusView) -> Vec<HostId> {
    let leaving = status.terminating.iter().filter(|(_, liveness)| **liveness == Liveness::Lost);
    let mut hosts: Vec<HostId> = leaving.map(|(host, _)| host.clone()).collect();
    let runs = status.instances.iter().filter(|i| i.host_state == Liveness::Lost && i.state.is_running());
    hosts.extend(runs.map(|instance| instance.host.clone()));
    hosts.sort();
    hosts.dedup();
    hosts
}

/// `default/web: 3 of 5 available; waiting: …`.
pub(super) fn line(status: &StatusView) -> String {
    let mut text = format!("{}/{}: ", status.environment, status.service);
    match status.state.as_str() {
        "steady" | "degraded" => {
            text.push_str(&format!("{} of {} available", status.available, status.desired));
        }
        state => text.push_str(state),
    }
    let waits: Vec<&str> = status.waiting.iter().take(3).map(String::as_str).collect();
    if !waits.is_empty() {
        text.push_str(&format!("; waiting: {}", waits.join(", ")));
    }
    if status.waiting.len() > waits.len() {
        text.push_str(&format!(" and {} more", status.waiting.len() - waits.len()));
    }
    text
}
