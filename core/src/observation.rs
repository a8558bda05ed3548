//! The observation of a host by its agent. Observations are lossless: the newest is sent again until it is
//! acknowledged.

mod devices;
mod evidence;
mod refusal;
mod task;
mod vitals;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::digest::Digest;
use crate::id::{Counter, SlotId};
use crate::time::Timestamp;
use crate::traffic::PortSide;

pub use devices::{GpuError, GpuErrors};
pub use evidence::{Clock, Evidence, FailureReason, Fault, ProbeResult, SmokeFailure};
pub use refusal::{Refusal, RefusalCode};
pub use task::{TASK_LOG, TASK_LOGS, TASKS, TaskEnd, TaskObservation, TaskOutcome, TaskState, keep_end};
pub(crate) use vitals::cut;
pub use vitals::{Cause, LastExit, NotReady, Pending, SlotTrouble, TEXT, TroubleCode, Vitals};

/// Everything an agent says about its slots, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Rises with every change, since the agent started.
    pub revision: u64,
    /// The newest plan the agent has accepted and journaled; 0 if none.
    pub seq: u64,
    /// Whether the engine can be asked. If not, the fields below hold the last known state.
    pub engine: EngineState,
    /// The reason for which the newest offered plan is not in force, if it is not.
    pub plan_refusal: Option<Refusal>,
    /// The reason for which the agent can write nothing down, if it cannot: until then it takes no plan and no step. Instances run
    /// on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritable: Option<String>,
    /// Conditions of the host and its slots, for people; at most [`crate::condition::CONDITIONS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Every slot that the plan lists or that has an instance.
    pub slots: Vec<SlotObservation>,
    /// Every hook that the plan names, and how far it is; at most [`TASKS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskObservation>,
}

impl Observation {
    /// The observation of one slot.
    pub fn slot(&self, slot: &SlotId) -> Option<&SlotObservation> {
        self.slots.iter().find(|seen| &seen.slot == slot)
    }

    /// Cuts every text that is longer than an agent of ours makes it.
    pub fn bound(&mut self) {
        task::bound(&mut self.tasks);
        self.plan_refusal.iter_mut().for_each(Refusal::bound);
        self.unwritable.iter_mut().for_each(|why| cut(why, WORDS));
        if let EngineState::Unavailable(why) = &mut self.engine {
            cut(why, WORDS);
        }
        for slot in &mut self.slots {
            slot.instances.iter_mut().for_each(Instance::bound);
            slot.trouble.iter_mut().for_each(SlotTrouble::bound);
            if let SlotStatus::Failed { evidence, .. } = &mut slot.status {
                evidence.bound();
            }
            for vitals in slot.instances.iter_mut().map(|instance| &mut instance.vitals) {
                vitals.not_ready.iter_mut().for_each(NotReady::bound);
                vitals.pending.iter_mut().for_each(Pending::bound);
                for error in vitals.gpu_errors.iter_mut().flat_map(|errors| &mut errors.last) {
                    cut(&mut error.gpu, NAME);
                    cut(&mut error.what, NAME);
                }
            }
            if let SlotStatus::Refused(refusal) = &mut slot.status {
                refusal.bound();
            }
        }
    }
}

/// Bytes of a reason in words.
const WORDS: usize = 4096;
/// Bytes of a name, and of an address.
const NAME: usize = 512;
/// Ports of an instance.
const PORTS: usize = 64;

impl Instance {
    /// Cuts what is longer than an agent of ours makes it. A name or an address that is too long is nobody's.
    fn bound(&mut self) {
        cut(&mut self.id, NAME);
        self.container.iter_mut().for_each(|id| cut(id, NAME));
        self.endpoints.retain(|name, address| name.len() <= NAME && address.len() <= NAME);
        while self.endpoints.len() > PORTS {
            self.endpoints.pop_last();
        }
    }
}

/// Whether the engine can be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EngineState {
    /// Not asked yet.
    #[default]
    Unknown,
    /// It answers.
    Available,
    /// It does not; the reason in words.
    Unavailable(String),
}

