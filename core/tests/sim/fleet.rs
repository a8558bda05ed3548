//! The releases and facts that the model uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_core::host::{HostFacts, HostPolicy};
use windlass_core::reconcile::VerifiedRelease;
use windlass_core::release::{
    Check, Health, Image, OnFailure, OnLost, Placement, Probe, Release, Resources, RollbackOn, Scale,
    Security, Spec, Strategy,
};
use windlass_core::{Amount, Counter, Digest, Size, Span, Timestamp};

/// Seconds from the start of a process until it is ready.
pub(crate) const START: u64 = 2;
/// Seconds it must be ready to count.
pub(crate) const MIN_READY: u64 = 5;

/// The behaviour of a release's process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behaviour {
    Good,
    NeverReady,
    ExitsAtOnce,
    CrashesLater,
    CannotPull,
}

/// Every release there is, and what its process does.
#[derive(Default)]
pub(crate) struct Catalogue {
    pub(crate) releases: BTreeMap<Digest, Arc<VerifiedRelease>>,
    behaviours: BTreeMap<Digest, Behaviour>,
}

impl Catalogue {
    pub(crate) fn add(&mut self, release: Release, behaviour: Behaviour) -> Digest {
        let digest = Digest::of(&serde_json::to_vec(&release).unwrap());
        self.behaviours.insert(release.spec.image.digest, behaviour);
        self.releases.insert(digest, Arc::new(VerifiedRelease::new(digest, release)));
        digest
    }

    /// The behaviour of an image's process.
    pub(crate) fn of_image(&self, image: &Digest) -> Behaviour {
        self.behaviours[image]
    }

    pub(crate) fn behaviour(&self, release: &Digest) -> Behaviour {
        self.of_image(&self.releases[release].release.spec.image.digest)
    }
}

pub(crate) fn replicas(count: u32) -> Scale {
    Scale::Replicas { min: count, max: count }
}

/// The specification that a scenario changes.
pub(crate) fn spec(count: u32) -> Spec {
    let startup = Probe {
        check: Check::Exec { argv: vec!["true".into()] },
        every: Span::from_secs(1),
        timeout: Span::from_secs(1),
        failures: 12,
        successes: 1,
    };
    Spec {
        image: Image {
            reference: String::new(),
            repository: "127.0.0.1:5000/web".to_owned(),
            digest: Digest::of(b""),
            platform: "linux/amd64".to_owned(),
            size: 1,
        },
        command: None,
        args: None,
        workdir: None,
        scale: replicas(count),
        placement: Placement::default(),
        ports: BTreeMap::new(),
        main_port: None,
        env: BTreeMap::new(),
        files: BTreeMap::new(),
        volumes: BTreeMap::new(),
        resources: Resources { cpu_millis: 100, memory: Size::from_bytes(64 << 20), pids: 64, gpus: None },
        security: Security::default(),
        health: Health { startup: Some(startup), ..Health::default() },
        strategy: rolling(Amount::Percent(25), Amount::Percent(25), Amount::Count(0)),
        soak: Span::from_secs(10),
        progress_deadline: Span::from_secs(120),
        stop_timeout: Span::from_secs(10),
        on_failure: OnFailure::RollbackAll,
        rollback_on: RollbackOn::on_host(1, Span::from_secs(120)),
        on_lost: OnLost::default(),
        exclusive: false,
        floor: None,
        traffic: Default::default(),
        warm_up: Vec::new(),
        smoke: Vec::new(),
        checks: Vec::new(),
        uses: Vec::new(),
        gates: std::collections::BTreeMap::new(),
        hooks: Default::default(),
        container: Default::default(),
    }
}

pub(crate) fn rolling(batch: Amount, max_surge: Amount, max_unavailable: Amount) -> Strategy {
    let min_ready = Span::from_secs(MIN_READY);
    Strategy::Rolling { batch, max_surge, max_unavailable, order: Default::default(), min_ready }
}

pub(crate) fn recreate() -> Strategy {
    Strategy::Recreate { min_ready: Span::from_secs(MIN_READY) }
}

pub(crate) fn release(counter: u64, spec: &Spec) -> Release {
    let mut spec = spec.clone();
    spec.image.reference = format!("127.0.0.1:5000/web:v{counter}");
    spec.image.digest = Digest::of(&counter.to_be_bytes());
    Release {
        version: 1,
        fleet: "sim".parse().unwrap(),
        environment: "production".parse().unwrap(),
        service: "web".parse().unwrap(),
        counter: Counter(counter),
        created_at: Timestamp::ZERO,
        author: "sim".to_owned(),
        spec,
    }
}

pub(crate) fn facts() -> HostFacts {
    HostFacts {
        platform: "linux/amd64".to_owned(),
        cpu_millis: 4000,
        memory: 8 << 30,
        address: "127.0.0.1".to_owned(),
        plan_versions: windlass_core::plan::PLAN_VERSIONS.to_vec(),
        policy: HostPolicy {
            registries: vec!["127.0.0.1:5000".to_owned()],
            host_ports: [8080].into(),
            ..HostPolicy::default()
        },
        ..HostFacts::default()
    }
}
