//! The input of a decision: desired and observed state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::digest::Digest;
use crate::host::{Gpu, GpuAccess, HostPolicy};
use crate::id::{EnvironmentId, FleetId, HostId, SlotId};
use crate::observation::{GpuErrors, PullProgress, Refusal};
use crate::plan::HostPlan;
use crate::release::{Image, Release};
use crate::time::Timestamp;

use super::container::{Checked, Container, PlanNumber};
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
