//! An instance, as `status` shows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::{InstanceStats, Liveness, ProbeStats};
use crate::id::{Counter, HostId, SlotId};
use crate::observation::{InstanceState, LastExit, NotReady, Refusal};
use crate::time::Timestamp;

/// An instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InstanceView {
    /// Its name.
    #[serde(default)]
    pub instance: String,
    /// `instance`, as version 0.1 names it.
    #[schemars(extend("deprecated" = true))]
    pub id: String,
    /// Its slot.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
    /// Its state.
    pub state: InstanceState,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Its release.
    pub release: Counter,
    /// Where its ports answer, by name.
    pub endpoints: BTreeMap<String, String>,
    /// When the engine started its present run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Its restarts.
    pub restarts: u32,
    /// Its last exit that nobody asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// Why it is not ready, while it runs and is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<NotReady>,
    /// The engine's id of its container.
    pub container: Option<String>,
    /// Whether the instance's host is there.
    pub host_state: Liveness,
    /// Why that may not be its state now: the host is not heard of, or its engine does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// When its host was last heard of, if it is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Why the slot was refused, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Share of a core in use, 0 to 100 per core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Memory in use, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<u64>,
    /// Its limit, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// Share of the time in which its limit of processors held it back, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_percent: Option<f64>,
    /// Last answer of its probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeStats>,
    /// Its GPUs, by UUID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
}

impl InstanceView {
    /// Shows what was measured of it, if anything was.
    pub(super) fn measured(&mut self, used: Option<&InstanceStats>) {
        self.cpu_percent = used.map(|used| used.cpu_percent);
        self.throttled_percent = used.map(|used| used.throttled_percent);
        self.memory_used = used.map(|used| used.memory_used);
        self.memory_limit = used.map(|used| used.memory_limit);
        self.probe = used.and_then(|used| used.probe);
    }

    /// Why it is not ready, or how it ended last, in words.
    pub fn trouble(&self) -> Option<String> {
        let why = self.not_ready.as_ref().map(ToString::to_string);
        why.or_else(|| self.last_exit.map(|exit| exit.to_string()))
    }
}
