//! Every key of the fleet, and what is signed with them: the coordinator's folder, releases, operators.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use serde_json::json;
use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::csr::CertifiedIdentity;
use windlass_certs::dsse::{KeySet, PayloadType};
use windlass_certs::files::create_private_dir;
use windlass_certs::identity::Identity;
use windlass_certs::trust::TrustDocument;
use windlass_core::{Digest, FleetId, Timestamp};
use windlass_testkit::keys::{Keys, seal, seal_trust};
use windlass_testkit::release;

use windlass_testkit::now;

/// Name of the fleet.
pub const FLEET: &str = "herd";

/// The keys.
#[derive(Debug)]
pub struct Papers {
    /// Certifies agents, operators and the coordinator.
    pub ca: CertificateAuthority,
    keys: Keys,
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
        Ok(Self { ca: CertificateAuthority::generate(fleet(), now())?, keys: Keys::generate() })
    }

    /// Writes the folder that `windlass init --server-dir` makes.
    pub fn write(&self, folder: &Path, listen: SocketAddr, settings: &str) -> Result<()> {
        create_private_dir(folder)?;
        self.ca.save(&folder.join("ca"))?;
        create_private_dir(&folder.join("keys"))?;
        create_private_dir(&folder.join("trust"))?;
        self.keys.dispatch.save(&folder.join("keys/dispatch.key"))?;
        self.keys.audit.save(&folder.join("keys/audit.key"))?;
        let document = TrustDocument {
            fleet: fleet(),
            ca: vec![self.ca.fingerprint()],
            coordinators: vec![listen.to_string()],
            ..self.keys.document(now())
        };
        fs::write(folder.join("trust/1.json"), seal_trust(&document, &[&self.keys.root]))?;
        Ok(fs::write(folder.join("server.toml"), settings)?)
    }

    /// A certificate of an operator with `grant`.
    pub fn operator(&self, grant: &str) -> Result<CertifiedIdentity> {
        let identity = Identity::operator(fleet(), &"alice".parse()?);
        Ok(self.ca.issue_new(&Leaf::operator(identity, grant.parse()?, 1), now())?)
    }

    /// Whose signature a plan needs.
    pub fn dispatch_keys(&self) -> KeySet {
        KeySet::new([self.keys.dispatch.public()], 1)
    }

    /// Whose signature a release needs.
    pub fn release_keys(&self) -> KeySet {
        KeySet::new([self.keys.release.public()], 1)
    }

    /// Signs `wanted`: an ordinary web service, with nothing to wait for but the hosts themselves.
    pub fn sign(&self, wanted: &Wanted<'_>) -> Signed {
        self.signed(&payload(wanted))
    }

    /// The same as a canary of three steps, each judged by the exits of its instances over two windows of 10 s.
    pub fn sign_canary(&self, wanted: &Wanted<'_>) -> Signed {
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

    fn signed(&self, payload: &serde_json::Value) -> Signed {
        let envelope = seal(PayloadType::Release, payload, &[&self.keys.release]);
        Signed { digest: envelope.digest(), envelope: envelope.to_bytes() }
    }
}

fn payload(wanted: &Wanted<'_>) -> serde_json::Value {
    let Wanted { service, counter, role, replicas, batch } = wanted;
    let probe = json!({
        "check": { "http": { "path": "/health/ready", "port": "http" } },
        "every": "5s", "timeout": "3s", "failures": 3, "successes": 1,
    });
    let mut image = release::image(
        &format!("registry.herd:5000/{service}"),
        &counter.to_string(),
        Digest::of(&counter.to_be_bytes()),
    );
    image["size"] = 50_000_000.into();
    let mut payload = release::payload(
        *counter,
        json!({
            "image": image,
            "scale": replicas.map_or_else(|| json!("per_host"), |count| release::replicas(count, count)),
            "placement": { "require": { "role": role }, "spread": "host" },
            "ports": { "http": { "container": 8080 } }, "main_port": "http",
            "env": { "NODE_ENV": "production", "UPSTREAM": "http://backend.internal:8000" },
            "security": { "user": "65534", "read_only_root": true },
            "health": { "readiness": probe }, "strategy": release::rolling(*batch, "0s"),
            "soak": "0s", "progress_deadline": "10m", "rollback_on": { "restarts": 3, "unhealthy_for": "2m" },
        }),
    );
    payload["fleet"] = FLEET.into();
    payload["service"] = (*service).into();
    payload["created_at"] = now().to_string().into();
    payload
}

/// The fleet's name.
pub(super) fn fleet() -> FleetId {
    FLEET.parse().expect("a constant that is a name")
}

/// Now, where a module of the simulator needs it as documents write it.
pub(super) fn timestamp() -> Timestamp {
    now()
}
