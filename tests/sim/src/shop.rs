//! Every release that an operator signed, and what its process does when it runs.

mod lane;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_core::release::{Release, Scale, Strategy};
use windlass_core::{Counter, Digest, ServiceId, Span, Timestamp};
use windlass_testkit::keys::seal;
use windlass_testkit::release::release;

use crate::dice::Dice;
use crate::keys::{fleet, keys};

pub use lane::Lane;

/// The behaviour of an image's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Ready after a while, and then for good.
    Good,
    /// It runs and is never ready.
    NeverReady,
    /// It exits before it was ready.
    ExitsAtOnce,
    /// The kernel kills it before it was ready.
    OutOfMemory,
    /// It exits after it has been ready for a while, every time.
    CrashesLater,
    /// It is ready for a while, and then not any more.
    TurnsUnready,
    /// It is ready for a while, and then does not answer at all.
    Hangs,
    /// The registry does not have its image.
    CannotPull,
    /// The registry has other bytes under its name.
    WrongImage,
    /// The engine does not start it.
    CannotStart,
}

impl Behaviour {
    const BAD: [Self; 9] = [
        Self::NeverReady,
        Self::ExitsAtOnce,
        Self::OutOfMemory,
        Self::CrashesLater,
        Self::TurnsUnready,
        Self::Hangs,
        Self::CannotPull,
        Self::WrongImage,
        Self::CannotStart,
    ];

    /// Mostly a good one, else any bad one.
    pub fn any(dice: &mut Dice) -> Self {
        if dice.chance(55) { Self::Good } else { *dice.pick(&Self::BAD) }
    }
}

/// The shape of a service, for as long as a simulation lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Shares for batch and surge, nothing unavailable.
    Rolling,
    /// Two at a time, one more than wanted.
    Counted,
    /// Half of it may be unavailable, and nothing runs beside.
    Unavailable,
    /// The old instance stops first because the manifest says so.
    StopFirst,
    /// Stop all, start all.
    Recreate,
    /// A second set beside the first one, and the traffic in two steps.
    BlueGreen,
    /// The same with a fixed port of the host, so that the second set stands on other hosts.
    BlueGreenApart,
    /// A few new instances first, and the traffic in three steps.
    Canary,
    /// One on every host.
    PerHost,
    /// A named volume: its slots stay where they are.
    Volume,
    /// A fixed port of the host.
    FixedPort,
    /// A lost host's slots are made elsewhere.
    Replaced,
    /// As before, and the host stops them by itself when it is alone.
    Isolated,
    /// One instance, of which two never run at once.
    Exclusive,
}

/// Time for which a service that never runs twice goes on where nobody acknowledges a heartbeat.
pub const LEASE: Duration = Duration::from_secs(30);

/// Every shape.
pub const SHAPES: [Shape; 14] = [
    Shape::Rolling,
    Shape::Counted,
    Shape::Unavailable,
    Shape::StopFirst,
    Shape::Recreate,
    Shape::PerHost,
    Shape::Volume,
    Shape::FixedPort,
    Shape::Replaced,
    Shape::Isolated,
    Shape::Exclusive,
    Shape::BlueGreen,
    Shape::BlueGreenApart,
    Shape::Canary,
];

/// A service of the simulation.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name.
    pub id: ServiceId,
    /// Its shape.
    pub shape: Shape,
    /// The number of its instances at the beginning.
    pub replicas: u32,
    /// MiB of each.
    memory: u64,
    on_failure: &'static str,
    keep_old: bool,
    /// The way of requests to it, if there are any.
    lane: Option<Lane>,
}

/// A release as it was signed.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The release.
    pub release: Release,
    /// Digest of its content.
    pub content: Digest,
    /// Its envelope.
    pub envelope: Envelope,
}

/// The behaviour of an image's process, and the time until it is ready.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its behaviour.
    pub behaviour: Behaviour,
    /// Milliseconds until it is ready.
    pub start: u64,
    /// Bytes of the image, which say how long a pull takes.
    pub size: u64,
    /// Thousandths of the requests that it fails.
    pub errors: u64,
}

/// Releases and images.
#[derive(Debug, Default)]
pub struct Shop {
    /// By digest of the payload.
    pub signed: BTreeMap<Digest, Signed>,
    /// By digest of the image.
    pub images: BTreeMap<Digest, Program>,
    made: u64,
}

