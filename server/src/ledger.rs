//! The coordinator's state: one writer, many readers.
//!
//! ```text
//! handlers, engine, sessions ── write(closure) ──▶ writer task: closure on State → WriteBatch
//!                                                    │ 1. audit entries join the chain
//!                                                    │ 2. one store transaction, guarded by the log's head
//!                                                    │ 3. apply to State, tell Signals
//!                                                    ▼
//!                            readers ◀── read(|state| …)        sessions, engine, watchers woken
//! ```
//!
//! A closure decides, purely, on the state as it is; what it drafts is stored before anything sees it. The
//! closure's caller may go away (a client that hangs up): the writer finishes, so that memory and store never
//! part. Every transaction guards and moves the head of the audit log, so that a second writer on the same
//! store is refused at its first write. If the store fails, nobody knows whether the write happened: the
//! process ends and starts from what is stored.

mod batch;
mod change;
mod load;
mod refusals;
mod release;
mod signals;
mod state;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use windlass_core::audit::Head;
use windlass_core::rollout::Decision;
use windlass_core::{RolloutId, Timestamp};

use crate::clock::Clock;
use crate::crash::Point;
use crate::store::record::{EventRecord, decode, encode};
use crate::store::{Entry, Revision, Store, StoreError, Transaction};

use batch::Happening;
pub(crate) use batch::WriteBatch;
pub(crate) use change::{Change, keys};
pub use load::LoadError;
use refusals::Refusals;
pub(crate) use release::ReleaseEntry;
pub(crate) use signals::{Signals, Topic};
pub(crate) use state::State;

/// Audit entries of one page.
pub(crate) const AUDIT_PAGE: u64 = 100;

/// Writes that wait for their turn. More than that, and callers wait to be let in.
const QUEUE: usize = 1024;

/// The handle. Clones share everything.
#[derive(Clone)]
pub(crate) struct Ledger {
    state: Arc<RwLock<State>>,
    signals: Signals,
    jobs: mpsc::Sender<Job>,
    clock: Clock,
    /// Only for reading what is not kept in memory.
    store: Arc<dyn Store>,
}

/// The writer, to be run as a task.
pub(crate) struct Writer {
    state: Arc<RwLock<State>>,
    signals: Signals,
    jobs: mpsc::Receiver<Job>,
    store: Arc<dyn Store>,
    clock: Clock,
    head_revision: Revision,
    refusals: Refusals,
}

enum Job {
    /// Decide and store.
    Work(Box<dyn Work>),
    /// Read every record, between two writes.
    Snapshot(oneshot::Sender<Vec<Entry>>),
}

/// The reason for which a write did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    /// The coordinator stops, or its store has failed.
    #[error("the coordinator is stopping")]
    Stopping,
    /// The batch is more than a store transaction takes.
    #[error("the change is too large to be stored")]
    TooLarge,
}

impl Ledger {
    /// Reads everything from `store`.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        mut state: State,
        clock: Clock,
    ) -> Result<(Self, Writer), LoadError> {
        let head_revision = load::load(&*store, &mut state).await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let state = Arc::new(RwLock::new(state));
        let signals = Signals::default();
        let ledger = Self {
            state: state.clone(),
            signals: signals.clone(),
            jobs: sender,
            clock: clock.clone(),
            store: store.clone(),
        };
        Ok((
            ledger,
            Writer {
                state,
                signals,
                jobs: receiver,
                store,
                clock,
                head_revision,
                refusals: Refusals::default(),
            },
        ))
    }

    /// Whether the writer has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.jobs.is_closed()
    }

    /// Every record, as of one moment between two writes.
    pub(crate) async fn snapshot(&self) -> Result<Vec<Entry>, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Snapshot(answer)).await.map_err(|_| WriteError::Stopping)?;
        answered.await.map_err(|_| WriteError::Stopping)
    }

    /// The time of this coordinator.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Looks at the state. Keep it short: the writer waits.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides on the state, and stores what was drafted. Answers once it is stored.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut WriteBatch<'_>) -> T + Send + 'static,
    ) -> Result<T, WriteError> {
        let (answer, answered) = oneshot::channel();
        let job = Decide { decide: Some(decide), decided: None, answer: Some(answer) };
        self.jobs.send(Job::Work(Box::new(job))).await.map_err(|_| WriteError::Stopping)?;
        answered.await.map_err(|_| WriteError::Stopping)?
    }

    /// Every decision of a rollout, in order.
    pub(crate) async fn decisions(&self, rollout: &RolloutId) -> Result<Vec<Decision>, StoreError> {
        let entries = self.store.list(&keys::decisions(rollout)).await?;
        let read = |entry: Entry| {
            decode(&entry.value).map_err(|source| StoreError::Record { key: entry.key, source })
        };
        entries.into_iter().map(read).collect()
    }

    /// Audit entries of one page of [`AUDIT_PAGE`], with their numbers.
    pub(crate) async fn audit_page(&self, page: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.page(keys::AUDIT, page).await
    }

    /// Checkpoints over as many entries as the numbers of that page, with those sizes.
    pub(crate) async fn checkpoint_page(&self, page: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.page(keys::CHECKPOINT, page).await
    }

    /// Every checkpoint over at most `size` entries.
    pub(crate) async fn checkpoints(&self, size: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let entries = self.store.list(keys::CHECKPOINT).await?;
        let last = keys::numbered(keys::CHECKPOINT, size);
        Ok(entries.into_iter().filter(|entry| entry.key <= last).map(|entry| entry.value).collect())
    }

    async fn page(&self, kind: &'static str, page: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        // The last two of twenty digits count within a page, so that a page is a prefix.
        let prefix = format!("{kind}{page:018}");
        let entries = self.store.list(&prefix).await?;
        let number = |key: &str| key.strip_prefix(kind).and_then(|digits| digits.parse().ok());
        Ok(entries.into_iter().filter_map(|entry| Some((number(&entry.key)?, entry.value))).collect())
    }

    /// The listeners to changes.
    pub(crate) const fn signals(&self) -> &Signals {
        &self.signals
    }
}

