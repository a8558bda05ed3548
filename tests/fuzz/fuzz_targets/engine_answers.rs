//! Answers of the engine about containers, events and logs, and labels, which anybody on the host may have set. The
//! agent's reader is private to it, so that its source is built in here.
#![no_main]
#![allow(dead_code)]

use std::collections::HashMap;
use std::sync::LazyLock;

use bollard::container::LogOutput;
use bollard::models::{ContainerInspectResponse, EventMessage};
use libfuzzer_sys::fuzz_target;
use windlass_agent::runtime::{EngineEvent, EventKind, labels};
use windlass_core::reconcile::LocalHost;

/// As in `agent/src/runtime/docker.rs`.
#[path = "."]
mod docker {
    #[path = "../../../agent/src/runtime/docker/inspect.rs"]
    mod inspect;

    type Message = bollard::models::EventMessage;

    pub(crate) fn container(
        seen: &super::ContainerInspectResponse,
        local: &super::LocalHost,
    ) -> Option<windlass_core::reconcile::Container> {
        inspect::container(seen, local)
    }

    pub(crate) fn event(event: Message) -> Option<super::EngineEvent> {
        inspect::event(event)
    }

    /// Whether an entry came from stderr, and the length of its text.
    pub(crate) fn log_entry(entry: super::LogOutput) -> (bool, usize) {
        let entry = inspect::log_entry(entry);
        (entry.stderr, entry.text.len())
    }
}

static LOCAL: LazyLock<LocalHost> = LazyLock::new(|| LocalHost {
    fleet: "lab".parse().expect("a name"),
    host: "h1".parse().expect("a name"),
    address: "127.0.0.1".to_owned(),
    policy: windlass_core::host::HostPolicy::default(),
});

fuzz_target!(|data: &[u8]| {
    if let Ok(seen) = serde_json::from_slice::<ContainerInspectResponse>(data)
        && let Some(container) = docker::container(&seen, &LOCAL)
    {
        let labels = seen.config.and_then(|config| config.labels).expect("no labels, not ours");
        assert_eq!(labels[labels::FLEET], "lab");
        assert_eq!(labels[labels::HOST], "h1");
        assert_eq!(Some(container.id), seen.id);
    }
    if let Ok(event) = serde_json::from_slice::<EventMessage>(data) {
        let actor = event.actor.as_ref().and_then(|actor| actor.id.clone());
        let destroyed = event.action.as_deref() == Some("destroy");
        if let Some(told) = docker::event(event) {
            assert_eq!(Some(told.container), actor);
            assert_eq!(told.kind == EventKind::Destroyed, destroyed);
        }
    }
    let (stderr, length) = docker::log_entry(LogOutput::StdErr { message: data.to_vec().into() });
    assert!(stderr && length <= data.len());
    let Ok(text) = std::str::from_utf8(data) else { return };
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let labels: HashMap<String, String> =
        pairs.map(|(name, value)| (format!("windlass.{name}"), value.to_owned())).collect();
    if let Some(identity) = labels::identity(&labels, &LOCAL) {
        assert_eq!((labels["windlass.fleet"].as_str(), labels["windlass.host"].as_str()), ("lab", "h1"));
        assert_eq!(identity.slot.to_string(), labels["windlass.slot"]);
        assert_eq!(identity.release.to_string(), labels["windlass.release-digest"]);
        assert_eq!(identity.counter.to_string(), labels["windlass.release"]);
    }
});
