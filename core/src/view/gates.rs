//! The gates of a rollout, with the newest verdict of each.

use serde::{Deserialize, Serialize};

use crate::gate::{GateCourse, Newest};
use crate::rollout::Rollout;
use crate::service::Releases;
use crate::time::Timestamp;

/// A gate of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GateView {
    /// Its name.
    pub gate: String,
    /// The step that it is asked in.
    pub step: u32,
    /// Windows of the step that have passed.
    pub passed: u32,
    /// Windows that have to.
    #[serde(default)]
    pub desired: u32,
    /// `desired`, as version 0.1 names it.
    #[schemars(extend("deprecated" = true))]
    pub wanted: u32,
    /// Whether it decides nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Whether a person has to know that its provider could not be asked for 10 min.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pages: bool,
    /// The newest verdict; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
}

/// The gates of the step that a rollout is at.
pub(super) fn gates(rollout: &Rollout, releases: &Releases, now: Timestamp) -> Vec<GateView> {
    let (Some(course), Some(release)) = (&rollout.gates, releases.get(&rollout.to.digest)) else {
        return Vec::new();
    };
    let view = |(name, of): (&String, &GateCourse)| {
        let gate = release.spec.gates.get(name)?;
        Some(GateView {
            gate: name.clone(),
            step: course.step,
            passed: of.passes,
            desired: gate.passes,
            wanted: gate.passes,
            dry_run: gate.dry_run,
            pages: of.pages(now) && !rollout.state.is_final(),
            newest: of.newest.clone(),
        })
    };
    course.gates.iter().filter_map(view).collect()
}
