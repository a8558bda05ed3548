//! Membership: what a successful join left behind. Only the address changes later, by `run --address`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use windlass_certs::files::{self, FileError};
use windlass_certs::json;
use windlass_core::{Digest, FleetId, HostId};

use crate::crash::Written;
use crate::data::DataDir;

const MAX_LEN: usize = 64 * 1024;
/// The hint for an invalid address.
pub(crate) const ADDRESS_HINT: &str =
    "give the address at which other hosts reach this one: `--address 10.0.0.5`, or `address` in agent.toml";

/// The identity of this host in its fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The fleet.
    pub fleet: FleetId,
    /// The host's name.
    pub host: HostId,
    /// Address at which published ports are reached: that of the join, or of a later `run --address`.
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
    /// Not an address.
    #[error("`{0}` is not an IP address or a DNS name")]
    Address(String),
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
            Self::Address(_) => Some(ADDRESS_HINT.to_owned()),
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

    /// Returns the member with `address`, and stores it if it changed. Nothing that runs depends on it.
    pub fn reached_at(mut self, address: Option<&str>, data: &DataDir) -> Result<Self, MemberError> {
        let Some(address) = address.filter(|address| *address != self.address) else { return Ok(self) };
        if !is_address(address) {
            return Err(MemberError::Address(address.chars().take(120).collect()));
        }
        tracing::info!(address, before = self.address, "this host is reached at another address from now on");
        address.clone_into(&mut self.address);
        self.save(data)?;
        Ok(self)
    }
}

/// Returns whether a text is an IP address or a DNS name.
pub(crate) fn is_address(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
    };
    let is_name = text.len() <= 253 && text.split('.').all(label);
    is_name || text.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        #[rustfmt::skip]
        let table = [("10.0.0.5", true), ("fd00::1", true), ("web-1.internal", true), ("localhost", true), ("", false),
            ("10.0.0.5:80", false), ("a b", false), ("http://x", false), ("-x", false), ("a..b", false)];
        for (address, want) in table {
            assert_eq!(is_address(address), want, "{address}");
        }
    }

    #[test]
    fn another_address_is_kept_in_the_agents_folder() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::create(&folder.path().join("agent")).unwrap();
        let joined = Member {
            fleet: "demo".parse().unwrap(),
            host: "web-1".parse().unwrap(),
            address: "10.0.0.5".to_owned(),
            labels: BTreeMap::new(),
            server: "10.0.0.1:7443".to_owned(),
            trust_pin: Digest::of(b"trust"),
        };
        joined.save(&data).unwrap();
        let moved = joined.clone().reached_at(Some("10.0.0.31"), &data).unwrap();
        assert_eq!(moved, Member { address: "10.0.0.31".to_owned(), ..joined });
        assert_eq!(Member::load(&data).unwrap(), moved, "the next run needs no flag");
        assert_eq!(moved.clone().reached_at(None, &data).unwrap(), moved);
        let refused = moved.clone().reached_at(Some("10.0.0.31:80"), &data).unwrap_err();
        assert!(refused.to_string().contains("10.0.0.31:80") && refused.hint().is_some(), "{refused}");
        assert_eq!(Member::load(&data).unwrap(), moved, "nothing was written");
    }
}
