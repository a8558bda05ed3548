//! A container of the host, the word of its probes, and the number of the plan that it was made under.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::capacity::GpuTaken;
use crate::digest::Digest;
use crate::id::{Counter, SlotId};
use crate::observation::{NotReady, ProbeResult, SmokeFailure};
use crate::plan::HostPlan;
use crate::time::Timestamp;

/// A container. What is said of slot and release comes from its labels, which prove nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// Its name in the fleet.
    pub instance: String,
    /// The slot it stands in.
    pub slot: SlotId,
    /// Its release.
    pub release: Digest,
    /// The content of its release.
    pub content: Digest,
    /// The number of its release.
    pub counter: Counter,
    /// Which restart it comes from, as its label says; 0 if from none.
    pub generation: u64,
    /// Which of the slot's two ports it has: 0 or 1.
    pub side: u8,
    /// Its ports on the host, by name.
    pub ports: BTreeMap<String, u16>,
    /// Its memory limit in bytes.
    pub memory: u64,
    /// GPUs it holds.
    pub gpus: Vec<GpuClaim>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The state of its process.
    pub state: ContainerState,
    /// Whether the engine starts it again.
    pub policy: RestartPolicy,
    /// The number of times that the engine has started it again since it was started by us.
    pub restarts: u32,
    /// Exit code of the run before this one, and whether the kernel killed it for memory.
    pub last_exit: Option<(i64, bool)>,
    /// The word of its probes; `None` before the first answer and without probes.
    pub health: Option<Health>,
    /// The answers to the questions beside its probes.
    pub answers: Answers,
    /// The plan under which it was made; `None` if that is not known.
    pub plan: Option<PlanNumber>,
    /// The engine's name of it, for people.
    pub name: String,
    /// Whether it is made as its release says. Only checked where the journal does not know it.
    pub likeness: Likeness,
}

/// Whether a container is made as its release says: image, command, environment, mounts, rights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Likeness {
    /// Nobody looked.
    #[default]
    Unknown,
    /// It is.
    Same,
    /// It is not.
    Other,
}

/// The number of a plan. An epoch outweighs every number of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanNumber {
    /// Its epoch.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
}

impl PlanNumber {
    /// Of this plan.
    pub const fn of(plan: &HostPlan) -> Self {
        Self { epoch: plan.epoch, seq: plan.seq }
    }
}

impl std::fmt::Display for PlanNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

impl std::str::FromStr for PlanNumber {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, seq) = text.split_once('.').unwrap_or(("", text));
        Ok(Self { epoch: epoch.parse()?, seq: seq.parse()? })
    }
}

/// A GPU that a container holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuClaim {
    /// UUID.
    pub uuid: String,
    /// Memory taken on it; the device is exclusive if absent.
    pub memory: Option<u64>,
}

impl GpuClaim {
    /// The part of the device that is taken.
    pub fn taken(&self) -> GpuTaken {
        GpuTaken::of(self.memory)
    }
}

/// The state of a container's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// It has never run.
    Created,
    /// It runs.
    Running {
        /// Since.
        started_at: Timestamp,
    },
    /// It ended, and the engine will start it again by itself.
    Restarting,
    /// It ended.
    Exited {
        /// With this code.
        code: i64,
        /// Killed by the kernel for memory.
        oom_killed: bool,
        /// When.
        finished_at: Timestamp,
    },
}

impl ContainerState {
    /// Returns whether the process runs, or the engine will make it run.
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Running { .. } | Self::Restarting)
    }
}

/// Whether the engine starts a container again that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never: candidates.
    No,
    /// Unless it was stopped on purpose: whatever was healthy for min ready.
    UnlessStopped,
}

/// The word of an instance's probes about its present run.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Whether it is ready.
    pub ready: bool,
    /// Since when it is, or is not.
    pub since: Timestamp,
    /// Whether every answer since the agent began to ask was a good one.
    pub unbroken: bool,
    /// Whether it was ever ready in this run.
    pub was_ready: bool,
    /// Whether it is alive.
    pub live: bool,
    /// Whether the probes have said yes or no, by their own counts, since the agent began to ask. Until then it is only
    /// not known whether it is ready.
    pub decided: bool,
    /// The last answers, the oldest first; at most 10.
    pub history: Vec<ProbeResult>,
    /// The reason for which it is not ready or not alive, if it is not and that is known.
    pub why: Option<NotReady>,
}

/// The answers of an instance in one run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// The beginning of that run.
    pub run: Timestamp,
    /// Warm-up requests that were sent as often as they are to be, or long enough, by their place in the release.
    pub warmed: BTreeSet<usize>,
    /// Smoke tests that have a verdict, by their place in the release.
    pub tested: BTreeMap<usize, Tested>,
}

/// The verdict of a smoke test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tested {
    /// It was answered as wanted.
    Passed,
    /// It was not, in all its tries.
    Failed(Box<SmokeFailure>),
}

/// The result of the checks of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The plan under which they were made.
    pub plan: PlanNumber,
    /// Those that failed, each with its reason.
    pub failed: Vec<String>,
}

impl Container {
    /// The smoke test that it failed in its present run.
    pub(super) fn failed_smoke(&self) -> Option<&SmokeFailure> {
        let ContainerState::Running { started_at } = self.state else { return None };
        let tested = self.answers.tested.values().filter(|_| self.answers.run == started_at);
        let failures = tested.filter_map(|tested| match tested {
            Tested::Failed(failure) => Some(failure.as_ref()),
            Tested::Passed => None,
        });
        failures.into_iter().next()
    }
}