impl Profile {
    /// A service, drawn.
    ///
    /// # Panics
    /// Never: the names are names.
    pub fn draw(dice: &mut Dice, n: usize, hosts: usize) -> Self {
        let mut shape = *dice.pick(&SHAPES);
        if matches!(shape, Shape::FixedPort | Shape::BlueGreenApart) && n > 0 {
            shape = Shape::Rolling; // there is one such port
        }
        let hosts = u32::try_from(hosts).unwrap_or(1);
        let replicas = match shape {
            Shape::Exclusive => 1,
            Shape::FixedPort => 1 + u32::try_from(dice.below(u64::from(hosts))).unwrap_or(0),
            // Both sets have room while every host is there, and later perhaps not.
            Shape::BlueGreenApart => (hosts / 2).max(1),
            _ => 1 + u32::try_from(dice.below(5)).unwrap_or(0),
        };
        Self {
            id: format!("production/s{n}").parse().expect("a service's name"),
            shape,
            replicas,
            memory: *dice.pick(&[32, 64, 200]),
            on_failure: *dice.pick(&["rollback_all", "rollback_all", "rollback_failed", "pause"]),
            keep_old: dice.chance(50),
            lane: None,
        }
    }

    fn strategy(&self) -> Value {
        let rolling = |batch: Value, surge: Value, unavailable: Value, order: &str| {
            json!({ "rolling": {
                "batch": batch, "max_surge": surge, "max_unavailable": unavailable, "order": order, "min_ready": "3s"
            } })
        };
        match self.shape {
            Shape::Counted => rolling(json!(2), json!(1), json!(0), "auto"),
            Shape::Exclusive => rolling(json!(1), json!(0), json!(1), "auto"),
            Shape::Unavailable => rolling(json!("50%"), json!(0), json!("50%"), "auto"),
            Shape::StopFirst => rolling(json!("25%"), json!("25%"), json!(1), "stop_first"),
            Shape::Recreate => json!({ "recreate": { "min_ready": "3s" } }),
            Shape::BlueGreen | Shape::BlueGreenApart => json!({ "blue_green": {
                "steps": [100, 1000], "watch": "5s", "keep_old": "40s", "min_ready": "3s"
            } }),
            Shape::Canary => json!({ "canary": {
                "steps": [{ "weight": 100, "hold": "5s" }, { "weight": 500, "hold": "10s" }, { "weight": 1000 }],
                "min_instances": 1, "keep_old": "40s", "keep_failed": "20s", "min_ready": "3s"
            } }),
            Shape::Rolling
            | Shape::PerHost
            | Shape::Volume
            | Shape::FixedPort
            | Shape::Replaced
            | Shape::Isolated => rolling(json!("25%"), json!("25%"), json!(0), "auto"),
        }
    }

    fn spec(&self, image: Digest, size: u64, replicas: u32) -> Value {
        let probe = |every: &str, failures: u32| {
            json!({ "check": { "exec": { "argv": ["true"] } }, "every": every, "timeout": "1s",
                    "failures": failures, "successes": 1 })
        };
        let scale = match self.shape {
            Shape::PerHost => json!("per_host"),
            Shape::Exclusive => json!({ "replicas": { "min": 1, "max": 1 } }),
            _ => json!({ "replicas": { "min": replicas, "max": replicas + 2 } }),
        };
        let mut spec = json!({
            "image": {
                "reference": format!("registry.sim:5000/{}:1", self.id.name),
                "repository": format!("registry.sim:5000/{}", self.id.name),
                "digest": image, "platform": "linux/amd64", "size": size
            },
            "scale": scale,
            "ports": { "http": { "container": 80 } },
            "main_port": "http",
            "resources": { "cpu_millis": 100, "memory": format!("{}MiB", self.memory), "pids": 64 },
            "health": { "startup": probe("1s", 8), "readiness": probe("1s", 2), "liveness": probe("2s", 2) },
            "strategy": self.strategy(),
            "soak": "8s", "progress_deadline": "90s", "stop_timeout": "5s", "on_failure": self.on_failure,
            "rollback_on": { "restarts": 2, "unhealthy_for": "15s" },
            "on_lost": { "on_return": if self.keep_old { "keep_old" } else { "keep_new" } }
        });
        match self.shape {
            Shape::Volume => spec["volumes"] = json!({ "data": { "mount": "/data", "shared": true } }),
            Shape::FixedPort | Shape::BlueGreenApart => spec["ports"]["http"]["host"] = json!(8080),
            Shape::Canary => {
                spec["gates"] = json!({ "crashes": {
                    "ask": { "crashes": { "max": 0 } }, "window": "10s", "passes": 1, "fails": 1, "from_step": 1
                } });
            }
            Shape::Replaced => spec["on_lost"]["replace_after"] = json!("60s"),
            Shape::Isolated => {
                spec["on_lost"]["replace_after"] = json!("90s");
                spec["on_lost"]["stop_isolated_after"] = json!("40s");
            }
            Shape::Exclusive => {
                spec["exclusive"] = json!(true);
                spec["on_lost"] = json!({
                    "replace_after": "40s", "on_return": "keep_new",
                    "stop_isolated_after": Span::from_secs(LEASE.as_secs())
                });
            }
            Shape::Rolling
            | Shape::Counted
            | Shape::Unavailable
            | Shape::StopFirst
            | Shape::Recreate
            | Shape::BlueGreen
            | Shape::PerHost => {}
        }
        self.add_lane(&mut spec);
        spec
    }
}

