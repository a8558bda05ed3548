//! The findings of `audit verify`, and its errors.

use std::io;
use std::path::PathBuf;

use serde::Serialize;
use windlass_certs::dsse::VerifyError;
use windlass_core::FleetId;
use windlass_core::audit::{Loss, Segment, Verdict};

use crate::error::Failure;
use crate::home::KeptCheckpoint;

/// The reason why the log cannot be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error("line {line} of `{path}` is neither an entry nor a checkpoint")]
    Line { path: PathBuf, line: usize },
    #[error("checkpoint {0} is not signed by the fleet's audit key")]
    Checkpoint(usize, #[source] VerifyError),
    #[error("`{0}` names no loss of this log")]
    NoLoss(String),
    #[error("say which loss")]
    Unnamed,
    #[error("no operator of the fleet has signed this: the trust document names none of its keys")]
    NoOperator(#[source] VerifyError),
    #[error("the loss is one of fleet `{0}`")]
    OtherFleet(FleetId),
    #[error("the log is {0}; only lost entries can be accepted")]
    Unsound(Verdict),
    #[error("failed to read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Failure for AuditError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Line { .. } => Some("make one with `windlass audit verify --save FILE`".to_owned()),
            Self::Checkpoint(..) => Some(
                "somebody wrote checkpoints of their own; or fetch a newer trust document: `windlass trust show`"
                    .to_owned(),
            ),
            Self::NoOperator(_) => Some(
                "sign with a release key or a root key that `windlass trust show` lists: --key FILE; or have yours added: \
                 `windlass trust add-key`"
                    .to_owned(),
            ),
            Self::OtherFleet(_) => Some("choose the context with --context".to_owned()),
            Self::NoLoss(_) | Self::Unnamed => Some("`windlass audit verify` names each loss by its hash".to_owned()),
            Self::Unsound(_) => Some(
                "keep a copy with `windlass audit verify --save FILE`, and find out who wrote to the coordinator's store"
                    .to_owned(),
            ),
            Self::Read { .. } | Self::Write { .. } => None,
        }
    }
}

/// The document that `audit verify -o json` prints.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct AuditView {
    /// The verdict on the log.
    pub(crate) verdict: Verdict,
    /// The same in words: `OK`, `ALTERED at n`, `TRUNCATED`, `FORKED`, `UNANCHORED TAIL(k)`.
    pub(crate) text: String,
    /// Whether the log is sound.
    pub(crate) sound: bool,
    /// Entries that were read.
    pub(crate) entries: usize,
    /// Checkpoints that were read, all of them signed by the audit key.
    pub(crate) checkpoints: usize,
    /// Hosts whose checkpoints, signed by the audit key, were held against it.
    pub(crate) witnesses: Vec<String>,
    /// Hosts that name a checkpoint and do not show its signature: they prove nothing.
    pub(crate) unproven: Vec<String>,
    /// The witness against the log: a host, or `this machine` by the checkpoint that it kept.
    pub(crate) contradicted_by: Option<String>,
    /// Entries that were given up when a backup was restored, and that no operator has accepted as lost.
    pub(crate) losses: Vec<Loss>,
    /// The newest checkpoint that was verified on this machine before, and was held against it.
    pub(crate) kept: Option<KeptCheckpoint>,
    /// The places of restored backups; the first is the beginning. Losses are counted as far as a
    /// checkpoint or a host knows of it.
    pub(crate) segments: Vec<Segment>,
}
