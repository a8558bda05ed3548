//! The payload of a trust document, field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use windlass_core::{Counter, Digest, EnvironmentId, FleetId, ServiceId, ServiceName, Timestamp};

use crate::keys::{KeyId, PublicKey};

/// The keys of a fleet and their rights, at one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustDocument {
    /// Which fleet.
    pub fleet: FleetId,
    /// Rises by one, starting with 1.
    pub version: u64,
    /// Raised only after a key compromise; a host that sees a new one waits for its first plan.
    pub epoch: u64,
    /// When it was written.
    pub created_at: Timestamp,
    /// From then on no *new* release is taken under it.
    pub expires_at: Timestamp,
    /// The keys that sign the next version.
    pub root: RoleKeys,
    /// The keys that sign everything else.
    pub roles: Roles,
    /// DNS names that routes of an environment may use: exact, `*.example.com`, or `*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<EnvironmentId, Vec<String>>,
    /// SHA-256 of the DER of each CA certificate that counts; two while one is being replaced.
    pub ca: Vec<Digest>,
    /// Addresses of coordinators, `host:port`.
    pub coordinators: Vec<String>,
    /// The lowest release of a service that may run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub floors: BTreeMap<ServiceId, Counter>,
    /// Revoked keys and releases.
    #[serde(default, skip_serializing_if = "Revoked::is_empty")]
    pub revoked: Revoked,
}

/// Keys of one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleKeys {
    /// The keys that may sign.
    pub keys: Vec<PublicKey>,
    /// The number of them that must.
    pub threshold: u32,
}

/// The roles below root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// Releases, per environment and, if wanted, per service.
    pub release: Vec<ReleaseRole>,
    /// Host plans and routes.
    pub dispatch: RoleKeys,
    /// Audit checkpoints.
    pub audit: RoleKeys,
    /// Revocation lists; the root keys if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<RoleKeys>,
}

/// The keys that may sign releases of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRole {
    /// Of which environment.
    pub environment: EnvironmentScope,
    /// Of which services only; all if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeSet<ServiceName>>,
    /// The keys that may sign.
    pub keys: Vec<PublicKey>,
    /// The number of them that must: 2 means a second person approves.
    pub threshold: u32,
    /// Keys of before: releases already accepted stay valid, new ones are not taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<PublicKey>,
}

/// One environment or all of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EnvironmentScope {
    /// Written `*`.
    Any,
    /// This one.
    Only(EnvironmentId),
}

/// Revoked keys and releases. Blocks starts, never stops an instance that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// Keys that fell into other hands.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub keys: BTreeSet<KeyId>,
    /// Releases, by the digest of their payload.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub releases: BTreeSet<Digest>,
}

impl Revoked {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.releases.is_empty()
    }
}

impl ReleaseRole {
    /// Whether the rule speaks about this service.
    pub fn covers(&self, environment: &EnvironmentId, service: &ServiceName) -> bool {
        self.environment.covers(environment)
            && self.services.as_ref().is_none_or(|list| list.contains(service))
    }
}

impl EnvironmentScope {
    /// Whether it includes this environment.
    pub fn covers(&self, environment: &EnvironmentId) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => only == environment,
        }
    }
}

impl TryFrom<String> for EnvironmentScope {
    type Error = windlass_core::id::InvalidName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "*" { Ok(Self::Any) } else { text.parse().map(Self::Only) }
    }
}

impl From<EnvironmentScope> for String {
    fn from(scope: EnvironmentScope) -> String {
        scope.to_string()
    }
}

impl fmt::Display for EnvironmentScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.pad("*"),
            Self::Only(environment) => f.pad(environment.as_str()),
        }
    }
}

impl fmt::Debug for EnvironmentScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
