//! The output of a decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::condition::Condition;
use crate::digest::Digest;
use crate::id::{EnvironmentId, SlotId};
use crate::network::InnerNetwork;
use crate::observation::{SlotObservation, TaskObservation};
use crate::release::Image;
use crate::time::Timestamp;

use super::container::{Container, GpuClaim, PlanNumber};
use super::input::VerifiedRelease;
use super::memory::Memory;
use super::questions::{Ask, WantedChecks};

/// The next steps, the memory to store before them, and the report.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Independent of each other: at most one per slot and per image.
    pub steps: Vec<Step>,
    /// To be on disk before any step is taken.
    pub memory: Memory,
    /// When to decide again if nothing happens before.
    pub wake_at: Option<Timestamp>,
    /// The report, ordered by slot.
    pub slots: Vec<SlotObservation>,
    /// The report of hooks.
    pub tasks: Vec<TaskObservation>,
    /// The conditions, for people.
    pub conditions: Vec<Condition>,
    /// Requests to be sent to instances now. One that was begun goes on as long as it is listed.
    pub asks: Vec<Ask>,
    /// Checks that starts wait for, or were let by. One that has a result under its plan is not made again.
    pub checks: Vec<WantedChecks>,
    /// Inner networks at whose gateways the ingress of this host answers.
    pub networks: Option<Vec<InnerNetwork>>,
    /// Environments whose inner network nothing is in any more: the engine removes it.
    pub unused_networks: Vec<EnvironmentId>,
    /// The plan that was carried out here, if it is newer than the one in force: then nothing is started or stopped.
    pub behind: Option<PlanNumber>,
}

/// One thing to do. It carries all that is needed: who executes it has no choices left. Each may be done
/// twice; "it is already so" is success.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Fetch an image.
    Pull {
        /// Which.
        image: Image,
    },
    /// Remove an image that the agent pulled and nobody needs: the disk is filling up.
    RemoveImage {
        /// Digest of its manifest.
        image: Digest,
        /// The engine's id of it.
        id: String,
    },
    /// Create a container and start it. If it does not start, it is removed.
    Launch(Box<Launch>),
    /// Start a container that stands still.
    Start(Target),
    /// Stop a container gracefully and start it again: it no longer answers.
    Restart(Target),
    /// Stop a container gracefully and keep it.
    Stop(Target),
    /// Remove a container that stands still.
    Remove(Target),
    /// Have the engine start it again whenever it ends, from now on.
    KeepRunning(Target),
    /// Read the last lines it wrote.
    CollectLog(Target),
    /// A step of a hook.
    Task {
        /// Rollout and name of the hook.
        key: String,
        /// The step: launch, start, stop, collect log or remove.
        step: Box<Step>,
    },
}

impl Step {
    /// The slot it belongs to; images belong to none.
    pub fn slot(&self) -> Option<&SlotId> {
        match self {
            Self::Pull { .. } | Self::RemoveImage { .. } => None,
            Self::Task { step, .. } => step.slot(),
            Self::Launch(launch) => Some(&launch.slot),
            Self::Start(target)
            | Self::Restart(target)
            | Self::Stop(target)
            | Self::Remove(target)
            | Self::KeepRunning(target)
            | Self::CollectLog(target) => Some(&target.slot),
        }
    }

    /// The verb, for logs.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Pull { .. } => "pull",
            Self::RemoveImage { .. } => "remove image",
            Self::Launch(_) => "launch",
            Self::Start(_) => "start",
            Self::Restart(_) => "restart",
            Self::Stop(_) => "stop",
            Self::Remove(_) => "remove",
            Self::KeepRunning(_) => "keep running",
            Self::CollectLog(_) => "collect log",
            Self::Task { step, .. } => step.verb(),
        }
    }
}

/// The container that a step is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its slot.
    pub slot: SlotId,
    /// Its name in the fleet.
    pub instance: String,
    /// The engine's id.
    pub container: String,
    /// Its release.
    pub release: Digest,
}

impl Target {
    pub(super) fn of(seen: &Container) -> Self {
        Self {
            slot: seen.slot.clone(),
            instance: seen.instance.clone(),
            container: seen.id.clone(),
            release: seen.release,
        }
    }
}

/// A container to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The plan that it is made for.
    pub plan: PlanNumber,
    /// Its slot.
    pub slot: SlotId,
    /// Its name in the fleet.
    pub instance: String,
    /// The release that runs.
    pub release: Arc<VerifiedRelease>,
    /// Which restart it comes from.
    pub generation: u64,
    /// The engine's id of the image.
    pub image: String,
    /// Which of the slot's two ports it has: 0 or 1.
    pub side: u8,
    /// Its ports, by name.
    pub ports: BTreeMap<String, LaunchPort>,
    /// Devices it gets.
    pub gpus: Vec<GpuClaim>,
    /// The inner network that it is in; the engine's usual one if absent.
    pub network: Option<LaunchNetwork>,
    /// The hook that it runs, in place of an instance.
    pub hook: Option<LaunchHook>,
}

/// The inner network of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchNetwork {
    /// The engine's name of it.
    pub name: String,
    /// Its addresses. The ingress answers at the first one.
    pub subnet: Ipv4Net,
}

/// The hook that a container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchHook {
    /// Its name.
    pub name: String,
    /// Program and arguments.
    pub run: Vec<String>,
}

/// A port of a container to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchPort {
    /// The port on which the process listens.
    pub container: u16,
    /// The port at which it is published.
    pub host: u16,
}
