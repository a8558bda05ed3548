//! The end of a following command: one object for programs, a sentence for people.

use std::collections::BTreeMap;

use serde::Serialize;
use windlass_core::rollout::Kind;
use windlass_core::time::display_measured;
use windlass_core::view::{FailureView, HookView, RolloutView};
use windlass_core::{Counter, EnvironmentId, HostId, RolloutId, ServiceId, ServiceName};

use crate::client::Submitted;
use crate::exit::Exit;
use crate::printer::Colour;
use crate::table;

/// The outcome of a deploy, a rollback or a watch.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub(crate) struct Outcome {
    /// The rollout; none if there was nothing to do.
    pub(crate) rollout: Option<RolloutId>,
    /// The service's name.
    pub(crate) service: ServiceName,
    /// The service's environment.
    pub(crate) environment: EnvironmentId,
    /// The release that was rolled out.
    pub(crate) release: Counter,
    /// The release before.
    pub(crate) from: Option<Counter>,
    /// `succeeded | rolled_back | aborted | failed | paused | superseded | unchanged | timeout`; null while it goes on,
    /// which is how `--detach` ends.
    pub(crate) outcome: Option<String>,
    /// The reason, in words.
    pub(crate) reason: Option<String>,
    /// Whether any container was changed.
    pub(crate) changed: bool,
    /// From the rollout's making to its end, or to now, in milliseconds.
    pub(crate) duration_ms: u64,
    /// The number of healthy instances of each release now.
    pub(crate) serving: BTreeMap<Counter, u32>,
    /// The failures, with evidence.
    pub(crate) failures: Vec<FailureView>,
    /// The hooks that ran, each with its end and the last lines that it wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hooks: Vec<HookView>,
    /// Hosts that were lost and get the outcome when they return.
    pub(crate) stragglers: Vec<HostId>,
}

/// The services that a deploy did not get to: the line before the outcome of the one that failed.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct Skipped {
    /// The services that were not submitted, `environment/service`.
    pub(crate) skipped: Vec<String>,
    /// The service that did not end well.
    pub(crate) because: String,
}

impl Outcome {
    /// Of a rollout, ended or not.
    pub(crate) fn of(view: &RolloutView) -> Self {
        Self {
            rollout: Some(view.rollout.clone()),
            service: view.service.clone(),
            environment: view.environment.clone(),
            release: view.release,
            from: view.from,
            outcome: view.outcome.clone(),
            reason: view.reason.clone(),
            changed: view.changed,
            duration_ms: view.duration_ms,
            serving: view.serving.clone(),
            failures: view.failures.clone(),
            hooks: view.hooks.clone(),
            stragglers: view.stragglers.clone(),
        }
    }

    /// Of a submission that is not followed: nothing to do, or `--detach`.
    pub(crate) fn submitted(service: &ServiceId, submitted: &Submitted) -> Self {
        let unchanged = submitted.rollout.is_none().then(|| "unchanged".to_owned());
        Self {
            rollout: submitted.rollout.clone(),
            service: service.name.clone(),
            environment: service.environment.clone(),
            release: submitted.release,
            from: None,
            outcome: unchanged,
            reason: None,
            changed: false,
            duration_ms: 0,
            serving: BTreeMap::new(),
            failures: Vec::new(),
            hooks: Vec::new(),
            stragglers: Vec::new(),
        }
    }

    /// The hosts that it went on without.
    fn left_out(&self) -> String {
        if self.stragglers.is_empty() {
            return String::new();
        }
        let hosts: Vec<&str> = self.stragglers.iter().map(HostId::as_str).collect();
        let verb = if hosts.len() == 1 { "gets" } else { "get" };
        format!("; not on {}, which {verb} it on return", hosts.join(", "))
    }

    /// The sentence.
    pub(crate) fn sentence(&self, colour: Colour) -> String {
        let what = format!("{}/{} {}", self.environment, self.service, self.release);
        let took = display_measured(std::time::Duration::from_millis(self.duration_ms));
        let why = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let nothing = "nothing serves, there was no earlier release";
        match self.outcome.as_deref() {
            Some("unchanged") => format!("{what}: nothing to change"),
            Some("succeeded") => {
                colour.paint(32, &format!("{what}: succeeded after {took}{}", self.left_out()))
            }
            Some("rolled_back") => {
                let back = self.from.map_or_else(
                    || format!("failed after {took}; {nothing}"),
                    |from| format!("failed and rolled back to {from} after {took}"),
                );
                colour.paint(31, &format!("{what}: {back}{why}"))
            }
            Some("aborted") => {
                let back = self.from.map_or_else(|| nothing.to_owned(), |from| format!("back at {from}"));
                colour.paint(31, &format!("{what}: aborted, {back}{why}"))
            }
            Some("failed") if !self.changed => {
                colour.paint(31, &format!("{what}: failed before anything was changed{why}"))
            }
            Some("failed") => colour.paint(31, &format!("{what}: failed; manual action required{why}")),
            Some("paused") => colour.paint(33, &format!("{what}: paused{why}")),
            Some("superseded") => colour.paint(33, &format!("{what}: another command took over{why}")),
            Some("timeout") => format!("{what}: the timeout passed; it goes on"),
            Some(other) => format!("{what}: {other}{why}"),
            None => format!("{what}: goes on"),
        }
    }
}

/// The text at the end of a rollout: the sentence, and after a failure all evidence.
pub(crate) fn ending(view: &RolloutView, exit: Exit, colour: Colour) -> String {
    let mut text = if exit == Exit::Done { String::new() } else { table::failed_hooks(view, colour) };
    if exit != Exit::Done && !view.failures.is_empty() {
        text.push_str(&table::failures(view, colour));
        text.push('\n');
    } else if exit != Exit::Done {
        text.push_str(&format!("details: windlass rollout show {}\n", view.rollout));
    }
    text.push_str(&Outcome::of(view).sentence(colour));
    if exit == Exit::Stopped && view.outcome.as_deref() == Some("paused") {
        let id = &view.rollout;
        text.push_str(&format!(
            "\ngo on with `windlass rollout resume {id}`, or back with `windlass rollout abort {id}`"
        ));
    }
    if exit == Exit::Stopped && view.outcome.as_deref() == Some("failed") {
        let service = format!("{}/{}", view.environment, view.service);
        text.push_str(&format!("\ndeploy a corrected release, or take it away with `windlass rm {service}`"));
    }
    if view.outcome.as_deref() == Some("failed") && !view.changed && view.kind == Kind::Deploy {
        let number = view.release;
        text.push_str(&format!(
            "\n{number} keeps its number, since it was signed with it: the corrected release gets the next one"
        ));
    }
    if view.reason.as_ref().is_some_and(|reason| reason.contains("host policy: ")) {
        text.push_str(
            "\nthe policy file of a host (default /etc/windlass/policy.toml; of `windlass dev --dir DIR`, DIR/policy.toml) says what may run there; its agent reads it when it starts (`windlass dev restart`)",
        );
    }
    text
}
