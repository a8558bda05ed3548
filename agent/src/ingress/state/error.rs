//! The reasons for which the folder cannot be used, or takes nothing new.

use std::path::PathBuf;

use windlass_certs::files::FileError;
use windlass_certs::trust::TrustError;
use windlass_core::network::SUBNET_BITS;
use windlass_core::observation::Refusal;
use windlass_core::{FleetId, HostId};

use crate::data::DataError;
use crate::traffic::tables::TableStoreError;

/// The reason for which the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The tables.
    #[error(transparent)]
    Tables(#[from] TableStoreError),
    /// The trust document.
    #[error("failed to read what this ingress trusts")]
    File(#[from] FileError),
    /// It is not what was written.
    #[error("`{0}` is damaged")]
    Damaged(PathBuf),
    /// It is not believed.
    #[error("the trust document that this ingress has pinned is not believed")]
    Trust(#[from] TrustError),
    /// Another process serves with it.
    #[error("another ingress serves with `{0}`, and does not hand over")]
    Busy(PathBuf),
}

impl StateError {
    /// The user's next step.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Data(error) => error.hint(),
            Self::Damaged(path) => {
                Some(format!("move `{}` away: the ingress then pins what its agent shows it", path.display()))
            }
            Self::Busy(_) => Some("stop it, or give this one another folder: `--state DIR`".to_owned()),
            Self::Tables(_) | Self::File(_) | Self::Trust(_) => None,
        }
    }
}

/// The reason for which trust documents were not taken.
#[derive(Debug, thiserror::Error)]
pub(in crate::ingress) enum NoTrust {
    /// They are of another fleet or host: this folder belongs to another ingress.
    #[error(
        "this ingress is of host `{mine}` of fleet `{fleet}`, the agent is of host `{theirs}`; give each agent's ingress a folder of its own"
    )]
    Stranger { fleet: FleetId, mine: HostId, theirs: HostId },
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("failed to keep the trust document, or what the agent said of this host")]
    File(#[from] FileError),
}

/// The reason for which inner networks were not taken.
#[derive(Debug, thiserror::Error)]
pub(in crate::ingress) enum NoNetworks {
    /// No agent draws such ones.
    #[error("they are too many, or no private networks of {SUBNET_BITS} bits")]
    Malformed,
    #[error("failed to keep the inner networks")]
    File(#[from] FileError),
}

/// The reason for which a table was not taken.
#[derive(Debug, thiserror::Error)]
pub(in crate::ingress) enum NoTable {
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Store(#[from] TableStoreError),
    #[error("there is no trust document yet")]
    NoTrust,
}
