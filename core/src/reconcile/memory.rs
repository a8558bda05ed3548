//! The memory of an agent between decisions and over its own death.

mod networks;
pub(super) mod tasks;
mod volatile;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{EnvironmentId, ServiceId, SlotId};
use crate::observation::{Evidence, LastExit};
use crate::time::Timestamp;

use super::container::{Container, PlanNumber};
use super::input::Observed;

pub use networks::NetworkMemory;
pub(super) use networks::told;
pub use tasks::TaskMemory;
pub use volatile::{Forbidden, StepTrouble, Volatile};
pub(super) use volatile::{PullTrouble, Restarts, Retry, doubled};

/// Quarantined contents remembered per service; the oldest goes first.
const QUARANTINE_KEPT: usize = 64;

/// Everything a decision needs to know of the past. All but `volatile` is journaled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Slots that have, or had, a container here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slots: BTreeMap<SlotId, SlotMemory>,
    /// Contents that failed here: by service, by content digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quarantine: BTreeMap<ServiceId, BTreeMap<Digest, Quarantined>>,
    /// Images that the agent pulled, by the digest of their manifest: the only ones it may collect.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pulled: BTreeMap<Digest, PulledImage>,
    /// Something here was made under a plan of this number, and one of a lower number counts all the same: this host joined
    /// anew, or its coordinator was set back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overruled: Option<PlanNumber>,
    /// Hooks that were begun here, by rollout and name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, TaskMemory>,
    /// Inner networks of this host, by environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<EnvironmentId, NetworkMemory>,
    /// The journal is new, and nothing has been looked at yet: what is here may be ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopting: bool,
    /// The journal is new, or was older than what runs here, and no plan was carried out since: a hook that the first one names
    /// may have run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsure_of_tasks: bool,
    /// Forgotten with the process: retries and their delays.
    #[serde(skip)]
    pub volatile: Volatile,
}

/// The memory of one slot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotMemory {
    /// The number in the name of the newest instance.
    pub serial: u64,
    /// Two ports of the host per named port.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, [u16; 2]>,
    /// The GPUs of its instances where they are others than those of its target, by release.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<Digest, Vec<String>>,
    /// Its instances, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instances: BTreeMap<String, InstanceMemory>,
    /// The planned release failed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedSlot>,
    /// The failed instance kept for inspection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// Since when it stands still because the coordinator was not heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated_at: Option<Timestamp>,
    /// The release for which a plan's `retry_quarantined` was used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried: Option<Digest>,
}

/// The memory of one instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceMemory {
    /// The engine's id of its container. Without one it is about to be made, or was made by an agent that noted none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// When it was healthy for min ready for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_at: Option<Timestamp>,
    /// The beginning of the run in which it was that last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_run: Option<Timestamp>,
    /// It was stopped on purpose: that it does not run is no failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// The end that a start was decided for: as long as it is the last one, that start was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_end: Option<Timestamp>,
    /// Restarts before the engine's present count began.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// It cannot be started any more (a port of it is taken): to be replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub discard: bool,
    /// Its last end that nobody asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// All its restarts, as they were counted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<u32>,
    /// When it was started again last, the oldest first; a few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restarted: Vec<Timestamp>,
    /// Since when it ends again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_loop: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// A slot whose planned release failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedSlot {
    /// The release.
    pub release: Digest,
    /// Its content.
    pub content: Digest,
    /// The release that is restored in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Digest>,
    /// Why, with evidence.
    pub evidence: Evidence,
    /// Whether the last log lines have been added to the evidence.
    pub complete: bool,
    /// Which restart failed, if it was a new instance of a good release: what it was to replace runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<u64>,
}

/// A content that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantined {
    /// When.
    pub at: Timestamp,
    /// Why, in words.
    pub reason: String,
}

/// An image that the agent pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PulledImage {
    /// The engine's id of it.
    pub id: String,
    /// When it was pulled or last named by a plan.
    pub used_at: Timestamp,
}

