//! The task that moves services: look, decide purely, store, and only then let hosts know.
//!
//! ```text
//! topics, clock ──▶ dirty services ───▶ core::rollout::advance(state, fleet, now)
//!                                          │ in the ledger's writer, so on the newest state
//!                                          ▼
//!              one transaction: service, slots (a step's), rollout, plans' numbers, audit, events
//!                                          ▼
//!                            sessions of those hosts wake and send the newest plan
//! ```
//!
//! Level-triggered: an event only says which services to look at, and a service that was looked at in vain costs
//! nothing. After a crash at any point the same look at the same state goes on.

mod conditions;
mod liveness;
mod step;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use windlass_core::{HostId, ServiceId, Timestamp};

use crate::coordinator::Coordinator;
use crate::ledger::{State, Topic, WriteError};
use crate::plans;
use crate::recovery;

use conditions::Announced;
use liveness::Watch;
use tables::Tables;

pub(crate) use step::{advance, advance_in, is_idle, record_state};

/// Time between two judgements of liveness, and between two looks at everything that nobody woke.
const TICK: Duration = Duration::from_secs(1);
/// Every so many ticks, all services.
const RESYNC: u64 = 10;

/// The engine.
pub(crate) struct Engine {
    coordinator: Arc<Coordinator>,
    /// Services to look at.
    dirty: BTreeSet<ServiceId>,
    /// All of them are. A flag, since ten thousand hosts that connect say so ten thousand times.
    all_dirty: bool,
    /// Services whose last look changed something.
    moving: BTreeSet<ServiceId>,
    /// Until when services rest whose last look was costly.
    resting: BTreeMap<ServiceId, Timestamp>,
    /// When to look at a service although nothing happens.
    timers: BTreeMap<ServiceId, Timestamp>,
    watch: Watch,
    told: Announced,
    tables: Tables,
    /// Since when deadlines count.
    counting_since: Timestamp,
    ticks: u64,
    topics: Receiver<Topic>,
}

enum Woken {
    Stop,
    Topic(Result<Topic, RecvError>),
    Tick,
    Timer,
}

impl Engine {
    /// An engine that has looked at nothing yet.
    pub(crate) fn new(coordinator: Arc<Coordinator>) -> Self {
        let topics = coordinator.ledger.signals().topics();
        let counting_since = coordinator.registry.started();
        Self {
            coordinator,
            dirty: BTreeSet::new(),
            all_dirty: true,
            moving: BTreeSet::new(),
            resting: BTreeMap::new(),
            timers: BTreeMap::new(),
            watch: Watch::default(),
            told: Announced::default(),
            tables: Tables::default(),
            counting_since,
            ticks: 0,
            topics,
        }
    }

    /// Until `cancel`.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.look_at_clock();
            match self.work(&cancel).await {
                Ok(()) => {}
                Err(WriteError::Stopping) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            match self.settle_tables().await {
                Ok(()) => {}
                Err(WriteError::Stopping) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            let timer = self.next_timer();
            let woken = tokio::select! {
                biased;
                () = cancel.cancelled() => Woken::Stop,
                topic = self.topics.recv() => Woken::Topic(topic),
                _ = tick.tick() => Woken::Tick,
                () = sleep(timer) => Woken::Timer,
            };
            match woken {
                Woken::Stop => return Ok(()),
                Woken::Topic(topic) => self.heard(topic),
                Woken::Tick => self.tick().await?,
                Woken::Timer => {}
            }
        }
    }

    /// Before anything is decided: times of before a clock was set do not compare with those of after.
    fn look_at_clock(&mut self) {
        let since = self.coordinator.registry.look_at_clock();
        if std::mem::replace(&mut self.counting_since, since) != since {
            self.timers.clear();
            self.resting.clear();
            self.everything();
        }
    }

    /// Looks at every service that is due, one step each, until nothing changes any more.
    pub(crate) async fn work(&mut self, cancel: &CancellationToken) -> Result<(), WriteError> {
        let now = self.coordinator.ledger.now();
        let due: Vec<_> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        self.dirty.extend(due);
        if std::mem::take(&mut self.all_dirty) {
            let all: Vec<ServiceId> =
                self.coordinator.ledger.read(|state| state.services.keys().cloned().collect());
            self.dirty.extend(all);
        }
        while let Some(service) = self.dirty.pop_first() {
            if cancel.is_cancelled() {
                return Ok(());
            }
            if let Some(until) =
                self.resting.get(&service).filter(|until| **until > self.coordinator.ledger.now())
            {
                self.timers.insert(service, *until);
                continue;
            }
            self.timers.remove(&service);
            let begun = Instant::now();
            let step = step::step(&self.coordinator, &service, self.moving.contains(&service)).await?;
            self.coordinator.metrics.step(begun.elapsed(), step.changed);
            self.resting.remove(&service);
            if let Some(rest) = step.rest() {
                self.resting.insert(service.clone(), self.coordinator.ledger.now() + rest);
            }
            match step.changed {
                true => drop(self.moving.insert(service.clone())),
                false => drop(self.moving.remove(&service)),
            }
            if let Some(at) = step.wake_at {
                self.timers.insert(service, at);
            }
            // A step that changed something comes back as a topic of its own.
        }
        Ok(())
    }

