//! A fleet for tests: keys, CA, trust documents, and documents signed with them.

pub(crate) mod coordinator;

use serde_json::json;
use windlass_certs::ca::CertificateAuthority;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{TrustDocument, TrustStore};
use windlass_core::audit::Checkpoint;
use windlass_core::plan::HostPlan;
use windlass_core::reconcile::{Container, ContainerState, Likeness, RestartPolicy};
use windlass_core::release::Release;
use windlass_core::traffic::Routes;
use windlass_core::{Counter, Digest, FleetId, HostId, Timestamp};
use windlass_testkit::keys::{self, Keys};
use windlass_testkit::plan;
use windlass_testkit::release::{self, image, recreate, replicas};

use crate::clock;

/// A fleet called `demo` with a host `web-1`.
pub(crate) struct Fleet {
    pub(crate) keys: Keys,
    /// Another release key, that no trust document names unless a test adds it.
    pub(crate) second: SigningKey,
    pub(crate) ca: CertificateAuthority,
    pub(crate) now: Timestamp,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let now = clock::now();
        let ca = CertificateAuthority::generate(fleet(), now).unwrap();
        Self { keys: Keys::generate(), second: keys::key(), ca, now }
    }

    /// Version 1 of the trust document.
    pub(crate) fn document(&self) -> TrustDocument {
        TrustDocument { ca: vec![self.ca.fingerprint()], ..self.keys.document(self.now) }
    }

    /// The envelope of a trust document.
    pub(crate) fn sign_trust(&self, document: &TrustDocument) -> Vec<u8> {
        keys::seal_trust(document, &[&self.keys.root])
    }

    /// The trust store with one document in it.
    pub(crate) fn trust(&self, document: &TrustDocument) -> TrustStore {
        let envelope = self.sign_trust(document);
        let digest = Envelope::parse(&envelope, PayloadType::Trust.max_len()).unwrap().digest();
        TrustStore::restore(&fleet(), digest, &envelope).unwrap()
    }

    /// The envelope of a release, and its digest.
    pub(crate) fn sign_release(&self, release: &Release) -> (Digest, Vec<u8>) {
        let envelope = keys::seal(PayloadType::Release, release, &[&self.keys.release]);
        (envelope.digest(), envelope.to_bytes())
    }

    /// A plan with one slot per release.
    pub(crate) fn plan(&self, seq: u64, releases: &[Digest]) -> HostPlan {
        let slots = (0..).zip(releases).map(|(index, release)| plan::running(index, *release));
        HostPlan { version: 1, ..plan::plan("web-1", seq, self.now, slots.collect()) }
    }

    /// The envelope of a plan.
    pub(crate) fn sign_plan(&self, plan: &HostPlan) -> Vec<u8> {
        keys::seal(PayloadType::Plan, plan, &[&self.keys.dispatch]).to_bytes()
    }

    /// An empty traffic table of `production`.
    pub(crate) fn routes(&self, seq: u64) -> Routes {
        Routes {
            version: 1,
            fleet: fleet(),
            environment: "production".parse().unwrap(),
            epoch: 1,
            seq,
            issued_at: self.now,
            names: Vec::new(),
            services: Vec::new(),
        }
    }

    /// The envelope of a traffic table.
    pub(crate) fn sign_routes(&self, routes: &Routes) -> Vec<u8> {
        keys::seal(PayloadType::Routes, routes, &[&self.keys.dispatch]).to_bytes()
    }

    /// The envelope of a checkpoint.
    pub(crate) fn sign_checkpoint(&self, size: u64, head: Digest) -> Vec<u8> {
        let checkpoint = Checkpoint { version: 1, fleet: fleet(), size, head, segment: 0, at: self.now };
        keys::seal(PayloadType::Audit, &checkpoint, &[&self.keys.audit]).to_bytes()
    }

    pub(crate) fn sign(
        &self,
        kind: PayloadType,
        payload: &impl serde::Serialize,
        signers: &[&SigningKey],
    ) -> Vec<u8> {
        keys::seal(kind, payload, signers).to_bytes()
    }
}

pub(crate) fn fleet() -> FleetId {
    "demo".parse().unwrap()
}

pub(crate) fn host() -> HostId {
    "web-1".parse().unwrap()
}

pub(crate) fn digest_of(envelope: &[u8]) -> Digest {
    Envelope::parse(envelope, PayloadType::Plan.max_len()).unwrap().digest()
}

/// Release `counter`: small, with a variable of its own, for hosts of the tests' platform.
pub(crate) fn release(counter: u64) -> Release {
    let mut image = image("registry.example.com/team/web", "1", Digest::of(b"image"));
    image["platform"] = crate::facts::platform().into();
    release::release(
        counter,
        json!({
            "image": image, "scale": replicas(1, 2), "placement": { "require": { "role": "app" }, "spread": "host" },
            "ports": { "http": { "container": 3000 } }, "main_port": "http", "env": { "N": counter.to_string() },
            "resources": { "cpu_millis": 500, "memory": "64MiB", "pids": 100 },
            "security": { "read_only_root": true }, "strategy": recreate("1s"), "soak": "1s",
            "progress_deadline": "10m", "rollback_on": { "restarts": 3, "unhealthy_for": "2m" },
        }),
    )
}

/// Number `n` as a release counter.
pub(crate) fn counter(n: u64) -> Counter {
    Counter(n)
}

/// A container that runs.
pub(crate) fn container() -> Container {
    Container {
        id: "c1".to_owned(),
        instance: "web.0".to_owned(),
        slot: "production/web/0".parse().unwrap(),
        release: Digest::of(b"release"),
        content: Digest::of(b"content"),
        counter: Counter(1),
        generation: 0,
        side: Default::default(),
        ports: Default::default(),
        memory: 0,
        gpus: Vec::new(),
        created_at: clock::now(),
        state: ContainerState::Running { started_at: clock::now() },
        policy: RestartPolicy::No,
        restarts: 0,
        last_exit: None,
        health: None,
        plan: None,
        name: "web.0".to_owned(),
        likeness: Likeness::Same,
        answers: Default::default(),
    }
}
