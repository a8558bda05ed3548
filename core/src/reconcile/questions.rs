//! Questions to instances and hosts that a decision wants asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::container::PlanNumber;
use super::input::VerifiedRelease;
use crate::time::Timestamp;

/// Something to be asked of an instance now.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The engine's id of its container.
    pub container: String,
    /// The run that is asked.
    pub run: Timestamp,
    /// Its ports on the host, by name.
    pub ports: BTreeMap<String, u16>,
    /// Its release, in which the request stands.
    pub release: Arc<VerifiedRelease>,
    /// Which request.
    pub question: Question,
}

/// A request of a release, by its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Of `warm_up`.
    WarmUp(usize),
    /// Of `smoke`.
    Smoke(usize),
}

/// The checks of a release that are to be made before its first start here.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedChecks {
    /// The release.
    pub release: Arc<VerifiedRelease>,
    /// The plan under which it was asked: a question that failed under another plan is asked again, once.
    pub plan: PlanNumber,
}
