//! A fleet for tests: keys, CA, trust documents, and documents signed with them.

pub(crate) mod coordinator;
pub(crate) mod promtool;

use std::time::Duration;

use windlass_certs::ca::CertificateAuthority;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{
    EnvironmentScope, ReleaseRole, Revoked, RoleKeys, Roles, TrustDocument, TrustStore,
};
use windlass_core::audit::Checkpoint;
use windlass_core::plan::{HostPlan, Order, Phase, PlanSlot};
use windlass_core::reconcile::{Container, ContainerState, Likeness, RestartPolicy};
use windlass_core::release::Release;
use windlass_core::traffic::Routes;
use windlass_core::{Counter, Digest, FleetId, HostId, Timestamp};

use crate::clock;

/// A fleet called `demo` with a host `web-1`.
pub(crate) struct Fleet {
    pub(crate) root: SigningKey,
    pub(crate) release: SigningKey,
    /// Another release key, that no trust document names unless a test adds it.
    pub(crate) second: SigningKey,
    pub(crate) dispatch: SigningKey,
    pub(crate) audit: SigningKey,
    pub(crate) ca: CertificateAuthority,
    pub(crate) now: Timestamp,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let key = || SigningKey::generate().unwrap();
        let now = clock::now();
        Self {
            root: key(),
            release: key(),
            second: key(),
            dispatch: key(),
            audit: key(),
            ca: CertificateAuthority::generate(fleet(), now).unwrap(),
            now,
        }
    }

    /// Version 1 of the trust document.
    pub(crate) fn document(&self) -> TrustDocument {
        let role = |key: &SigningKey| RoleKeys { keys: vec![key.public()], threshold: 1 };
        let release = ReleaseRole {
            environment: EnvironmentScope::Any,
            services: None,
            keys: vec![self.release.public()],
            threshold: 1,
            retired: Vec::new(),
        };
        TrustDocument {
            fleet: fleet(),
            version: 1,
            epoch: 1,
            created_at: self.now - Duration::from_secs(3600),
            expires_at: self.now + Duration::from_secs(86_400 * 365),
            root: role(&self.root),
            roles: Roles {
                release: vec![release],
                dispatch: role(&self.dispatch),
                audit: role(&self.audit),
                revoke: None,
            },
            hosts: Default::default(),
            ca: vec![self.ca.fingerprint()],
            coordinators: vec!["127.0.0.1:1".to_owned()],
            floors: Default::default(),
            revoked: Revoked::default(),
        }
    }

    /// The envelope of a trust document.
    pub(crate) fn sign_trust(&self, document: &TrustDocument) -> Vec<u8> {
        self.sign(PayloadType::Trust, document, &[&self.root])
    }

    /// The trust store with one document in it.
    pub(crate) fn trust(&self, document: &TrustDocument) -> TrustStore {
        let envelope = self.sign_trust(document);
        let digest = Envelope::parse(&envelope, PayloadType::Trust.max_len()).unwrap().digest();
        TrustStore::restore(&fleet(), digest, &envelope).unwrap()
    }

    /// A release with this number, as its payload.
    pub(crate) fn payload(&self, counter: u64) -> Release {
        let text = format!(
            r#"{{"version":1,"fleet":"demo","environment":"production","service":"web","counter":"r{counter}",
            "created_at":"2020-01-01T00:00:00.000Z","author":"alice","spec":{{
            "image":{{"reference":"registry.example.com/team/web:1","repository":"registry.example.com/team/web",
            "digest":"{}","platform":"{}","size":1000}},
            "scale":{{"replicas":{{"min":1,"max":2}}}},"placement":{{"require":{{"role":"app"}},"spread":"host"}},
            "ports":{{"http":{{"container":3000}}}},"main_port":"http","env":{{"N":"{counter}"}},
            "resources":{{"cpu_millis":500,"memory":"64MiB","pids":100}},"security":{{"read_only_root":true}},
            "health":{{}},"strategy":{{"recreate":{{"min_ready":"1s"}}}},"soak":"1s","progress_deadline":"10m",
            "stop_timeout":"10s","on_failure":"rollback_all","rollback_on":{{"restarts":3,"unhealthy_for":"2m"}},
            "on_lost":{{"on_return":"keep_new"}}}}}}"#,
            Digest::of(b"image"),
            crate::facts::platform(),
        );
        serde_json::from_str(&text).unwrap()
    }

    /// The envelope of a release, and its digest.
    pub(crate) fn sign_release(&self, release: &Release) -> (Digest, Vec<u8>) {
        let envelope = self.sign(PayloadType::Release, release, &[&self.release]);
        (digest_of(&envelope), envelope)
    }

    /// A plan with one slot per release.
    pub(crate) fn plan(&self, seq: u64, releases: &[Digest]) -> HostPlan {
        let slot = |(index, release): (usize, &Digest)| PlanSlot {
            slot: format!("production/web/{index}").parse().unwrap(),
            release: *release,
            phase: Phase::Running,
            good: false,
            fallback: None,
            order: Order::StartFirst,
            gpus: Vec::new(),
            previous: None,
            retry_quarantined: false,
            generation: 0,
            keeps_older: false,
            task: None,
        };
        HostPlan {
            version: 1,
            fleet: fleet(),
            host: host(),
            epoch: 1,
            seq,
            issued_at: self.now,
            expires_at: self.now + Duration::from_secs(86_400),
            slots: releases.iter().enumerate().map(slot).collect(),
        }
    }

    /// The envelope of a plan.
    pub(crate) fn sign_plan(&self, plan: &HostPlan) -> Vec<u8> {
        self.sign(PayloadType::Plan, plan, &[&self.dispatch])
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
        self.sign(PayloadType::Routes, routes, &[&self.dispatch])
    }

    /// The envelope of a checkpoint.
    pub(crate) fn sign_checkpoint(&self, size: u64, head: Digest) -> Vec<u8> {
        let checkpoint = Checkpoint { version: 1, fleet: fleet(), size, head, segment: 0, at: self.now };
        self.sign(PayloadType::Audit, &checkpoint, &[&self.audit])
    }

    pub(crate) fn sign(
        &self,
        kind: PayloadType,
        payload: &impl serde::Serialize,
        keys: &[&SigningKey],
    ) -> Vec<u8> {
        Envelope::sign(kind, serde_json::to_vec(payload).unwrap(), keys).to_bytes()
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
