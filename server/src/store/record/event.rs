//! Something that happened, for people.

use serde::{Deserialize, Serialize};
use windlass_core::Timestamp;

/// One event. The newest thousands are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Its number, rising.
    pub n: u64,
    /// When.
    pub at: Timestamp,
    /// What, like `rollout.succeeded`.
    pub kind: String,
    /// To what: a host, `environment/service`, a rollout.
    pub subject: String,
    /// In words.
    pub message: String,
    /// The operator or program that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}
