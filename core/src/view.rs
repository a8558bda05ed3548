//! The views for people and scripts: the shapes behind `-o json`, made from stored and observed state.
//!
//! Field names are stable. The coordinator makes these, the CLI prints them; nothing else reads them.

mod condition;
mod course;
mod explain;
mod gates;
mod history;
mod hooks;
mod host;
mod narrowed;
mod operator;
mod preview;
mod quarantine;
mod recomputed;
mod recovery;
mod rollout;
mod routes;
mod screen;
mod status;
mod trouble;
mod waiting;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{Counter, EnvironmentId, HostId, ServiceName};
use crate::rollout::State;
use crate::time::Timestamp;

pub use condition::{CONDITIONS, ConditionView, conditions, of_slot};
pub use explain::{DecisionView, ExplainView, explain};
pub use gates::GateView;
pub use history::{ColumnsView, HistoryView, history};
pub use hooks::HookView;
pub use host::{GpuHolder, HostView, gpu_holders, host};
pub use narrowed::narrow;
pub use operator::OperatorView;
pub use preview::{Action, PlannedSlot, PreviewView, RefusedHost, preview};
pub use quarantine::QuarantineView;
pub use recomputed::{RecomputedVerdict, RecomputedView, recomputed};
pub use recovery::{RecoveringHost, RecoveringService, RecoveringState, RecoveryView};
pub use rollout::{AskedView, FailureView, RolloutView, SlotView, TrafficView, rollout};
pub use routes::{
    EndpointView, IngressState, IngressView, RecentView, RoutedView, RoutesView, ShareView, routes,
    routes_conditions,
};
pub use screen::{
    Board, FILTER, GpuRow, IngressRow, InstanceRow, Key, ROWS, RouteRow, RowView, ScreenView, ServiceRow,
    Wanted, choose,
};
pub use status::{HostProblems, InstanceView, SharesView, StatusView, WatchView, status};
pub use trouble::{Problem, Trouble, host_codes};

/// A release in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReleaseView {
    /// Its number.
    pub release: Counter,
    /// The service's environment.
    pub environment: EnvironmentId,
    /// The service's name.
    pub service: ServiceName,
    /// Digest of its payload.
    pub digest: Digest,
    /// The image, as the manifest asked for it.
    pub image: String,
    /// The image's digest.
    pub image_digest: Digest,
    /// Its author.
    pub author: String,
    /// When.
    pub created_at: Timestamp,
    /// Whether the release's rollout succeeded.
    pub good: bool,
    /// Whether a person rolled back from it, and nobody deployed it again: automation does not bring it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Whether the service is at this release.
    pub current: bool,
    /// End of the newest rollout to it; absent while it goes on, and once it is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<State>,
    /// Key ids that signed it.
    pub signed_by: Vec<String>,
}

/// A named volume that stays on its host when its service goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VolumeView {
    /// Where it is.
    pub host: HostId,
    /// The engine's name of it.
    pub volume: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EventView {
    /// Its number; it rises.
    #[serde(default)]
    pub n: u64,
    /// When.
    pub at: Timestamp,
    /// Its kind: `host.connected`, `rollout.started`, `instance.failed` and so on.
    pub kind: String,
    /// Its subject: a host, a service, a rollout.
    pub subject: String,
    /// In words.
    pub message: String,
    /// The operator or program that caused it: `operator/alice`; none if the coordinator decided it, or saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

#[cfg(test)]
mod tests;
