//! Membership: what a successful join left behind, as far as it never changes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use windlass_certs::files::{self, FileError};
use windlass_certs::json;
use windlass_core::{Digest, FleetId, HostId};

use crate::crash::Written;
use crate::data::DataDir;

const MAX_LEN: usize = 64 * 1024;

/// The identity of this host in its fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The fleet.
    pub fleet: FleetId,
    /// The host's name.
    pub host: HostId,
    /// Address at which published ports are reached, certified at join.
    pub address: String,
    /// Labels given with the token.
    pub labels: BTreeMap<String, String>,
    /// The coordinator that was joined, `host:port`.
    pub server: String,
    /// Digest of version 1 of the trust document, from the token.
    pub trust_pin: Digest,
}

/// The reason for which membership cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The host has not joined.
    #[error("this host has not joined a fleet: there is no `{0}`")]
    NotJoined(PathBuf),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is something else.
    #[error("`{path}` is damaged")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// The place and the reason.
        #[source]
        source: json::DecodeError,
    },
}

impl MemberError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotJoined(_) => Some(
                "make a token with `windlass host token HOST`, then run `windlass-agent join --server … --token …`"
                    .to_owned(),
            ),
            Self::File(error) => error.hint(),
            Self::Damaged { .. } => Some(crate::state::REJOIN.to_owned()),
        }
    }
}

impl Member {
    /// Reads it.
    pub fn load(data: &DataDir) -> Result<Self, MemberError> {
        let path = data.member();
        if !path.exists() {
            return Err(MemberError::NotJoined(path));
        }
        let bytes = files::read_secret(&path)?;
        json::decode_bounded(&bytes, MAX_LEN).map_err(|source| MemberError::Damaged { path, source })
    }

    /// Writes it. The last step of a join.
    pub fn save(&self, data: &DataDir) -> Result<(), MemberError> {
        let bytes = serde_json::to_vec_pretty(self).expect("only string keys, so it is JSON");
        Ok(files::replace_secret_telling(&data.member(), &bytes, &|stage| Written::Member.at(stage))?)
    }
}