impl Writer {
    /// Works off writes until `cancel`, then those that wait already.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> anyhow::Result<()> {
        loop {
            let job = tokio::select! {
                biased;
                job = self.jobs.recv() => job,
                () = cancel.cancelled() => {
                    self.jobs.close();
                    self.jobs.recv().await
                }
            };
            let mut job = match job {
                None => return Ok(()),
                Some(Job::Work(job)) => job,
                Some(Job::Snapshot(answer)) => {
                    // The asker may be gone.
                    drop(answer.send(self.store.list("").await?));
                    continue;
                }
            };
            match self.commit(&mut *job).await {
                Ok(()) => job.answer(Ok(())),
                Err(StoreError::TooLarge { .. }) => job.answer(Err(WriteError::TooLarge)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn commit(&mut self, job: &mut dyn Work) -> Result<(), StoreError> {
        let (changes, head) = self.decide(job);
        if changes.is_empty() {
            return Ok(());
        }
        let mut transaction = Transaction::default().guard(keys::HEAD, self.head_revision);
        transaction = transaction.put(keys::HEAD, encode(&head));
        transaction.writes.extend(changes.iter().map(Change::write));
        Point::Decided.pass();
        self.head_revision = self.store.commit(transaction).await?;
        Point::Stored.pass();
        let topics: Vec<Topic> = changes.iter().filter_map(Change::topic).collect();
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.head = head;
            for change in changes {
                state.apply(change);
            }
        }
        self.signals.wake(topics);
        Point::Told.pass();
        Ok(())
    }

    fn decide(&mut self, job: &mut dyn Work) -> (Vec<Change>, Head) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let mut batch =
            WriteBatch { state: &state, now, changes: Vec::new(), facts: Vec::new(), events: Vec::new() };
        job.decide(&mut batch);
        let WriteBatch { mut changes, mut facts, mut events, .. } = batch;
        if changes.is_empty() {
            self.refusals.thin_out(&mut facts, &mut events, now);
        }
        let mut head = state.head;
        for fact in facts {
            let n = head.size;
            changes.push(Change::Audit(n, head.append(fact, now)));
        }
        let first = state.next_event;
        for (n, event) in (first..).zip(events) {
            let Happening { kind, subject, message, actor } = event;
            let kind = kind.to_owned();
            changes.push(Change::Event(EventRecord { n, at: now, kind, subject, message, actor }));
            if let Some(old) = n.checked_sub(state::EVENTS_KEPT) {
                changes.push(Change::EventGone(old));
            }
        }
        (changes, head)
    }
}

/// A closure and who waits for its answer, whatever it answers with.
trait Work: Send {
    fn decide(&mut self, batch: &mut WriteBatch<'_>);
    fn answer(&mut self, outcome: Result<(), WriteError>);
}

struct Decide<F, T> {
    decide: Option<F>,
    decided: Option<T>,
    answer: Option<oneshot::Sender<Result<T, WriteError>>>,
}

impl<F, T> Work for Decide<F, T>
where
    F: FnOnce(&mut WriteBatch<'_>) -> T + Send,
    T: Send,
{
    fn decide(&mut self, batch: &mut WriteBatch<'_>) {
        self.decided = self.decide.take().map(|decide| decide(batch));
    }

    fn answer(&mut self, outcome: Result<(), WriteError>) {
        if let (Some(answer), Some(decided)) = (self.answer.take(), self.decided.take()) {
            // The asker may be gone; the stored change stays.
            drop(answer.send(outcome.map(|()| decided)));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) use tests::state as state_for_tests;
