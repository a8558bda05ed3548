//! Containers, images and disk of the host as the agent sees them. Kept up to date by events, checked now and then.

mod closer;
mod events;
mod gpus;
mod look;
mod networks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::condition::Condition;
use windlass_core::reconcile::room::Capacity;
use windlass_core::reconcile::{Container, ContainerState, Desired, Likeness, LocalImage, Memory, Observed};
use windlass_core::{Digest, Timestamp};

use super::Options;
use super::execute::Finished;
use super::health::Probes;
use super::word::{self, Words};
use crate::runtime::{EngineEvent, EngineInfo, EventKind, Runtime, RuntimeError, RuntimeStream};
use crate::stats::disk;
use events::next;
use gpus::Gpus;

/// After the event stream was opened, everything is looked at once more: it may have missed the beginning.
const SETTLE: Duration = Duration::from_millis(250);

/// The host as the agent sees it.
pub(super) struct View<R> {
    runtime: Arc<R>,
    probes: Probes<R>,
    events: Option<RuntimeStream<EngineEvent>>,
    info: Option<EngineInfo>,
    containers: BTreeMap<String, Container>,
    /// The engine's word for the state of each, to notice changes without an event.
    words: BTreeMap<String, String>,
    /// Since when each is what the engine says of its health.
    said: Words,
    /// The last exit of each, as its event told it.
    exits: BTreeMap<String, (i64, bool)>,
    dirty: BTreeSet<String>,
    /// Which are made as the release says that they name, of those that the journal does not know.
    alike: BTreeMap<String, Likeness>,
    /// Images that are held.
    held: BTreeSet<Digest>,
    /// Over which the engine hangs, and when it is asked again.
    stuck: BTreeMap<String, Instant>,
    images: BTreeMap<Digest, LocalImage>,
    capacity: Capacity,
    gpus: Gpus,
    networks: networks::Seen,
    resync_at: Instant,
    images_at: Instant,
    resync: Duration,
    was_away: bool,
    /// Whether the leftovers of a crash were removed.
    is_tidy: bool,
    interrupted_before: Timestamp,
    now: fn() -> Timestamp,
}

impl<R: Runtime> View<R> {
    pub(super) fn new(runtime: Arc<R>, options: &Options) -> Self {
        Self {
            probes: Probes::new(runtime.clone(), options.answers.clone(), options.now),
            runtime,
            events: None,
            info: None,
            containers: BTreeMap::new(),
            words: BTreeMap::new(),
            said: Words::default(),
            exits: BTreeMap::new(),
            dirty: BTreeSet::new(),
            alike: BTreeMap::new(),
            held: BTreeSet::new(),
            stuck: BTreeMap::new(),
            images: BTreeMap::new(),
            capacity: Capacity { memory: options.memory, ..Capacity::default() },
            gpus: Gpus::new(options),
            networks: networks::Seen::default(),
            resync_at: Instant::now(),
            images_at: Instant::now(),
            resync: options.resync,
            was_away: false,
            is_tidy: false,
            // An end from before this agent watched may be that of a reboot, or of an engine that was restarted:
            // nobody saw. It gets another start, and what is bad shows itself again.
            interrupted_before: (options.now)(),
            now: options.now,
        }
    }

