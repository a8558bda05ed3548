//! A host: a reconciler over a real engine, fed by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_agent::lease::Contact;
use windlass_agent::reconciler::{MemoryStore, Options, Reconciler, Wires};
use windlass_agent::runtime::docker::DockerEngine;
use windlass_agent::runtime::{Runtime, RuntimeError};
use windlass_core::Digest;
use windlass_core::observation::{Observation, SlotObservation, SlotStatus};
use windlass_core::plan::{HostPlan, PlanSlot};
use windlass_core::reconcile::{Desired, Memory, VerifiedRelease};
use windlass_core::release::Spec;
pub use windlass_testkit::plan::{good, replacing, running, slot};
use windlass_testkit::{plan, release};

/// The memory of a host, as a disk would keep it.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<Memory>>);

impl MemoryStore for Disk {
    async fn save(&self, memory: &Memory) -> anyhow::Result<()> {
        let text = serde_json::to_string(memory)?;
        *self.0.lock().unwrap() = serde_json::from_str(&text)?;
        Ok(())
    }
}

pub struct Host {
    pub engine: Arc<DockerEngine>,
    pub disk: Disk,
    images: BTreeMap<String, (String, Digest)>,
    desired: watch::Sender<Arc<Desired>>,
    pub observation: watch::Receiver<Arc<Observation>>,
    contact: watch::Sender<Option<Contact>>,
    unwritable: watch::Sender<Option<String>>,
    plan: HostPlan,
    agent: JoinSet<anyhow::Result<()>>,
    files: tempfile::TempDir,
}

impl Host {
    /// A host named `name` on the engine of the environment, with nothing on it; `None` without an engine.
    pub async fn new(name: &str) -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let Some((socket, address)) = variable("WINDLASS_TEST_SOCKET").zip(variable("WINDLASS_TEST_ADDRESS"))
        else {
            println!("left out: no engine (WINDLASS_TEST_SOCKET, WINDLASS_TEST_ADDRESS)");
            return None;
        };
        let list =
            std::fs::read_to_string(variable("WINDLASS_TEST_IMAGES").expect("WINDLASS_TEST_IMAGES")).unwrap();
        let image = |line: &str| {
            let (reference, digest) = line.split_once(' ')?;
            let (repository, tag) = reference.rsplit_once(':')?;
            Some((tag.to_owned(), (repository.to_owned(), digest.parse().ok()?)))
        };
        let local = Arc::new(plan::local(name, &address));
        let files = tempfile::tempdir().unwrap();
        let engine = Arc::new(DockerEngine::new(&socket, local.clone(), files.path()).unwrap());
        for seen in engine.list().await.unwrap() {
            engine.stop(&seen.id).await.unwrap();
            engine.remove(&seen.id, "-").await.unwrap();
        }
        let desired = plan::nothing(local.clone());
        let plan = plan::plan(name, 0, windlass_testkit::now(), Vec::new());
        let (desired, _) = watch::channel(Arc::new(desired));
        let (_, observation) = watch::channel(Arc::default());
        let (contact, _) = watch::channel(None);
        let (unwritable, _) = watch::channel(None);
        let mut host = Self {
            engine,
            disk: Disk::default(),
            images: list.lines().filter_map(image).collect(),
            desired,
            observation,
            contact,
            unwritable,
            plan,
            agent: JoinSet::new(),
            files,
        };
        host.start_agent();
        Some(host)
    }

    /// Starts the agent over what the disk keeps.
    pub fn start_agent(&mut self) {
        let (sender, receiver) = watch::channel(Arc::default());
        self.observation = receiver;
        let wires = Wires {
            desired: self.desired.subscribe(),
            contact: self.contact.subscribe(),
            observation: sender,
            unwritable: self.unwritable.subscribe(),
            cancel: CancellationToken::new(),
        };
        let memory = self.disk.0.lock().unwrap().clone();
        let agent =
            Reconciler::new(self.engine.clone(), self.disk.clone(), memory, wires, Options::default());
        self.agent.spawn(agent.run());
    }

    /// Kills the agent.
    pub async fn kill_agent(&mut self) {
        self.agent.shutdown().await;
    }

    /// A release of the image `tag`.
    pub fn release(&self, counter: u64, tag: &str, change: impl FnOnce(&mut Spec)) -> Digest {
        let (repository, digest) = &self.images[tag];
        let probe = json!({"check": {"http": {"path": "/health", "port": "http"}}, "every": "500ms",
            "timeout": "1s", "failures": 10, "successes": 1});
        let mut image = release::image(repository, tag, digest);
        image["size"] = 3_000_000.into();
        let mut release = release::release(
            counter,
            json!({
                "image": image, "scale": release::replicas(1, 9),
                "ports": {"http": {"container": 8080}}, "main_port": "http",
                "security": {"read_only_root": true, "user": "1000:1000", "tmpfs": ["/tmp"]},
                "health": {"startup": probe, "readiness": probe},
                "strategy": release::rolling(1, "0s"), "soak": "0s", "progress_deadline": "10m",
                "rollback_on": {"restarts": 2, "unhealthy_for": "2s"},
            }),
        );
        change(&mut release.spec);
        let digest = Digest::of(&serde_json::to_vec(&release).unwrap());
        let verified = Arc::new(VerifiedRelease::new(digest, release));
        self.desired.send_modify(|desired| drop(Arc::make_mut(desired).releases.insert(digest, verified)));
        digest
    }

    pub fn plan(&mut self, slots: Vec<PlanSlot>) {
        self.plan.seq += 1;
        self.plan.slots = slots;
        let plan = Arc::new(self.plan.clone());
        self.desired.send_modify(|desired| Arc::make_mut(desired).plan = Some(plan));
    }

    /// Waits until the observation is as wanted, and says how long that took.
    pub async fn until(&mut self, what: &str, limit: u64, wanted: impl Fn(&Observation) -> bool) -> Duration {
        let begun = Instant::now();
        let waiting = self.observation.wait_for(|seen| wanted(seen));
        let outcome = tokio::time::timeout(Duration::from_secs(limit), waiting).await.map(drop);
        assert!(outcome.is_ok(), "{what} did not come: {:#?}", self.observation.borrow());
        begun.elapsed()
    }

    pub async fn settled(&mut self, limit: u64) -> Duration {
        let seq = self.plan.seq;
        self.until("settled", limit, move |seen| {
            seen.seq == seq
                && !seen.slots.is_empty()
                && seen.slots.iter().all(|slot| slot.status == SlotStatus::Settled)
        })
        .await
    }

    pub fn seen(&self, index: u32) -> SlotObservation {
        self.observation.borrow().slot(&slot(index)).cloned().expect("the slot is reported")
    }

    /// `r1 healthy, r2 failed`: the newest first.
    pub fn picture(&self, index: u32) -> String {
        let instances = self.seen(index).instances;
        let text = instances.iter().map(|seen| format!("{} {}", seen.counter, seen.state.as_str()));
        text.collect::<Vec<_>>().join(", ")
    }

    pub fn files(&self) -> usize {
        std::fs::read_dir(self.files.path()).map_or(0, Iterator::count)
    }

    /// Leaves nothing behind.
    pub async fn clear(mut self) -> Result<(), RuntimeError> {
        self.plan(Vec::new());
        self.until("everything gone", 60, |seen| seen.slots.is_empty()).await;
        assert!(self.engine.list().await?.is_empty());
        let begun = Instant::now();
        while self.files() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(5), "no files of instances stay");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.kill_agent().await;
        Ok(())
    }
}
