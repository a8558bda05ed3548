//! The differences between a restored coordinator and its hosts, as `host recover` prints them.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{Counter, EnvironmentId, HostId, ServiceName};
use crate::recovery::Difference;
use crate::time::Timestamp;

/// The preview of `host recover`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecoveryView {
    /// Whether nothing is decided until an admin says so.
    pub open: bool,
    /// The sign that the store is older than the fleet; absent if there was none.
    pub cause: Option<String>,
    /// When that was.
    pub since: Option<Timestamp>,
    /// Audit entries that hosts have seen checkpoints of, and that are lost.
    pub lost_audit_entries: u64,
    /// Hosts that are ahead, and hosts that were not heard of.
    pub hosts: Vec<RecoveringHost>,
    /// Changes of services.
    pub services: Vec<RecoveringService>,
    /// Digest of all this: an answer that names it is about this and nothing else.
    pub digest: Digest,
}

/// A host whose plan the store does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecoveringHost {
    /// Its name.
    pub host: HostId,
    /// Where it stands.
    pub state: RecoveringState,
    /// Number of the plan that it holds.
    pub seq: u64,
    /// Number of the newest plan that the store knows of.
    pub known_seq: u64,
    /// When its plan was made.
    pub issued_at: Option<Timestamp>,
    /// When the host signed that it had carried the plan out, if it did.
    pub receipt: Option<Timestamp>,
    /// Differences of its plan from the store, slot by slot.
    pub differences: Vec<Difference>,
    /// Why its plan cannot be taken over, if it cannot.
    pub obstacles: Vec<String>,
}

/// Where a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoveringState {
    /// Its plan would be taken over.
    KeepHost,
    /// It would get what the store knows.
    KeepStore,
    /// It has not said yet which releases it keeps.
    Asked,
    /// Its plan cannot be taken over.
    Stuck,
    /// It has not been heard of since.
    Unheard,
}

impl RecoveringState {
    /// The state as documents and tables write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeepHost => "keep host",
            Self::KeepStore => "keep store",
            Self::Asked => "asked",
            Self::Stuck => "stuck",
            Self::Unheard => "not heard of",
        }
    }
}

/// A service that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecoveringService {
    /// Its environment.
    pub environment: EnvironmentId,
    /// Its name.
    pub service: ServiceName,
    /// The release that the store has it at; absent if the store does not know it.
    pub before: Option<Counter>,
    /// The release that it will be at; absent if no host has it any more.
    pub after: Option<Counter>,
    /// The last release whose rollout succeeded.
    pub good: Option<Counter>,
    /// Whether a paused rollout will wait for a person.
    pub paused: bool,
    /// The number of its next release.
    pub next: Counter,
}
