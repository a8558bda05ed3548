//! Every key of the fleet, and what is signed with them: the coordinator's folder, releases, operators.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::csr::CertifiedIdentity;
use windlass_certs::dsse::{Envelope, KeySet, PayloadType};
use windlass_certs::files::create_private_dir;
use windlass_certs::identity::Identity;
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{EnvironmentScope, ReleaseRole, Revoked, RoleKeys, Roles, TrustDocument};
use windlass_core::{Digest, FleetId, Timestamp};

use crate::rogue::keys::now;

/// Name of the fleet.
pub const FLEET: &str = "herd";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The keys.
#[derive(Debug)]
pub struct Papers {
    /// Certifies agents, operators and the coordinator.
    pub ca: CertificateAuthority,
    root: SigningKey,
    release: SigningKey,
    dispatch: SigningKey,
    audit: SigningKey,
}

/// The release to make.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The service, in environment `production`.
    pub service: &'a str,
    /// The release's number.
    pub counter: u64,
    /// Label `role` of the hosts it may run on.
    pub role: &'a str,
    /// The number of replicas; one per host if absent.
    pub replicas: Option<u32>,
    /// The number of slots that are replaced at a time.
    pub batch: &'a str,
}

/// A release, signed.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The envelope that is submitted.
    pub envelope: Vec<u8>,
    /// The digest by which plans name it.
    pub digest: Digest,
}

impl Papers {
    /// New keys.
    pub fn generate() -> Result<Self> {
        Ok(Self {
            ca: CertificateAuthority::generate(fleet(), now())?,
            root: SigningKey::generate()?,
            release: SigningKey::generate()?,
            dispatch: SigningKey::generate()?,
            audit: SigningKey::generate()?,
        })
    }

    /// Writes the folder that `windlass init --server-dir` makes.
    pub fn write(&self, folder: &Path, listen: SocketAddr, settings: &str) -> Result<()> {
        create_private_dir(folder)?;
        self.ca.save(&folder.join("ca"))?;
        create_private_dir(&folder.join("keys"))?;
        create_private_dir(&folder.join("trust"))?;
        self.dispatch.save(&folder.join("keys/dispatch.key"))?;
        self.audit.save(&folder.join("keys/audit.key"))?;
        let payload = serde_json::to_vec(&self.trust(listen))?;
        let envelope = Envelope::sign(PayloadType::Trust, payload, &[&self.root]);
        fs::write(folder.join("trust/1.json"), envelope.to_bytes())?;
        Ok(fs::write(folder.join("server.toml"), settings)?)
    }

    fn trust(&self, listen: SocketAddr) -> TrustDocument {
        let role = |key: &SigningKey| RoleKeys { keys: vec![key.public()], threshold: 1 };
        TrustDocument {
            fleet: fleet(),
            version: 1,
            epoch: 1,
            created_at: now() - Duration::from_secs(60),
            expires_at: now() + 30 * DAY,
            root: role(&self.root),
            roles: Roles {
                release: vec![ReleaseRole {
                    environment: EnvironmentScope::Any,
                    services: None,
                    keys: vec![self.release.public()],
                    threshold: 1,
                    retired: Vec::new(),
                }],
                dispatch: role(&self.dispatch),
                audit: role(&self.audit),
                revoke: None,
            },
            hosts: Default::default(),
            ca: vec![self.ca.fingerprint()],
            coordinators: vec![listen.to_string()],
            floors: Default::default(),
            revoked: Revoked::default(),
        }
    }

    /// A certificate of an operator with `grant`.
    pub fn operator(&self, grant: &str) -> Result<CertifiedIdentity> {
        let identity = Identity::operator(fleet(), &"alice".parse()?);
        Ok(self.ca.issue_new(&Leaf::operator(identity, grant.parse()?, 1), now())?)
    }

    /// Whose signature a plan needs.
    pub fn dispatch_keys(&self) -> KeySet {
        KeySet::new([self.dispatch.public()], 1)
    }

    /// Whose signature a release needs.
    pub fn release_keys(&self) -> KeySet {
        KeySet::new([self.release.public()], 1)
    }

    /// Signs `wanted`: an ordinary web service, with nothing to wait for but the hosts themselves.
    pub fn sign(&self, wanted: &Wanted<'_>) -> Result<Signed> {
        self.signed(&payload(wanted))
    }

    /// The same as a canary of three steps, each judged by the exits of its instances over two windows of 10 s.
    pub fn sign_canary(&self, wanted: &Wanted<'_>) -> Result<Signed> {
        let mut payload = payload(wanted);
        payload["version"] = 4.into();
        let gate = json!({ "ask": { "crashes": { "max": 0 } }, "window": "10s", "passes": 2, "fails": 1 });
        payload["spec"]["gates"] = json!({ "crashes": gate });
        let step = |weight: u32| json!({ "weight": weight, "gates": ["crashes"] });
        payload["spec"]["strategy"] = json!({ "canary": {
            "steps": [step(100), step(250), step(500), { "weight": 1000 }],
            "min_instances": 1, "keep_old": "10s", "min_ready": "0s",
        } });
        self.signed(&payload)
    }

    fn signed(&self, payload: &serde_json::Value) -> Result<Signed> {
        let envelope = Envelope::sign(PayloadType::Release, serde_json::to_vec(payload)?, &[&self.release]);
        Ok(Signed { digest: envelope.digest(), envelope: envelope.to_bytes() })
    }
}

fn payload(wanted: &Wanted<'_>) -> serde_json::Value {
    let Wanted { service, counter, role, replicas, batch } = wanted;
    let scale = match replicas {
        None => json!("per_host"),
        Some(count) => json!({ "replicas": { "min": count, "max": count } }),
    };
    let probe = json!({
        "check": { "http": { "path": "/health/ready", "port": "http" } },
        "every": "5s", "timeout": "3s", "failures": 3, "successes": 1,
    });
    json!({
        "version": 1, "fleet": FLEET, "environment": "production", "service": service,
        "counter": format!("r{counter}"), "created_at": now().to_string(), "author": "alice",
        "spec": {
            "image": {
                "reference": format!("registry.herd:5000/{service}:{counter}"),
                "repository": format!("registry.herd:5000/{service}"),
                "digest": Digest::of(&counter.to_be_bytes()), "platform": "linux/amd64", "size": 50_000_000,
            },
            "scale": scale, "placement": { "require": { "role": role }, "spread": "host" },
            "ports": { "http": { "container": 8080 } }, "main_port": "http",
            "env": { "NODE_ENV": "production", "UPSTREAM": "http://backend.internal:8000" },
            "resources": { "cpu_millis": 100, "memory": "64MiB", "pids": 64 },
            "security": { "user": "65534", "read_only_root": true },
            "health": { "readiness": probe },
            "strategy": { "rolling": {
                "batch": batch, "max_surge": batch, "max_unavailable": 0, "order": "auto", "min_ready": "0s",
            } },
            "soak": "0s", "progress_deadline": "10m", "stop_timeout": "10s", "on_failure": "rollback_all",
            "rollback_on": { "restarts": 3, "unhealthy_for": "2m" }, "on_lost": { "on_return": "keep_new" },
        },
    })
}

/// The fleet's name.
pub(super) fn fleet() -> FleetId {
    FLEET.parse().expect("a constant that is a name")
}

/// Now, where a module of the simulator needs it as documents write it.
pub(super) fn timestamp() -> Timestamp {
    now()
}
