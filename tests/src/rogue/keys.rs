//! Every key of a fleet in one hand, and the trust documents that name them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use windlass_certs::ca::CertificateAuthority;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{EnvironmentScope, ReleaseRole, Revoked, RoleKeys, Roles, TrustDocument};
use windlass_core::{FleetId, HostId, Timestamp};

/// Name of the fleet that is attacked.
pub const FLEET: &str = "lab";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The keys. Two must sign a plan, one a release, two a release of `production/vault`.
#[derive(Debug)]
pub struct Keys {
    /// The CA that the trust document pins.
    pub ca: CertificateAuthority,
    /// Signs trust documents.
    pub root: SigningKey,
    /// Both must sign a plan.
    pub dispatch: [SigningKey; 2],
    /// May sign releases; of `production/vault` only together.
    pub people: [SigningKey; 2],
    /// May sign releases of `staging` only.
    pub tester: SigningKey,
    /// Could sign releases once.
    pub retired: SigningKey,
    /// Is listed for releases, and revoked.
    pub lost: SigningKey,
    /// Signs checkpoints.
    pub audit: SigningKey,
    /// Nobody the trust document knows.
    pub stranger: SigningKey,
}

/// Now, as documents write it.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The fleet's name.
///
/// # Panics
/// Never: it is a constant.
pub fn fleet() -> FleetId {
    FLEET.parse().expect("a fleet's name")
}

/// A host's name.
///
/// # Panics
/// If it is none.
pub fn host(name: &str) -> HostId {
    name.parse().expect("a host's name")
}

impl Keys {
    /// New keys.
    ///
    /// # Panics
    /// Without randomness.
    pub fn generate() -> Self {
        let key = || SigningKey::generate().expect("the kernel has randomness");
        Self {
            ca: CertificateAuthority::generate(fleet(), now()).expect("a CA can be made"),
            root: key(),
            dispatch: [key(), key()],
            people: [key(), key()],
            tester: key(),
            retired: key(),
            lost: key(),
            audit: key(),
            stranger: key(),
        }
    }

    /// The trust document, version 1, epoch 1.
    pub fn trust(&self, coordinator: &str) -> TrustDocument {
        let public = |keys: &[&SigningKey]| keys.iter().map(|key| key.public()).collect();
        let [alice, bob] = &self.people;
        let rule = |scope, services: Option<&str>, keys: &[&SigningKey], threshold| ReleaseRole {
            environment: scope,
            services: services.map(|name| [name.parse().expect("a service's name")].into()),
            keys: public(keys),
            threshold,
            retired: Vec::new(),
        };
        let only = |name: &str| EnvironmentScope::Only(name.parse().expect("an environment's name"));
        let mut any = rule(EnvironmentScope::Any, None, &[alice, bob, &self.lost], 1);
        any.retired = vec![self.retired.public()];
        TrustDocument {
            fleet: fleet(),
            version: 1,
            epoch: 1,
            created_at: now() - Duration::from_secs(60),
            expires_at: now() + 30 * DAY,
            root: RoleKeys { keys: public(&[&self.root]), threshold: 1 },
            roles: Roles {
                release: vec![
                    any,
                    rule(only("production"), Some("vault"), &[alice, bob], 2),
                    rule(only("staging"), None, &[alice, &self.tester], 1),
                ],
                dispatch: RoleKeys { keys: public(&self.dispatch.each_ref()), threshold: 2 },
                audit: RoleKeys { keys: public(&[&self.audit]), threshold: 1 },
                revoke: None,
            },
            hosts: Default::default(),
            ca: vec![self.ca.fingerprint()],
            coordinators: vec![coordinator.to_owned()],
            floors: Default::default(),
            revoked: Revoked { keys: [self.lost.id().clone()].into(), ..Revoked::default() },
        }
    }

    /// Signs a trust document with keys of the caller's choice.
    ///
    /// # Panics
    /// Never: a trust document is JSON.
    pub fn seal_trust(document: &TrustDocument, keys: &[&SigningKey]) -> Vec<u8> {
        let payload = serde_json::to_vec(document).expect("a trust document is JSON");
        Envelope::sign(PayloadType::Trust, payload, keys).to_bytes()
    }
}
