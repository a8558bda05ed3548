//! Reasons for which the fleet does not go on, and their hints.

use windlass_core::HostId;
use windlass_core::digest::InvalidDigest;

use crate::ledger::WriteError;

/// The reason for which the fleet does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecoveryError {
    /// A host came or went.
    #[error("the preview is stale: a host came or went since it was shown")]
    Changed,
    /// There is nothing to say about it.
    #[error("host `{0}` holds nothing that the store does not know")]
    NotAhead(HostId),
    /// A host says that it keeps more releases than one can.
    #[error("field `digests` has {found} entries, more than {most}")]
    TooMany {
        /// So many.
        found: usize,
        /// And no more are taken.
        most: usize,
    },
    /// A host names a release by something else than a digest.
    #[error("`digests`: {0}")]
    Digest(InvalidDigest),
    /// Not stored.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl RecoveryError {
    /// The next step of the user.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Changed => Some("look at `windlass host recover` again".to_owned()),
            Self::NotAhead(_) => Some("`windlass host ls` shows which hosts are recovering".to_owned()),
            Self::TooMany { .. } | Self::Digest(_) | Self::Write(_) => None,
        }
    }
}
