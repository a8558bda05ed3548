//! Every key of a fleet in one hand, and the trust documents that name them.

use windlass_certs::ca::CertificateAuthority;
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{EnvironmentScope, ReleaseRole, Revoked, RoleKeys, Roles, TrustDocument};
use windlass_core::{FleetId, HostId};
use windlass_testkit::keys::{self as testkit, key};
pub use windlass_testkit::now;

/// Name of the fleet that is attacked.
pub const FLEET: &str = "lab";

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
        let [alice, bob] = &self.people;
        let rule = |scope, services: Option<&str>, keys: &[&SigningKey], threshold| ReleaseRole {
            environment: scope,
            services: services.map(|name| [name.parse().expect("a service's name")].into()),
            threshold,
            ..testkit::releases(keys)
        };
        let only = |name: &str| EnvironmentScope::Only(name.parse().expect("an environment's name"));
        let mut any = rule(EnvironmentScope::Any, None, &[alice, bob, &self.lost], 1);
        any.retired = vec![self.retired.public()];
        let roles = Roles {
            release: vec![
                any,
                rule(only("production"), Some("vault"), &[alice, bob], 2),
                rule(only("staging"), None, &[alice, &self.tester], 1),
            ],
            dispatch: RoleKeys { threshold: 2, ..testkit::role(&self.dispatch.each_ref()) },
            audit: testkit::role(&[&self.audit]),
            revoke: None,
        };
        TrustDocument {
            fleet: fleet(),
            ca: vec![self.ca.fingerprint()],
            coordinators: vec![coordinator.to_owned()],
            revoked: Revoked { keys: [self.lost.id().clone()].into(), ..Revoked::default() },
            ..testkit::document(&self.root, roles, now())
        }
    }
}