    /// Waits for something that may change the next decision. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        let event = tokio::select! {
            event = next(&mut self.events) => event,
            () = self.probes.changed() => return,
            () = self.gpus.changed() => return,
        };
        self.note(event);
    }

    /// Times of before do not compare with those of now.
    pub(super) fn clock_was_set(&mut self) {
        self.interrupted_before = self.interrupted_before.min((self.now)());
        self.probes.clock_was_set();
        self.said.clock_was_set((self.now)());
    }

    fn note(&mut self, event: Option<EngineEvent>) {
        let Some(EngineEvent { container, kind }) = event else {
            self.events = None; // the engine has gone, or closed the stream; a pause, lest it does so for ever
            self.resync_at = self.resync_at.min(Instant::now() + SETTLE);
            return;
        };
        match kind {
            EventKind::Died(code) => {
                let oom_killed =
                    self.exits.get(&container).is_some_and(|(code, oom)| *code == OOM_SEEN && *oom);
                self.exits.insert(container.clone(), (code, oom_killed));
            }
            EventKind::OutOfMemory => {
                self.exits.insert(container.clone(), (OOM_SEEN, true));
            }
            EventKind::Destroyed | EventKind::Changed => {}
        }
        self.dirty.insert(container);
    }

    /// Takes the result of a step.
    pub(super) fn take(&mut self, finished: Finished) {
        if let Some((id, seen)) = finished.seen {
            self.dirty.remove(&id);
            self.put(id, seen);
        }
        if let Some((digest, image)) = finished.image {
            self.images.insert(digest, image);
            self.measure();
        }
        if finished.images_changed {
            self.images_at = Instant::now();
            self.resync_at = Instant::now();
        }
        if finished.networks_changed {
            self.networks.changed();
        }
        if finished.unavailable {
            self.resync_at = Instant::now();
        }
    }

    fn put(&mut self, id: String, seen: Option<Container>) {
        self.gpus.note(self.containers.get(&id), seen.as_ref());
        match seen {
            Some(mut seen) => {
                self.said.note(&mut seen, (self.now)());
                self.containers.insert(id, seen);
            }
            None => {
                self.containers.remove(&id);
                self.words.remove(&id);
                self.alike.remove(&id);
                self.said.forget(&id);
                self.exits.remove(&id);
            }
        }
    }

    /// Looks at what changed, and at everything when it is time. An error means that the engine is away.
    pub(super) async fn refresh(&mut self, desired: &Desired, memory: &Memory) -> Result<(), RuntimeError> {
        self.probes.drain();
        disk::look(); // it fills up faster than everything is looked at
        let result = match self.look().await {
            Ok(()) => self.compare(desired, memory).await,
            away => away,
        };
        let result = match result {
            Ok(()) => self.networks.refresh(&*self.runtime, desired, memory).await,
            away => away,
        };
        self.was_away |= result.is_err();
        if result.is_err() {
            self.events = None;
            self.resync_at = Instant::now();
        } else if std::mem::take(&mut self.was_away) {
            // An end while the engine was away is the engine's.
            self.interrupted_before = (self.now)();
            self.info = None;
        }
        if result.is_ok() {
            self.tidy().await;
        }
        result
    }

    /// Asks those that are ours, and nobody else.
    pub(super) fn follow(&mut self, desired: &Desired, memory: &Memory) {
        let known = memory.containers();
        let ours = self.containers.iter().filter(|(id, _)| known.contains(id.as_str()));
        self.probes.follow(&ours.collect(), desired);
    }

    /// Before the first step, and only if every container could be looked at: nothing of one that is there may go.
    async fn tidy(&mut self) {
        if self.is_tidy || !self.words.keys().all(|id| self.containers.contains_key(id)) {
            return;
        }
        self.is_tidy = true;
        let here = self.containers.values().map(|seen| seen.instance.clone()).collect();
        self.runtime.tidy(&here).await;
    }

    fn measure(&mut self) {
        if let Some(space) = disk::engine() {
            self.capacity.disk_total = space.total();
            self.capacity.disk_free = space.free;
        }
        self.gpus.measure(self.containers.values(), &mut self.capacity, (self.now)());
    }

    /// Conditions of the GPUs, for people.
    pub(super) fn gpu_conditions(&self) -> Vec<Condition> {
        self.gpus.conditions(self.containers.values())
    }

    /// The input of a decision.
    pub(super) fn observed(&mut self, desired: &Desired) -> Observed {
        self.measure(); // a disk fills up faster than everything is looked at
        let containers = self.containers.values().map(|seen| {
            let last_exit = match seen.state {
                ContainerState::Running { .. } => self.exits.get(&seen.id).copied().or(seen.last_exit),
                ContainerState::Created | ContainerState::Restarting | ContainerState::Exited { .. } => {
                    seen.last_exit
                }
            };
            let likeness = self.alike.get(&seen.id).copied().unwrap_or(seen.likeness);
            let asks = desired.releases.get(&seen.release).map(|release| &release.release.spec.health);
            let health = word::both(seen.health.as_ref(), self.probes.health(&seen.id), asks);
            Container { health, last_exit, likeness, ..seen.clone() }
        });
        let mut observed = Observed {
            containers: containers.collect(),
            images: self.images.clone(),
            capacity: self.capacity.clone(),
            interrupted_before: self.interrupted_before,
            gpu_errors: self.gpus.errors().clone(),
            ..Observed::default()
        };
        self.networks.add_to(&mut observed);
        observed
    }

    pub(super) fn until_resync(&self) -> Duration {
        self.resync_at.saturating_duration_since(Instant::now())
    }
}

/// Stands for "the kernel killed it, its exit code follows".
const OOM_SEEN: i64 = i64::MIN;
