//! The status of a service, as programs read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::Liveness;
use crate::id::{Counter, EnvironmentId, HostId, RolloutId, ServiceName};
use crate::time::Timestamp;
use crate::view::condition::ConditionView;
use crate::view::trouble::Problem;

use super::instance::InstanceView;
use super::shares::SharesView;

/// A service, as it stands now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StatusView {
    /// Its name.
    pub service: ServiceName,
    /// Its environment.
    pub environment: EnvironmentId,
    /// The release it is at or moves to.
    pub release: Option<Counter>,
    /// The image of that release.
    pub image: Option<String>,
    /// The last release whose rollout succeeded.
    pub good: Option<Counter>,
    /// The rollout that moves it now.
    pub rollout: Option<RolloutId>,
    /// The state of that rollout, or of none: `steady`, or `degraded` while fewer are healthy than wanted or one is in a
    /// crash loop, or
    /// `stopping`, `stopped`, `removing` as a person said.
    pub state: String,
    /// The count a person or its release gave it, if it has one and is at rest.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// Hosts that have not said yet that nothing of it is left there, once it is removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub terminating: BTreeMap<HostId, Liveness>,
    /// `terminating`, as version 0.1 names it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("deprecated" = true))]
    pub leaving: BTreeMap<HostId, Liveness>,
    /// The things that it, or its rollout, waits for, in words.
    #[serde(default)]
    pub waiting: Vec<String>,
    /// Instances it is to have; those it keeps, while it is stopped.
    #[serde(default)]
    pub desired: u32,
    /// `desired`, as version 0.1 names it.
    #[schemars(extend("deprecated" = true))]
    pub wanted: u32,
    /// Instances that are to be healthy in a rollout, too: `desired` less those that may be missing. 0 while nothing is promised:
    /// it is stopped, has no good release yet, or its release replaces all at once.
    #[serde(default)]
    pub minimum: u32,
    /// Slots whose instance has been healthy for min ready.
    #[serde(default)]
    pub available: u32,
    /// Instances that are healthy.
    pub healthy: u32,
    /// Of these, and of those on lost hosts, the ones that were healthy when their host was last heard of, and may
    /// not be now: the host is not connected, or its engine does not answer.
    #[serde(default)]
    pub unknown: u32,
    /// `unknown`, as version 0.1 names it.
    #[serde(default)]
    #[schemars(extend("deprecated" = true))]
    pub in_doubt: u32,
    /// Why its rollout is where it is, in words.
    #[serde(default)]
    pub reason: Option<String>,
    /// End of its last rollout, where nothing runs and nothing moves it: `r1 failed: no host takes it`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The watch over its release, after the rollout of that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<WatchView>,
    /// Shares of two releases in its traffic, while both run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<SharesView>,
    /// Conditions of its instances and slots now.
    #[serde(default)]
    pub conditions: Vec<ConditionView>,
    /// Restarts of its instances, in all.
    #[serde(default)]
    pub restarts: u32,
    /// Conditions of the hosts it is on.
    #[serde(default)]
    pub host_conditions: Vec<ConditionView>,
    /// `host_conditions`, as version 0.1 prints them.
    #[serde(default)]
    #[schemars(extend("deprecated" = true))]
    pub problems: Vec<HostProblems>,
    /// Healthy instances by release.
    pub serving: BTreeMap<Counter, u32>,
    /// Every instance, by slot; the one that serves comes first.
    pub instances: Vec<InstanceView>,
}

/// The watch over a release whose rollout has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WatchView {
    /// The release that is watched.
    pub release: Counter,
    /// When the watch ends.
    pub until: Timestamp,
    /// The release that a trigger of `rollback_on` brings back until then.
    pub back_to: Counter,
}

/// Conditions of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostProblems {
    /// Which.
    pub host: HostId,
    /// The conditions, the most important first.
    pub problems: Vec<Problem>,
}