/// The observation of one slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotObservation {
    /// Which slot.
    pub slot: SlotId,
    /// The release that the plan in force wants here.
    pub release: Option<Digest>,
    /// The state of the slot.
    pub status: SlotStatus,
    /// Whether the image of `release` is on the host, and the checks that come before a start are made.
    pub pulled: bool,
    /// The host makes the checks that `release` asks for before its first start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checking: bool,
    /// Progress of a pull under way.
    pub pull: Option<PullProgress>,
    /// The containers of this slot, the newest first.
    pub instances: Vec<Instance>,
    /// The trouble that hinders it, if any does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<SlotTrouble>,
}

impl SlotObservation {
    /// The newest instance of a release that has not failed.
    pub fn instance_of(&self, release: &Digest) -> Option<&Instance> {
        self.current_of(release, 0)
    }

    /// The newest of at least this generation that has not failed.
    pub fn current_of(&self, release: &Digest, generation: u64) -> Option<&Instance> {
        let wanted = |seen: &&Instance| &seen.release == release && seen.generation >= generation;
        self.instances.iter().filter(wanted).find(|seen| seen.state != InstanceState::Failed)
    }
}

/// The state of a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotStatus {
    /// The agent is working towards the plan.
    Converging,
    /// The slot is as the plan says.
    Settled,
    /// Nothing was started, for this reason; what ran, runs.
    Refused(Refusal),
    /// The planned release failed here, and its content is quarantined on this host.
    Failed {
        /// The fallback, once it is restored and serves again; `None` if there is none or not yet.
        restored: Option<Digest>,
        /// Why, with evidence.
        evidence: Box<Evidence>,
    },
}

/// Progress of a pull.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PullProgress {
    /// Bytes here.
    pub done: u64,
    /// Bytes in all, as far as known.
    pub total: u64,
}

/// A container of a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name, unique in the fleet; the label `windlass.instance`.
    pub id: String,
    /// The engine's id of the container.
    pub container: Option<String>,
    /// Its release.
    pub release: Digest,
    /// The number of its release.
    pub counter: Counter,
    /// Its state.
    pub state: InstanceState,
    /// Since when it is that.
    pub since: Timestamp,
    /// Whether it has been healthy for min ready, without a break until now. Judged by the agent's clock.
    pub available: bool,
    /// The addresses of its ports, by name: `address:port`.
    pub endpoints: BTreeMap<String, String>,
    /// The number of its restarts.
    pub restarts: u32,
    /// Which restart that a person asked for it comes from; 0 if from none.
    #[serde(default)]
    pub generation: u64,
    /// It runs since before its agent began, and its probes have said neither yes nor no since. Then nobody knows
    /// whether it serves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", alias = "undecided")]
    pub readiness_unknown: bool,
    /// Which of its slot's two ports it has.
    #[serde(default, skip_serializing_if = "PortSide::is_first")]
    pub side: PortSide,
    /// Its vitals, beside its state.
    #[serde(default)]
    pub vitals: Vitals,
}

/// The state of an instance.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Its image is being pulled.
    Pulling,
    /// It was started and has never been ready.
    Starting,
    /// It has been ready and is not now.
    Unready,
    /// It is ready.
    Healthy,
    /// It finishes what it has.
    Draining,
    /// It is stopped and kept for return.
    Standby,
    /// It is stopped.
    Stopped,
    /// It failed; kept for inspection.
    Failed,
    /// The host refused it.
    Refused,
    /// Nothing was heard of it yet. Only views say so.
    Unknown,
}

impl InstanceState {
    /// The state as documents and tables write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pulling => "pulling",
            Self::Starting => "starting",
            Self::Unready => "unready",
            Self::Healthy => "healthy",
            Self::Draining => "draining",
            Self::Standby => "standby",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// Returns whether the process runs.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Starting | Self::Unready | Self::Healthy | Self::Draining)
    }
}

#[cfg(test)]
mod tests;