    /// Makes the traffic tables that are due.
    pub(crate) async fn settle_tables(&mut self) -> Result<(), WriteError> {
        self.tables.make_due(&self.coordinator).await
    }

    /// Takes in a topic, and those behind it.
    fn heard(&mut self, topic: Result<Topic, RecvError>) {
        match topic {
            Ok(topic) => self.touch(&topic),
            Err(RecvError::Lagged(_)) => self.everything(),
            Err(RecvError::Closed) => {}
        }
        self.catch_up();
    }

    /// Takes in every topic that waits.
    pub(crate) fn catch_up(&mut self) {
        loop {
            match self.topics.try_recv() {
                Ok(topic) => self.touch(&topic),
                Err(TryRecvError::Lagged(_)) => self.everything(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn touch(&mut self, topic: &Topic) {
        match topic {
            Topic::Service(service) | Topic::Rollout(_, service) => {
                self.tables.touch(service.environment.clone());
                self.dirty.insert(service.clone());
            }
            Topic::Observed(host) => {
                self.told.heard(host);
                self.touch_tables(host);
                self.touch_host(host);
            }
            // Labels, policy or scheduling changed: any service may want to come or go.
            Topic::Host(_) | Topic::Trust | Topic::Recovery => {
                self.tables.everything(&self.coordinator);
                self.everything();
            }
            Topic::Ingress(_) => self.touch_moving(),
            Topic::Routes(_) | Topic::Plan(_) | Topic::Audit | Topic::Checkpoint | Topic::Event => {}
        }
    }

    /// Services with a slot on the host. Those that want to come to it are looked at by [`RESYNC`] and when the
    /// host's liveness changes.
    fn touch_host(&mut self, host: &HostId) {
        let services: Vec<ServiceId> = self
            .coordinator
            .ledger
            .read(|state| state.slots_on(host).map(|(slot, _)| slot.service.clone()).collect());
        self.dirty.extend(services);
    }

    /// Tables that an observation of the host may change: of what it has to run, and of what it still shows.
    fn touch_tables(&mut self, host: &HostId) {
        let seen = self.coordinator.registry.observation_of(host);
        let shown =
            seen.iter().flat_map(|seen| &seen.slots).map(|slot| slot.slot.service.environment.clone());
        let planned: BTreeSet<_> = self
            .coordinator
            .ledger
            .read(|state| state.slots_on(host).map(|(slot, _)| slot.service.environment.clone()).collect());
        shown.chain(planned).for_each(|environment| self.tables.touch(environment));
    }

    /// Wakes moving services: the report of an ingress may let go of an instance that a rollout stops.
    fn touch_moving(&mut self) {
        let moving: Vec<ServiceId> = self.coordinator.ledger.read(|state| {
            let moving = state.services.values().filter(|service| service.rollout.is_some());
            moving.map(|service| service.id.clone()).collect()
        });
        self.dirty.extend(moving);
        let coordinator = self.coordinator.clone();
        self.tables.raised(&coordinator);
    }

    pub(crate) const fn everything(&mut self) {
        self.all_dirty = true;
    }

    pub(crate) async fn tick(&mut self) -> anyhow::Result<()> {
        self.ticks += 1;
        if self.watch.changed(&self.coordinator).await? || self.ticks.is_multiple_of(RESYNC) {
            self.everything();
        }
        let coordinator = &self.coordinator;
        if self.ticks.is_multiple_of(RESYNC) || self.ticks == 1 {
            self.told.everything(coordinator);
            self.tables.everything(coordinator);
        }
        match self.tables.make_due(coordinator).await {
            Ok(()) | Err(WriteError::Stopping) => {}
            Err(error) => return Err(error.into()),
        }
        self.told.announce(coordinator).await?;
        if coordinator.ledger.read(State::is_recovering) {
            match recovery::end_if_settled(coordinator).await {
                Ok(()) | Err(WriteError::Stopping) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let now = coordinator.ledger.now();
        let stale = coordinator.ledger.read(|state| plans::stale(state, now));
        if !stale.is_empty() {
            let issued = coordinator.ledger.write(move |batch| {
                stale.iter().for_each(|host| plans::renew(batch, host));
            });
            match issued.await {
                Ok(()) | Err(WriteError::Stopping) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether the engine knows of nothing that is due.
    pub(crate) fn is_idle(&self) -> bool {
        !self.all_dirty && self.dirty.is_empty()
    }

    /// When to look although nothing happens.
    pub(crate) fn due_at(&self) -> Option<Timestamp> {
        self.timers.values().copied().chain(self.tables.due_at()).min()
    }

    fn next_timer(&self) -> Duration {
        let now = self.coordinator.ledger.now();
        let next = self.due_at().map(|at| at.since(now));
        // A moment later than asked, so that the clock has really passed it.
        next.map_or(Duration::from_secs(3600), |wait| wait + Duration::from_millis(1))
    }
}