/// The number in the name of an instance.
pub(super) fn serial(instance: &str) -> u64 {
    instance.rsplit('.').next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl Memory {
    /// Returns whether a journal written for `other` would be the same.
    pub fn is_journaled_by(&self, other: &Self) -> bool {
        self.slots == other.slots
            && self.quarantine == other.quarantine
            && self.pulled == other.pulled
            && self.overruled == other.overruled
            && self.tasks == other.tasks
            && self.networks == other.networks
            && self.adopting == other.adopting
            && self.unsure_of_tasks == other.unsure_of_tasks
    }

    /// The memory of a host that joins: none. What runs on it may be its own, from before.
    pub fn of_new_host() -> Self {
        Self { adopting: true, unsure_of_tasks: true, ..Self::default() }
    }

    /// The containers that are known to be ours, by the engine's id.
    pub fn containers(&self) -> BTreeSet<&str> {
        let instances = self.slots.values().flat_map(|known| known.instances.values());
        instances.filter_map(|known| known.container.as_deref()).collect()
    }

    /// Returns whether this content of the service failed here.
    pub fn is_quarantined(&self, service: &ServiceId, content: &Digest) -> bool {
        self.quarantine.get(service).is_some_and(|contents| contents.contains_key(content))
    }

    pub(super) fn quarantine(&mut self, service: &ServiceId, content: Digest, what: Quarantined) {
        let contents = self.quarantine.entry(service.clone()).or_default();
        contents.insert(content, what);
        while contents.len() > QUARANTINE_KEPT {
            let oldest = contents.iter().min_by_key(|(_, what)| what.at).map(|(content, _)| *content);
            oldest.and_then(|content| contents.remove(&content));
        }
    }

    pub(super) fn release_from_quarantine(&mut self, service: &ServiceId, content: &Digest) {
        if let Some(contents) = self.quarantine.get_mut(service) {
            contents.remove(content);
            if contents.is_empty() {
                self.quarantine.remove(service);
            }
        }
    }

    pub(super) fn slot(&mut self, slot: &SlotId) -> &mut SlotMemory {
        self.slots.entry(slot.clone()).or_default()
    }

    pub(super) fn instance(&mut self, slot: &SlotId, instance: &str) -> &mut InstanceMemory {
        self.slot(slot).instances.entry(instance.to_owned()).or_default()
    }

    pub(super) fn of(&self, container: &Container) -> Option<&InstanceMemory> {
        self.slots.get(&container.slot)?.instances.get(&container.instance)
    }

    /// Learns from containers that stand here although the memory knows nothing of them: it was lost. That
    /// one does not run is then taken for intention, not for failure.
    pub(super) fn adopt(&mut self, observed: &Observed) {
        for container in &observed.containers {
            let known = self.slot(&container.slot);
            let serial =
                container.instance.rsplit('.').next().and_then(|text| text.parse().ok()).unwrap_or(0);
            known.serial = known.serial.max(serial);
            for (name, port) in &container.ports {
                let pair = known.ports.entry(name.clone()).or_insert([0, 0]);
                let side = usize::from(container.side.min(1));
                if pair[side] == 0 {
                    pair[side] = *port;
                }
            }
            known.instances.entry(container.instance.clone()).or_insert_with(|| InstanceMemory {
                stopped: !container.state.is_up(),
                ..InstanceMemory::default()
            });
        }
    }

    /// Drops what no container and no slot of the plan stands for.
    pub(super) fn forget(&mut self, observed: &Observed, is_wanted: impl Fn(&SlotId) -> bool) {
        let here: BTreeSet<&str> = observed.containers.iter().map(|seen| seen.instance.as_str()).collect();
        for (slot, known) in &mut self.slots {
            if observed.busy.contains(slot) {
                continue;
            }
            // The newest is about to be launched, or was just now.
            let newest = format!(".{}", known.serial);
            known.instances.retain(|name, _| here.contains(name.as_str()) || name.ends_with(&newest));
            if known.kept.as_ref().is_some_and(|kept| !here.contains(kept.as_str())) {
                known.kept = None;
            }
        }
        self.slots.retain(|slot, known| {
            let occupied = known.instances.keys().any(|name| here.contains(name.as_str()));
            occupied || observed.busy.contains(slot) || is_wanted(slot)
        });
        let slots = &self.slots;
        self.volatile.steps.retain(|slot, _| slots.contains_key(slot));
        self.volatile.forbidden.retain(|slot, _| slots.contains_key(slot));
        let is_known = |name: &String| slots.values().any(|known| known.instances.contains_key(name));
        self.volatile.starts.retain(|name, _| is_known(name));
        self.volatile.asked.retain(|name, _| is_known(name));
        if self.volatile.taken_ports.len() > 1024 {
            self.volatile.taken_ports.clear();
        }
    }
}
