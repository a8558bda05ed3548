//! The trust document: who may sign what, which CAs count, and what is withdrawn. Signed by root keys that
//! never touch a server.
//!
//! Agents pin the digest of version 1 when they join and walk from version to version; each must carry the
//! thresholds of the root keys of both the version before and its own ([`TrustStore`]). A coordinator can
//! withhold a version but write none.

mod chain;
mod checks;
mod document;

use windlass_core::{Counter, Digest, EnvironmentId, ServiceId, ServiceName, Timestamp};

use crate::dsse::{KeySet, PayloadType, VerifyError};
use crate::keys::{KeyId, PublicKey};

pub use chain::{Advance, TrustStore};
pub use checks::InvalidTrust;
pub use document::{EnvironmentScope, ReleaseRole, Revoked, RoleKeys, Roles, TrustDocument};

/// The most versions walked in one go.
pub const MAX_WALK: usize = 1024;
/// The most bytes of one version's payload.
pub const MAX_LEN: usize = PayloadType::Trust.max_len();

/// Which releases a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// One seen for the first time: only current keys count.
    New,
    /// One this host has verified before: retired keys still count, revoked ones do not.
    Accepted,
}

/// The reason for which a trust document was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The envelope or its signatures.
    #[error("the trust document is not believed")]
    Verify(#[from] VerifyError),
    /// Version 1 is not the one that was pinned at the join.
    #[error("version 1 of the trust document is {got}, pinned is {pinned}")]
    WrongPin {
        /// The pinned digest.
        pinned: Digest,
        /// The given digest.
        got: Digest,
    },
    /// Of another fleet.
    #[error("the trust document is of fleet `{got}`, not of `{want}`")]
    WrongFleet {
        /// Ours.
        want: String,
        /// The document's.
        got: String,
    },
    /// Contradicts itself.
    #[error("version {version} of the trust document is not valid")]
    Invalid {
        /// Which version.
        version: u64,
        /// The mistake.
        #[source]
        source: InvalidTrust,
    },
    /// A version is missing in between.
    #[error("version {got} of the trust document cannot follow version {have}")]
    Gap {
        /// The version we have.
        have: u64,
        /// The version given.
        got: u64,
    },
    /// Older than what we have.
    #[error("version {got} of the trust document is older than version {have}, which is in force")]
    Rollback {
        /// The version we have.
        have: u64,
        /// The version given.
        got: u64,
    },
    /// Two documents with one version: someone forks the fleet.
    #[error("two trust documents with version {version}: {have} and {got}")]
    Equivocation {
        /// The version both have.
        version: u64,
        /// The digest that is here.
        have: Digest,
        /// The given digest.
        got: Digest,
    },
    /// More versions at once than any honest chain has.
    #[error("more than {MAX_WALK} versions of the trust document at once")]
    TooLong,
}

impl TrustError {
    /// The refusal's name: stable, for receipts, audit entries and counters.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Verify(error) => error.code(),
            Self::WrongPin { .. } => "wrong_pin",
            Self::WrongFleet { .. } => "wrong_audience",
            Self::Invalid { .. } => "malformed",
            Self::Gap { .. } => "gap",
            Self::Rollback { .. } => "stale",
            Self::Equivocation { .. } => "equivocation",
            Self::TooLong => "too_large",
        }
    }
}

impl TrustDocument {
    /// The keys that may sign the next version.
    pub fn root_keys(&self) -> KeySet {
        self.usable(&self.root.keys, self.root.threshold)
    }

    /// The keys that may sign host plans and routes.
    pub fn dispatch_keys(&self) -> KeySet {
        self.usable(&self.roles.dispatch.keys, self.roles.dispatch.threshold)
    }

    /// The keys that may sign audit checkpoints.
    pub fn audit_keys(&self) -> KeySet {
        self.usable(&self.roles.audit.keys, self.roles.audit.threshold)
    }

    /// The keys that may sign revocation lists: the role's, else the root keys.
    pub fn revoke_keys(&self) -> KeySet {
        match &self.roles.revoke {
            Some(role) => self.usable(&role.keys, role.threshold),
            None => self.root_keys(),
        }
    }

    /// The keys that may sign a release of `service`, an exec into it or a version of its secrets.
    ///
    /// The most specific rule decides alone: environment and service, then environment, then `*` with the service,
    /// then `*`. Rules are never added up, so that a wide rule cannot lower a narrow one's threshold. Without a
    /// rule the set is empty, and everything is refused as `unknown_key`.
    pub fn release_keys(&self, service: &ServiceId, acceptance: Acceptance) -> KeySet {
        let Some(rule) = self.release_rule(&service.environment, &service.name) else {
            return KeySet::empty();
        };
        match acceptance {
            Acceptance::New => self.usable(&rule.keys, rule.threshold),
            Acceptance::Accepted => self.usable(rule.keys.iter().chain(&rule.retired), rule.threshold),
        }
    }

    /// Keys of persons: those of root and of releases, of any environment. One of them accepts a loss of the audit log.
    pub fn operator_keys(&self) -> KeySet {
        let release = self.roles.release.iter().flat_map(|rule| &rule.keys);
        self.usable(self.root.keys.iter().chain(release), 1)
    }

    /// The rule that decides about a service's releases.
    pub fn release_rule(&self, environment: &EnvironmentId, service: &ServiceName) -> Option<&ReleaseRole> {
        self.roles
            .release
            .iter()
            .filter(|rule| rule.covers(environment, service))
            .max_by_key(|rule| (rule.environment != EnvironmentScope::Any, rule.services.is_some()))
    }

    /// Whether releases not seen before may be taken: an expired trust document stops those, and nothing else.
    pub fn accepts_new_releases(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// The lowest release of a service that may run; zero if there is no floor.
    pub fn floor(&self, service: &ServiceId) -> Counter {
        self.floors.get(service).copied().unwrap_or(Counter(0))
    }

    /// Whether a release was withdrawn. Blocks starts, never stops what runs.
    pub fn is_release_revoked(&self, digest: &Digest) -> bool {
        self.revoked.releases.contains(digest)
    }

    /// Whether a key was withdrawn.
    pub fn is_key_revoked(&self, id: &KeyId) -> bool {
        self.revoked.keys.contains(id)
    }

    /// Whether routes of `environment` may name the DNS name `host` (`*.example.com` covers one label more). An
    /// environment that the document does not list may have every name.
    pub fn allows_host(&self, environment: &EnvironmentId, host: &str) -> bool {
        let Some(names) = self.hosts.get(environment) else { return true };
        names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(first, rest)| !first.is_empty() && rest.eq_ignore_ascii_case(parent)),
            None => name == "*" || name.eq_ignore_ascii_case(host),
        })
    }

    fn usable<'a>(&self, keys: impl IntoIterator<Item = &'a PublicKey>, threshold: u32) -> KeySet {
        let keys = keys.into_iter().filter(|key| !self.is_key_revoked(key.id())).cloned();
        KeySet::new(keys, usize::try_from(threshold).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests;
