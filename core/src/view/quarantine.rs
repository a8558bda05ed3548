//! Contents that failed: `quarantine ls`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{Counter, EnvironmentId, HostId, RolloutId, ServiceName};
use crate::time::Timestamp;

/// Content that failed, and that its hosts do not start again by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct QuarantineView {
    /// The service's name.
    pub service: ServiceName,
    /// The service's environment.
    pub environment: EnvironmentId,
    /// The first release that failed with it.
    pub release: Counter,
    /// Digest of the content: any release that says the same has it.
    pub content: Digest,
    /// The hosts where it failed, as far as its rollouts tell.
    pub hosts: BTreeSet<HostId>,
    /// When it failed first.
    pub since: Timestamp,
    /// The rollout in which it failed first.
    pub rollout: RolloutId,
    /// Why it failed, in words.
    pub reason: String,
}