impl Shop {
    /// Signs the next release of a service: a new image that behaves like that.
    pub fn make(
        &mut self,
        dice: &mut Dice,
        profile: &Profile,
        counter: u64,
        behaviour: Behaviour,
        now: Timestamp,
    ) -> Digest {
        self.made += 1;
        let image = Digest::of(format!("{} {}", profile.id, self.made).as_bytes());
        let size = 1000 * (1 + dice.below(9)) * if dice.chance(10) { 12 } else { 1 };
        let start = 200 + dice.below(3800);
        self.images.insert(image, Program { behaviour, start, size, errors: profile.errors(&image) });
        let replicas =
            if dice.chance(20) { 1 + u32::try_from(dice.below(4)).unwrap_or(0) } else { profile.replicas };
        let is_fixed = matches!(profile.shape, Shape::FixedPort | Shape::BlueGreenApart | Shape::Exclusive);
        let replicas = if is_fixed { profile.replicas } else { replicas };
        let mut spec = profile.spec(image, size, replicas);
        if dice.chance(12) && counter > 1 {
            spec["floor"] = json!(Counter(counter - 1));
        }
        self.sign(profile, counter, spec, now)
    }

    /// Signs the content of an older release again, under the next number.
    ///
    /// # Panics
    /// Never: a specification is JSON.
    pub fn again(&mut self, profile: &Profile, counter: u64, old: &Digest, now: Timestamp) -> Option<Digest> {
        let spec =
            serde_json::to_value(&self.signed.get(old)?.release.spec).expect("a specification is JSON");
        Some(self.sign(profile, counter, spec, now))
    }

    fn sign(&mut self, profile: &Profile, counter: u64, spec: Value, now: Timestamp) -> Digest {
        let usual = release(counter, spec);
        let release = Release {
            version: usual.spec.version(),
            fleet: fleet(),
            environment: profile.id.environment.clone(),
            service: profile.id.name.clone(),
            created_at: now,
            author: "sim".to_owned(),
            ..usual
        };
        let envelope = seal(PayloadType::Release, &release, &[&keys().release]);
        let digest = envelope.digest();
        let content = release.content_digest();
        self.signed.insert(digest, Signed { release, content, envelope });
        digest
    }

    /// A release that says the same, signed by nobody the fleet knows.
    pub fn forged(&self, digest: &Digest) -> Option<Envelope> {
        Some(seal(PayloadType::Release, &self.signed.get(digest)?.release, &[&keys().stranger]))
    }

    /// The number of instances of `total` that may be without a serving one while this release is rolled out, or back.
    pub fn allowed(&self, release: &Digest, total: usize) -> u32 {
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        match self.signed.get(release).map(|signed| signed.release.spec.strategy.clone()) {
            Some(Strategy::Rolling { max_unavailable, .. }) => max_unavailable.of_down(total).max(1),
            Some(Strategy::Recreate { .. }) => u32::MAX,
            Some(Strategy::BlueGreen { .. } | Strategy::Canary { .. }) => 1,
            None => 1,
        }
    }

    /// Whether its process does what it should.
    pub fn behaves(&self, release: &Digest) -> bool {
        let image = self.signed.get(release).map(|signed| signed.release.spec.image.digest);
        image.and_then(|image| self.images.get(&image)).is_some_and(|p| p.behaviour == Behaviour::Good)
    }

    /// Thousandths of the requests that a release fails.
    pub fn errors(&self, release: &Digest) -> u64 {
        let image = self.signed.get(release).map(|signed| signed.release.spec.image.digest);
        image.and_then(|image| self.images.get(&image)).map_or(0, |program| program.errors)
    }

    /// Whether the release runs on every host.
    pub fn is_per_host(&self, release: &Digest) -> bool {
        self.signed.get(release).is_some_and(|signed| signed.release.spec.scale == Scale::PerHost)
    }
}
