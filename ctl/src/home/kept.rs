//! The newest checkpoint of the audit log that was verified here. It came from the coordinator once; it is kept where
//! the coordinator cannot write, so that a log which is set back or written again is contradicted by it.

use serde::{Deserialize, Serialize};
use windlass_certs::files::{self, FileError};
use windlass_core::audit::{Anchor, By, Checkpoint};
use windlass_core::{Digest, Timestamp};

use super::FleetHome;

/// Longer than any of ours.
const MAX_LEN: u64 = 4096;

/// A checkpoint that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub(crate) struct KeptCheckpoint {
    /// The number of entries of the log.
    pub(crate) size: u64,
    /// Hash of the last of them.
    pub(crate) head: Digest,
    /// The segment that it is in; 0 unless a backup was ever restored.
    pub(crate) segment: u64,
    /// When it was signed.
    pub(crate) at: Timestamp,
}

impl KeptCheckpoint {
    /// Its statement about the log. Its signature was checked when it was kept.
    pub(crate) const fn anchor(&self) -> Anchor {
        Anchor { size: self.size, head: self.head, segment: self.segment, by: By::Kept }
    }
}

/// Envelopes of losses of the log that an operator has accepted here, one a line.
const ACCEPTED: &str = "audit-accepted.jsonl";
/// More than anybody accepts: longer, the file is something else.
const MAX_ACCEPTED: u64 = 1 << 20;

impl FleetHome {
    /// The envelopes of the losses that were accepted here. The caller checks their signatures.
    pub(crate) fn accepted_losses(&self) -> Vec<String> {
        let path = self.path().join(ACCEPTED);
        let is_ours = std::fs::metadata(&path).is_ok_and(|meta| meta.len() <= MAX_ACCEPTED);
        let text = is_ours.then(|| std::fs::read_to_string(path).ok()).flatten().unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Keeps the envelope of one more.
    pub(crate) fn accept_loss(&self, envelope: &str) -> Result<(), FileError> {
        let mut lines = self.accepted_losses();
        lines.push(envelope.to_owned());
        let text = lines.join("\n") + "\n";
        files::replace_secret(&self.path().join(ACCEPTED), text.as_bytes())
    }

    /// The checkpoint that is kept, if there is one that can be read.
    pub(crate) fn kept_checkpoint(&self) -> Option<KeptCheckpoint> {
        let path = self.path().join("audit.json");
        let is_ours = std::fs::metadata(&path).is_ok_and(|meta| meta.len() <= MAX_LEN);
        is_ours
            .then(|| std::fs::read(path).ok())
            .flatten()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    /// Keeps a checkpoint, unless a newer one is kept already.
    pub(crate) fn keep_checkpoint(&self, newest: &Checkpoint) -> Result<(), FileError> {
        let next =
            KeptCheckpoint { size: newest.size, head: newest.head, segment: newest.segment, at: newest.at };
        let order = |kept: &KeptCheckpoint| (kept.segment, kept.size);
        if self.kept_checkpoint().is_some_and(|kept| order(&kept) >= order(&next)) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&next).expect("only string keys, so it is JSON");
        files::replace_secret(&self.path().join("audit.json"), &bytes)
    }
}
