//! The task that makes the host what the plan says: observe, decide, remember, act, report.
//!
//! Decisions are [`windlass_core::reconcile::plan`]'s alone. This module gathers what it needs (engine
//! events, probes, what was heard of the coordinator), writes its memory to disk, and performs its steps:
//! at most one per slot at a time, slots beside each other. It is woken by whatever changes and by the
//! clock, and does the same thing every time.
//!
//! # Wiring
//!
//! ```text
//! link, verifier ── watch<Arc<Desired>> ─────────▶ Reconciler ── watch<Arc<Observation>> ──▶ link
//! link ─────────── watch<Option<Timestamp>> ─────▶     │  last word of the coordinator
//! journal ◀────────────── MemoryStore::save ───────────┘
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_core::condition::{self, Condition};
use windlass_core::observation::{
    EngineState, Observation, Refusal, RefusalCode, SlotObservation, TaskObservation,
};
use windlass_core::reconcile::{self, Decision, Desired, Lease, Memory, Outcome, PlanNumber};
use windlass_core::{SlotId, Timestamp};
use windlass_process::backoff::random;
use windlass_process::report::chain;
use windlass_process::{Backoff, Steps};

use crate::lease::Contact;
use crate::runtime::{Runtime, RuntimeError, address_gone};

mod asks;
mod execute;
mod fault;
mod health;
mod operations;
mod options;
mod view;
pub(crate) mod word;

use asks::Asks;
use execute::Finished;
use operations::Operations;
pub use options::{Networks, Options};
use view::View;

/// Keeps the reconciler's memory over the agent's death.
pub trait MemoryStore: Send + Sync + 'static {
    /// Returns when `memory` is on disk (fsync). Until then nothing that depends on it is done; an error
    /// stops every step until a later save succeeds.
    fn save(&self, memory: &Memory) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// The channels between the reconciler and the other tasks of the agent.
#[derive(Debug)]
pub struct Wires {
    /// The newest desired state. The first value, without a plan or with the journaled one, is there from the start.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// The coordinator's last sign of life; `None` before the first. May change often: it wakes nobody but who waits
    /// for it.
    pub contact: watch::Receiver<Option<Contact>>,
    /// Publishes observations. It starts as `Observation::default()`; `revision` rises from 1.
    pub observation: watch::Sender<Arc<Observation>>,
    /// The reason for which nothing can be written down, if there is one; passed on to the observation.
    pub unwritable: watch::Receiver<Option<String>>,
    /// Asks the task to end. Containers are never touched by that.
    pub cancel: CancellationToken,
}

/// Whether anything wanted may never run twice. Then what the coordinator acknowledges is waited for.
fn has_exclusive(desired: &Desired) -> bool {
    desired.releases.values().any(|release| release.release.spec.exclusive)
}

/// Time between two reports of a pull's progress.
const PROGRESS: Duration = Duration::from_secs(1);
/// Pause before the memory is saved again after that failed.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

/// The task. Spawn [`Reconciler::run`] with `Tasks`.
#[derive(Debug)]
pub struct Reconciler<R, S> {
    runtime: Arc<R>,
    store: S,
    memory: Memory,
    wires: Wires,
    options: Options,
}

impl<R: Runtime, S: MemoryStore> Reconciler<R, S> {
    /// `memory` is what the store saved last; the default if there is none or it was lost.
    pub fn new(runtime: Arc<R>, store: S, memory: Memory, wires: Wires, options: Options) -> Self {
        Self { runtime, store, memory, wires, options }
    }

    /// Works until it is cancelled. Fails only if another task of the agent has gone.
    pub async fn run(self) -> anyhow::Result<()> {
        let (now, uptime) = (self.options.now, self.options.uptime);
        let from_journal = self.wires.desired.borrow().plan.as_deref().map(PlanNumber::of);
        let task = Task {
            view: View::new(self.runtime.clone(), &self.options),
            operations: Operations::new(self.runtime.clone()),
            runtime: self.runtime,
            asks: Asks::new(),
            store: self.store,
            memory: self.memory,
            wires: self.wires,
            networks: self.options.networks,
            own_address: self.options.own_address,
            outcomes: Vec::new(),
            slots: Vec::new(),
            tasks: Vec::new(),
            conditions: Vec::new(),
            backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(5)),
            begun_at: now(),
            from_journal,
            begun: Instant::now(),
            steps: Steps::since(now().as_millis(), Duration::ZERO),
            clock_set_at: Timestamp::ZERO,
            behind: None,
            begun_up: uptime(),
            now,
            uptime,
        };
        task.run().await
    }
}

