//! The releases and facts that the model uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use windlass_core::host::{HostFacts, HostPolicy};
use windlass_core::reconcile::VerifiedRelease;
use windlass_core::release::{Release, Scale, Spec, Strategy};
use windlass_core::{Amount, Digest, Span};

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
    let startup = json!({
        "check": { "exec": { "argv": ["true"] } }, "every": "1s", "timeout": "1s", "failures": 12, "successes": 1,
    });
    let scale = windlass_testkit::release::replicas(count, count);
    windlass_testkit::release::spec(1, json!({ "scale": scale, "health": { "startup": startup } }))
}

pub(crate) fn rolling(batch: Amount, max_surge: Amount, max_unavailable: Amount) -> Strategy {
    let min_ready = Span::from_secs(MIN_READY);
    Strategy::Rolling { batch, max_surge, max_unavailable, order: Default::default(), min_ready }
}

pub(crate) fn recreate() -> Strategy {
    Strategy::Recreate { min_ready: Span::from_secs(MIN_READY) }
}

pub(crate) fn release(counter: u64, spec: &Spec) -> Release {
    let usual = windlass_testkit::release::release(counter, json!({}));
    Release { spec: Spec { image: usual.spec.image, ..spec.clone() }, ..usual }
}

pub(crate) fn facts() -> HostFacts {
    HostFacts {
        platform: "linux/amd64".to_owned(),
        cpu_millis: 4000,
        memory: 8 << 30,
        address: "127.0.0.1".to_owned(),
        plan_versions: windlass_core::plan::PLAN_VERSIONS.to_vec(),
        policy: HostPolicy {
            registries: vec!["registry.lab:5000".to_owned()],
            host_ports: [8080].into(),
            ..HostPolicy::default()
        },
        ..HostFacts::default()
    }
}
