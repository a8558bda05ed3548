//! An instance that is asked, and the word of its probes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use windlass_core::Timestamp;
use windlass_core::observation::ProbeResult;
use windlass_core::reconcile::Health;
use windlass_core::release;

use super::answers::Answers;

/// The last answers of an instance, the oldest first.
pub type History = Arc<Mutex<Vec<ProbeResult>>>;

/// Whom to ask, and what.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The engine's id of the container.
    pub container: String,
    /// The beginning of the run that is asked.
    pub run: Timestamp,
    /// Address at which its ports are published.
    pub address: String,
    /// Its ports on the host, by name.
    pub ports: BTreeMap<String, u16>,
    /// The questions.
    pub probes: release::Health,
    /// Store of the answers.
    pub history: History,
    /// Receiver of the figures of the answers.
    pub answers: Answers,
}

/// The word of an instance's probes from now on. Its history is in [`Subject::history`].
#[derive(Debug, Clone)]
pub struct Report {
    /// The engine's id of the container.
    pub container: String,
    /// The run that was asked.
    pub run: Timestamp,
    /// The health of the instance.
    pub health: Health,
}