struct Task<R: Runtime, S> {
    runtime: Arc<R>,
    view: View<R>,
    operations: Operations<R>,
    asks: Asks,
    store: S,
    memory: Memory,
    wires: Wires,
    networks: watch::Sender<Networks>,
    /// Whether an interface of the host is to have its address.
    own_address: bool,
    outcomes: Vec<Outcome>,
    /// The last reported slots: they stay true to the best of our knowledge while the engine is away.
    slots: Vec<SlotObservation>,
    tasks: Vec<TaskObservation>,
    conditions: Vec<Condition>,
    backoff: Backoff,
    begun_at: Timestamp,
    /// The plan of the journal as it was found.
    from_journal: Option<PlanNumber>,
    /// The wall clock is compared with the time since then.
    begun: Instant,
    steps: Steps,
    clock_set_at: Timestamp,
    behind: Option<PlanNumber>,
    /// The same by the clock that nobody sets.
    begun_up: Option<Duration>,
    now: fn() -> Timestamp,
    uptime: fn() -> Option<Duration>,
}

impl<R: Runtime, S: MemoryStore> Task<R, S> {
    async fn run(mut self) -> anyhow::Result<()> {
        let cancel = self.wires.cancel.clone();
        let mut wake = Instant::now();
        loop {
            let isolated = self.memory.slots.values().any(|known| known.isolated_at.is_some())
                || has_exclusive(&self.wires.desired.borrow());
            // Every branch only waits, and is cancel-safe: losing a race cannot drop half of the work.
            let finished = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                changed = self.wires.desired.changed() => { changed?; None }
                finished = self.operations.next() => Some(finished),
                () = self.view.changed() => None,
                () = self.asks.changed() => None,
                changed = self.wires.contact.changed(), if isolated => { changed?; None }
                changed = self.wires.unwritable.changed() => { changed?; None }
                () = tokio::time::sleep_until(wake) => None,
            };
            finished.into_iter().for_each(|finished| self.take(finished));
            while let Some(finished) = self.operations.try_next() {
                self.take(finished);
            }
            let desired = self.wires.desired.borrow_and_update().clone();
            let next = match self.view.refresh(&desired, &self.memory).await {
                Ok(()) => {
                    self.backoff.reset();
                    self.decide(&desired).await
                }
                Err(error) => self.without_engine(&desired, &error),
            };
            wake = Instant::now() + next;
        }
    }

    /// The time to decide at. A clock that was set tells nothing of how long anything has lasted. Delays that were
    /// counted by it are over: that something is tried again sooner does no harm.
    fn look_at_clock(&mut self) -> Timestamp {
        let now = (self.now)();
        let Some(step) = self.steps.look(now.as_millis(), self.begun.elapsed()) else { return now };
        tracing::warn!(seconds = step / 1000, "the clock of this host was set");
        self.clock_set_at = now;
        self.view.clock_was_set();
        let volatile = &mut self.memory.volatile;
        volatile.pulls.clear();
        volatile.starts.clear();
        volatile.asked.clear();
        volatile.steps.clear();
        volatile.tasks.clear();
        now
    }

    fn take(&mut self, finished: Finished) {
        if let Some(verb) = finished.failed {
            tracing::warn!(step = verb, outcome = ?finished.outcomes, "a step failed");
        }
        self.outcomes.extend(finished.outcomes.iter().cloned());
        self.view.take(finished);
    }

    /// Decides and acts; answers when to do so again if nothing happens.
    async fn decide(&mut self, desired: &Desired) -> Duration {
        let now = self.look_at_clock(); // of this moment: it may have been set while the engine was asked
        let mut observed = self.view.observed(desired);
        self.asks.drain();
        for seen in &mut observed.containers {
            seen.answers = self.asks.answers(&seen.id);
        }
        observed.checks = self.asks.checked();
        observed.busy = self.operations.busy();
        observed.busy_tasks = self.operations.busy_tasks();
        observed.pulls = self.operations.pulls();
        observed.collecting = self.operations.is_collecting();
        observed.outcomes.clone_from(&self.outcomes);
        observed.watching_since = self.begun_at.min(now);
        observed.clock_set_at = self.clock_set_at;
        observed.from_journal = self.from_journal;
        let contact = *self.wires.contact.borrow();
        // The wall clock may have been set since: what counts is how long ago it was.
        let up = (self.uptime)();
        let ago = |at: Option<Duration>| at.zip(up).map(|(at, up)| now - up.saturating_sub(at));
        let seen_at = ago(contact.map(|contact| contact.at));
        observed.coordinator_last_seen = seen_at.max(ago(self.begun_up)).or(Some(self.begun_at));
        observed.heard = contact.is_some_and(|contact| self.begun_up.is_none_or(|begun| contact.at > begun));
        let seq = desired.plan.as_ref().map_or(0, |plan| plan.seq);
        observed.lease = contact
            .and_then(|contact| contact.seq)
            .zip(seen_at)
            .map(|(newest, renewed_at)| Lease { renewed_at, current: seq >= newest });
        let Decision {
            steps,
            memory,
            wake_at,
            slots,
            tasks,
            conditions,
            asks,
            checks,
            networks,
            unused_networks,
            behind,
        } = reconcile::plan(desired, &observed, &self.memory, now);
        self.behind = behind;
        for new in conditions.iter().filter(|new| !self.conditions.contains(new)) {
            tracing::warn!(
                code = new.code.as_str(),
                slot = new.slot.as_ref().map(SlotId::to_string),
                "{}",
                new.message
            );
        }
        self.conditions = conditions;
        if !memory.is_journaled_by(&self.memory)
            && let Err(error) = self.store.save(&memory).await
        {
            tracing::error!(error = format!("{error:#}"), "nothing is done until the memory can be saved");
            // The observation is true all the same, and so is that nothing is done about it.
            self.slots = slots;
            self.publish(desired, EngineState::Available);
            return SAVE_AGAIN;
        }
        self.memory = memory;
        self.view.follow(desired, &self.memory);
        self.asks.follow(&self.runtime, &asks, &checks, desired);
        self.asks.forget(|id| observed.containers.iter().any(|seen| seen.id == id));
        self.outcomes.clear();
        // An ingress listens before the first container of the network calls it.
        if let Some(networks) = networks {
            self.networks.send_if_modified(|told| {
                let changed = told.as_deref() != Some(&networks);
                *told = Some(Arc::new(networks));
                changed
            });
        }
        self.operations.remove_networks(&unused_networks);
        for step in steps {
            tracing::info!(step = step.verb(), slot = step.slot().map(SlotId::to_string), "next step");
            self.operations.begin(step, &desired.local.address);
        }
        (self.slots, self.tasks) = (slots, tasks);
        self.publish(desired, EngineState::Available);
        let until_wake = wake_at.map(|at| at.since((self.now)()));
        let pulling = (!observed.pulls.is_empty() || self.operations.is_pulling()).then_some(PROGRESS);
        [until_wake, pulling, Some(self.view.until_resync())].into_iter().flatten().min().unwrap_or(PROGRESS)
    }

    fn without_engine(&mut self, desired: &Desired, error: &RuntimeError) -> Duration {
        if self.backoff.failures() == 0 {
            tracing::warn!(error = chain(error), "the engine cannot be asked");
        }
        self.publish(desired, EngineState::Unavailable(chain(error)));
        self.backoff.next(random())
    }

    fn publish(&self, desired: &Desired, engine: EngineState) {
        let seq = desired.plan.as_ref().map_or(0, |plan| plan.seq);
        let plan_refusal = desired.plan_refusal.clone().or_else(|| self.behind.map(older_copy));
        let unwritable = self.wires.unwritable.borrow().clone();
        self.wires.observation.send_if_modified(|last| {
            let revision = last.revision;
            let (plan_refusal, unwritable) = (plan_refusal.clone(), unwritable.clone());
            let (engine, slots, tasks) = (engine.clone(), self.slots.clone(), self.tasks.clone());
            let of_host = self.view.gpu_conditions();
            let gone = self.own_address.then(|| address_gone(&desired.local.address)).flatten();
            let conditions = self.conditions.iter().cloned().chain(of_host).chain(gone);
            let conditions = condition::bounded(conditions.collect());
            let next =
                Observation { revision, seq, engine, plan_refusal, unwritable, conditions, slots, tasks };
            let changed = revision == 0 || **last != next;
            if changed {
                *last = Arc::new(Observation { revision: revision + 1, ..next });
            }
            changed
        });
    }
}

fn older_copy(newer: PlanNumber) -> Refusal {
    let detail = format!(
        "the journal is older than what runs here, which was made under plan {newer}: was it restored from a backup? \
         Nothing is started or stopped until a newer plan comes"
    );
    Refusal { code: RefusalCode::Stale, detail }
}

#[cfg(test)]
mod tests;
