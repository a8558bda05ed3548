//! A host: who it is, and what it last said it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass_certs::identity::Serial;
use windlass_certs::keys::PublicKey;
use windlass_core::fleet::Scheduling;
use windlass_core::host::HostFacts;
use windlass_core::{Digest, EnvironmentId, HostId, Timestamp};

/// A host that joined, or did once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its name.
    pub name: HostId,
    /// Whether the host belongs to the fleet.
    pub standing: Membership,
    /// Whether the host may get slots.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// Labels given with the token it joined with.
    pub labels: BTreeMap<String, String>,
    /// The address of its published ports, as certified at the join.
    pub address: String,
    /// The key of its receipts.
    pub receipt_key: PublicKey,
    /// SHA-256 of its TLS key (SubjectPublicKeyInfo).
    pub key: Digest,
    /// When it joined last.
    pub joined_at: Timestamp,
    /// The newest certificate it was given.
    pub certificate: CertificateRecord,
    /// Certificates up to this generation are revoked or superseded: it was evicted, or joined again.
    #[serde(default)]
    pub revoked_up_to: u64,
    /// The newest segment of the audit log in which its plan was compared with the store: where a later one has begun,
    /// what the host holds is not known yet.
    #[serde(default)]
    pub compared: u64,
    /// Since when its ingress counts: from its first report until somebody says `routes forget`, or evicts the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_since: Option<Timestamp>,
    /// Hash of the token it joined with, so that a retry is known as one.
    pub token: Digest,
    /// Facts about it. Shared: every decision looks at them, and few change them.
    #[serde(default, with = "shared")]
    pub facts: Arc<HostFacts>,
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// Which issue for this host it is.
    pub generation: u64,
    /// Its serial number.
    pub serial: Serial,
    /// When it ends.
    pub not_after: Timestamp,
    /// Leaf and CA, PEM: what a retry is answered with.
    pub chain: String,
    /// Whether the certificate has been seen in use. Then whoever still renews from the one before is a clone.
    pub seen: bool,
}

/// Whether a host belongs to the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// Yes.
    Member,
    /// Not any more; it may join again.
    Evicted,
    /// Not any more, and never again.
    Banned,
    /// Two machines renewed from one certificate. Neither gets another until an admin evicts the host and
    /// one of them joins again.
    Cloned,
}

impl Membership {
    /// As lists write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Evicted => "evicted",
            Self::Banned => "banned",
            Self::Cloned => "cloned",
        }
    }
}

impl HostRecord {
    /// Whether the host belongs to the fleet.
    pub fn is_member(&self) -> bool {
        self.standing == Membership::Member
    }

    /// Whether the host serves an environment.
    pub(crate) fn serves(&self, environment: &EnvironmentId) -> bool {
        let served = self.facts.policy.environments.as_ref();
        self.is_member() && served.is_none_or(|served| served.contains(environment))
    }
}

/// Stored as what it points to.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use windlass_core::host::HostFacts;

    pub(super) fn serialize<S: Serializer>(facts: &Arc<HostFacts>, to: S) -> Result<S::Ok, S::Error> {
        facts.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<HostFacts>, D::Error> {
        HostFacts::deserialize(from).map(Arc::new)
    }
}
