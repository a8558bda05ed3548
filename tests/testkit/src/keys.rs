//! Keys of fleet `demo`, its trust document, and envelopes.

use std::time::Duration;

use serde::Serialize;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{EnvironmentScope, ReleaseRole, Revoked, RoleKeys, Roles, TrustDocument};
use windlass_core::{Digest, Timestamp};

/// One key for each role.
#[derive(Debug)]
pub struct Keys {
    /// Signs trust documents.
    pub root: SigningKey,
    /// Signs releases of every service.
    pub release: SigningKey,
    /// Signs plans and traffic tables.
    pub dispatch: SigningKey,
    /// Signs checkpoints.
    pub audit: SigningKey,
}

impl Keys {
    /// New keys.
    pub fn generate() -> Self {
        Self { root: key(), release: key(), dispatch: key(), audit: key() }
    }

    /// The fleet's trust document, in which each key has its role.
    pub fn document(&self, at: Timestamp) -> TrustDocument {
        let roles = Roles {
            release: vec![releases(&[&self.release])],
            dispatch: role(&[&self.dispatch]),
            audit: role(&[&self.audit]),
            revoke: None,
        };
        document(&self.root, roles, at)
    }
}

/// Version 1 of a trust document, made an hour before `at`, that holds for a year.
pub fn document(root: &SigningKey, roles: Roles, at: Timestamp) -> TrustDocument {
    TrustDocument {
        fleet: "demo".parse().expect("a fleet"),
        version: 1,
        epoch: 1,
        created_at: at - Duration::from_secs(3600),
        expires_at: at + Duration::from_secs(365 * 86_400),
        root: role(&[root]),
        roles,
        hosts: Default::default(),
        ca: vec![Digest::of(b"ca")],
        coordinators: vec!["127.0.0.1:7443".to_owned()],
        floors: Default::default(),
        revoked: Revoked::default(),
    }
}

/// A new key.
pub fn key() -> SigningKey {
    SigningKey::generate().expect("the kernel has randomness")
}

/// A role that each of `keys` has alone.
pub fn role(keys: &[&SigningKey]) -> RoleKeys {
    RoleKeys { keys: keys.iter().map(|key| key.public()).collect(), threshold: 1 }
}

/// The rule by which each of `keys` alone signs releases of every service.
pub fn releases(keys: &[&SigningKey]) -> ReleaseRole {
    ReleaseRole {
        environment: EnvironmentScope::Any,
        services: None,
        keys: role(keys).keys,
        threshold: 1,
        retired: Vec::new(),
    }
}

/// Signs a document.
pub fn seal(kind: PayloadType, document: &impl Serialize, keys: &[&SigningKey]) -> Envelope {
    Envelope::sign(kind, serde_json::to_vec(document).expect("a document is JSON"), keys)
}

/// Signs a trust document, as it is sent.
pub fn seal_trust(document: &TrustDocument, keys: &[&SigningKey]) -> Vec<u8> {
    seal(PayloadType::Trust, document, keys).to_bytes()
}
