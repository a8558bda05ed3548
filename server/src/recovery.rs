//! Recovery: the store is older than its fleet. A backup was restored, or the disk lost what had been promised.
//!
//! ```text
//! import ─┐                                     ┌─ same plan ─────────────────▶ compared
//!         ├▶ open: nothing is decided, nobody ──┤
//! found ──┘  gets a plan; hosts say hello       └─ ahead ─▶ lists kept releases ──▶ held ─▶ an admin
//!                                                               (same slots: taken over)       │
//!            ended: the fleet goes on ◀── all compared, or an admin says so ◀───────────────────┘
//! ```
//!
//! A bare number moves nothing. A host proves that an earlier life of this coordinator had come further by the plan that
//! it holds, which we signed, and by the releases in it, which operators signed. What those say is shown to an admin as
//! the difference to the store, and taken over when the admin says so; what runs goes on all along. A host that comes
//! after that is held for itself. What is made of the plans is decided in [`windlass_core::recovery`].

mod begin;
mod compare;
mod go_on;
mod look;
mod proposal;
mod shown;
mod unvouched;

use windlass_core::HostId;
use windlass_core::digest::InvalidDigest;

use crate::coordinator::Coordinator;
use crate::ledger::WriteError;

pub(crate) use begin::{Proof, import_proven};
pub use begin::{Restored, import_backup};
pub(crate) use compare::{Hello, compare};
pub(crate) use go_on::{Answer, end_if_settled, go_on};
pub(crate) use look::{of_host, preview};
pub(crate) use shown::{Recoveries, listed, shown};
pub use unvouched::Dropped;
pub(crate) use unvouched::{Confirmed, Vouching};

/// The next step of a person.
pub(crate) const HINT: &str = "`windlass host recover` shows what the hosts hold, and goes on";

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

/// Takes over at once what asks nobody: a host that holds the slots that the store knows, under a higher number.
pub(crate) async fn adopt_unchanged(coordinator: &Coordinator, host: &HostId) -> Result<(), WriteError> {
    if !coordinator.recoveries.is_complete(host) {
        return Ok(());
    }
    go_on::take_same(coordinator, host).await
}
