//! The input of a decision: desired and observed state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::capacity::GpuTaken;
use crate::digest::Digest;
use crate::host::{Gpu, GpuAccess, HostPolicy};
use crate::id::{Counter, EnvironmentId, FleetId, HostId, SlotId};
use crate::observation::{GpuErrors, NotReady, ProbeResult, PullProgress, Refusal, SmokeFailure};
use crate::plan::HostPlan;
use crate::release::{Image, Release};
use crate::time::Timestamp;

use super::ended::Outcome;

/// The room of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Memory in bytes; 0 while unknown.
    pub memory: u64,
    /// Size of the disk that holds the engine's data, in bytes; 0 while unknown.
    pub disk_total: u64,
    /// Free on it, in bytes.
    pub disk_free: u64,
    /// GPUs that can be given away, by UUID, as they are now.
    pub gpus: BTreeMap<String, Gpu>,
    /// The engine's way to give them to containers.
    pub gpu_access: GpuAccess,
    /// The reason for which nobody knows the state of its GPUs, if nobody does.
    pub gpus_silent: Option<String>,
}

/// The desired state of a host: an accepted plan and everything it names.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The host itself.
    pub local: Arc<LocalHost>,
    /// The newest plan that was accepted and journaled. Without one, nothing is started or stopped.
    pub plan: Option<Arc<HostPlan>>,
    /// Releases that this host has verified and may run *now* (steps 1 to 11), by the digest of their
    /// payload: targets, previous ones and fallbacks. What is not in here is never started.
    pub releases: BTreeMap<Digest, Arc<VerifiedRelease>>,
    /// The reason for which the newest offered plan is not `plan`, if it is not; only passed on to the observation.
    pub plan_refusal: Option<Refusal>,
    /// Slots whose release must not be started, with the reason (steps 10 and 11).
    pub refusals: BTreeMap<SlotId, Refusal>,
}

/// This host: its identity, its place and its policy.
#[derive(Debug, Clone)]
pub struct LocalHost {
    /// The fleet.
    pub fleet: FleetId,
    /// The host's name.
    pub host: HostId,
    /// Address at which published ports are reached.
    pub address: String,
    /// Its policy.
    pub policy: HostPolicy,
}

/// A release whose signatures this host has checked.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedRelease {
    /// Digest of its payload.
    pub digest: Digest,
    /// Digest of its content, see [`Release::content_digest`].
    pub content: Digest,
    /// The release.
    pub release: Release,
}

impl VerifiedRelease {
    /// Remembers the content digest, which costs a serialisation.
    pub fn new(digest: Digest, release: Release) -> Self {
        Self { digest, content: release.content_digest(), release }
    }
}

/// The observed state of a host.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Every container that carries the labels of this fleet and host, whoever made it.
    pub containers: Vec<Container>,
    /// Images on the host, by the digest of their manifest or index.
    pub images: BTreeMap<Digest, LocalImage>,
    /// Pulls under way.
    pub pulls: BTreeMap<Digest, PullProgress>,
    /// Whether an image is being removed.
    pub collecting: bool,
    /// Slots with a step under way. They get no other.
    pub busy: BTreeSet<SlotId>,
    /// Hooks with a step under way, by rollout and name.
    pub busy_tasks: BTreeSet<String>,
    /// The outcomes of steps that ended since the last decision; each exactly once.
    pub outcomes: Vec<Outcome>,
    /// Results of the checks that come before a start, by release.
    pub checks: BTreeMap<Digest, Checked>,
    /// Inner networks that the engine has made for this agent, by environment.
    pub networks: BTreeMap<EnvironmentId, Ipv4Net>,
    /// Networks of the host and of its engine that others have. Only looked at where something calls services by name.
    pub subnets: BTreeSet<Ipv4Net>,
    /// The resources of the host.
    pub capacity: Capacity,
    /// When the coordinator was last heard of, or the agent began; `None` if neither is known, which isolates nothing.
    pub coordinator_last_seen: Option<Timestamp>,
    /// Whether the coordinator was heard of since the agent began. An agent that starts anew has heard nothing yet.
    pub heard: bool,
    /// The coordinator's last acknowledged sign of life; `None` before the first.
    pub lease: Option<Lease>,
    /// Processes that ended before this were ended by a reboot of the host or an outage of its engine.
    pub interrupted_before: Timestamp,
    /// Since when probes are asked at all: the start of the agent.
    pub watching_since: Timestamp,
    /// The plan that the journal held when the agent started. Unlike one that was accepted since, it may be from an
    /// older copy of the journal.
    pub from_journal: Option<PlanNumber>,
    /// Errors of the GPUs that containers hold, by the engine's id; nothing of one whose GPUs cannot be asked.
    pub gpu_errors: BTreeMap<String, GpuErrors>,
    /// When the clock of the host was last seen to be set, by the clock as it is now; zero if it was not.
    pub clock_set_at: Timestamp,
}

/// By what an instance that may never run twice runs here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// When the newest heartbeat that was acknowledged was *sent*: the coordinator heard of this host not before.
    pub renewed_at: Timestamp,
    /// Whether the plan in force is the newest that the coordinator had then. Only then may anything start: a host that
    /// comes back may have been replaced.
    pub current: bool,
}

/// An image on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalImage {
    /// The engine's id of it, digest of its configuration.
    pub id: String,
    /// Bytes on disk.
    pub size: u64,
    /// Repositories that the engine resolved the digest from, where the host's policy asks for that (`verify_origin`).
    pub origins: Option<BTreeSet<String>>,
}

impl Observed {
    /// The image that a release was signed with, if it is on the host: from its own repository, where policy asks for that.
    pub fn image(&self, image: &Image) -> Option<&LocalImage> {
        let is_from = |origins: &BTreeSet<String>| origins.contains(&image.repository);
        self.images.get(&image.digest).filter(|local| local.origins.as_ref().is_none_or(is_from))
    }
}

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
