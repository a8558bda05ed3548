//! Steps under way: one per slot, a bounded number at once, pulls beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use windlass_core::observation::PullProgress;
use windlass_core::reconcile::{Outcome, PullFailure, Step};
use windlass_core::release::Image;
use windlass_core::units::Span;
use windlass_core::{Digest, EnvironmentId, SlotId};

use super::execute::{Finished, perform, perform_task};
use crate::runtime::{PullError, Runtime, answer};

/// Steps of slots at once.
const STEPS: usize = 12;
/// Pulls at once; each fetches several layers already.
const PULLS: usize = 3;
/// A pull that got no byte for so long is given up.
const STALLED: Span = Span::from_secs(120);

/// Time until the removal of an inner network is tried again.
const REMOVE_AGAIN: Duration = Duration::from_secs(30);
/// Pause after the engine went away during a pull.
const BROKEN_OFF: Duration = Duration::from_secs(1);

/// The owner of a step.
#[derive(Debug, Clone)]
enum Owner {
    Slot(SlotId),
    /// A hook, by rollout and name.
    Task(String),
    Pull(Digest),
    Collection,
    /// The removal of an inner network.
    Network,
}

/// The progress of a pull, shared with it.
#[derive(Debug)]
struct Progress {
    bytes: Mutex<PullProgress>,
    /// By a clock that nobody can set.
    moved_at: Mutex<Instant>,
}

impl Progress {
    fn moved(&self) {
        *self.moved_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn quiet(&self) -> Duration {
        self.moved_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// The steps under way.
pub(super) struct Operations<R> {
    runtime: Arc<R>,
    set: JoinSet<Finished>,
    owners: BTreeMap<String, Owner>,
    pulls: BTreeMap<Digest, Arc<Progress>>,
    steps: Arc<Semaphore>,
    pulling: Arc<Semaphore>,
    /// When the removal of each inner network is tried again.
    removals: BTreeMap<EnvironmentId, Instant>,
}

impl<R: Runtime> Operations<R> {
    pub(super) fn new(runtime: Arc<R>) -> Self {
        Self {
            runtime,
            set: JoinSet::new(),
            owners: BTreeMap::new(),
            pulls: BTreeMap::new(),
            steps: Arc::new(Semaphore::new(STEPS)),
            pulling: Arc::new(Semaphore::new(PULLS)),
            removals: BTreeMap::new(),
        }
    }

    /// Begins a step that was decided.
    pub(super) fn begin(&mut self, step: Step, address: &str) {
        let runtime = self.runtime.clone();
        let (owner, handle) = match step {
            Step::Pull { image } => {
                let digest = image.digest;
                if self.pulls.contains_key(&digest) {
                    return;
                }
                let progress =
                    Arc::new(Progress { bytes: Mutex::default(), moved_at: Mutex::new(Instant::now()) });
                self.pulls.insert(digest, progress.clone());
                let permits = self.pulling.clone();
                (Owner::Pull(digest), self.set.spawn(pull(runtime, permits, image, progress)))
            }
            Step::RemoveImage { id, .. } => (Owner::Collection, self.set.spawn(remove_image(runtime, id))),
            Step::Task { key, step } => {
                let (permits, address, owner) = (self.steps.clone(), address.to_owned(), key.clone());
                let task = async move {
                    let _permit = permits.acquire_owned().await;
                    perform_task(runtime, key, *step, &address).await
                };
                (Owner::Task(owner), self.set.spawn(task))
            }
            step => {
                let Some(slot) = step.slot().cloned() else { return };
                let (permits, address) = (self.steps.clone(), address.to_owned());
                let task = async move {
                    let _permit = permits.acquire_owned().await;
                    perform(runtime, step, &address).await
                };
                (Owner::Slot(slot), self.set.spawn(task))
            }
        };
        self.owners.insert(handle.id().to_string(), owner);
    }

    /// Removes inner networks that nothing is in; one that the engine keeps is tried again after a while.
    pub(super) fn remove_networks(&mut self, unused: &[EnvironmentId]) {
        let now = Instant::now();
        self.removals.retain(|environment, again_at| unused.contains(environment) && *again_at > now);
        for environment in
            unused.iter().filter(|environment| !self.removals.contains_key(*environment)).collect::<Vec<_>>()
        {
            let (runtime, name) = (self.runtime.clone(), environment.clone());
            let handle = self.set.spawn(remove_network(runtime, name));
            self.owners.insert(handle.id().to_string(), Owner::Network);
            self.removals.insert(environment.clone(), now + REMOVE_AGAIN);
        }
    }

    /// Waits for the next step that ends; for ever if none is under way. Cancel-safe.
    pub(super) async fn next(&mut self) -> Finished {
        loop {
            match self.set.join_next_with_id().await {
                Some(ended) => return self.end(ended),
                None => std::future::pending().await,
            }
        }
    }

    /// One that has ended already.
    pub(super) fn try_next(&mut self) -> Option<Finished> {
        let ended = self.set.try_join_next_with_id()?;
        Some(self.end(ended))
    }

    fn end(&mut self, ended: Result<(tokio::task::Id, Finished), tokio::task::JoinError>) -> Finished {
        let (id, finished) = match ended {
            Ok((id, finished)) => (id, finished),
            Err(error) => {
                tracing::error!(%error, "a step did not end in order; everything is looked at again");
                (error.id(), Finished { unavailable: true, ..Finished::default() })
            }
        };
        if let Some(Owner::Pull(digest)) = self.owners.remove(&id.to_string()) {
            self.pulls.remove(&digest);
        }
        finished
    }

    /// Slots with a step under way.
    pub(super) fn busy(&self) -> BTreeSet<SlotId> {
        let slot = |owner: &Owner| match owner {
            Owner::Slot(slot) => Some(slot.clone()),
            Owner::Task(_) | Owner::Pull(_) | Owner::Collection | Owner::Network => None,
        };
        self.owners.values().filter_map(slot).collect()
    }

    /// Hooks with a step under way.
    pub(super) fn busy_tasks(&self) -> BTreeSet<String> {
        let key = |owner: &Owner| match owner {
            Owner::Task(key) => Some(key.clone()),
            Owner::Slot(_) | Owner::Pull(_) | Owner::Collection | Owner::Network => None,
        };
        self.owners.values().filter_map(key).collect()
    }

    /// The progress of the pulls.
    pub(super) fn pulls(&self) -> BTreeMap<Digest, PullProgress> {
        let bytes = |progress: &Progress| *progress.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        self.pulls.iter().map(|(digest, progress)| (*digest, bytes(progress))).collect()
    }

    pub(super) fn is_pulling(&self) -> bool {
        !self.pulls.is_empty()
    }

    pub(super) fn is_collecting(&self) -> bool {
        self.owners.values().any(|owner| matches!(owner, Owner::Collection))
    }
}

async fn pull<R: Runtime>(
    runtime: Arc<R>,
    permits: Arc<Semaphore>,
    image: Image,
    progress: Arc<Progress>,
) -> Finished {
    let _permit = permits.acquire_owned().await;
    progress.moved();
    let note = |bytes: PullProgress| {
        *progress.bytes.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        progress.moved();
    };
    let result = tokio::select! {
        result = runtime.pull(&image, &note) => result.map_err(Some),
        () = stalled(&progress) => Err(None),
    };
    let digest = image.digest;
    let result = match result {
        // No byte came, and nothing else either: it is the engine that hangs, not the registry.
        Err(None) => Err(answer(runtime.list()).await.err().map(PullError::Engine)),
        result => result,
    };
    let failure = match result {
        Ok(local) => {
            let outcomes = vec![Outcome::Pulled { image: digest, id: local.id.clone() }];
            return Finished { outcomes, image: Some((digest, local)), ..Finished::default() };
        }
        Err(Some(PullError::Engine(error))) => {
            tracing::warn!(image = image.pinned(), %error, "a pull broke off");
            tokio::time::sleep(BROKEN_OFF).await;
            return Finished { unavailable: true, ..Finished::default() };
        }
        Err(Some(PullError::Failed(message))) => PullFailure::Failed(message),
        Err(Some(PullError::Transient { message, retry_after })) => {
            let millis = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            let retry_after = retry_after.map(|after| Span::from_millis(millis(after)));
            PullFailure::Transient { message, retry_after }
        }
        Err(Some(PullError::WrongImage(message))) => PullFailure::WrongImage(message),
        Err(None) => PullFailure::Stalled(STALLED),
    };
    let outcomes = vec![Outcome::PullFailed { image: digest, failure }];
    Finished { outcomes, failed: Some("pull"), ..Finished::default() }
}

/// Ends when no byte came for too long.
async fn stalled(progress: &Progress) {
    let limit = STALLED.duration();
    loop {
        let quiet = progress.quiet();
        if quiet >= limit {
            return;
        }
        tokio::time::sleep(limit - quiet).await;
    }
}

async fn remove_network<R: Runtime>(runtime: Arc<R>, environment: EnvironmentId) -> Finished {
    match runtime.remove_network(&environment).await {
        Ok(()) => tracing::info!(%environment, "removed an inner network that nothing is in any more"),
        Err(error) => tracing::warn!(%environment, %error, "an inner network stays"),
    }
    Finished { networks_changed: true, ..Finished::default() }
}

async fn remove_image<R: Runtime>(runtime: Arc<R>, id: String) -> Finished {
    match runtime.remove_image(&id).await {
        Ok(()) => tracing::info!(image = id, "removed an image to make room"),
        Err(error) => tracing::warn!(image = id, %error, "an image stays"),
    }
    Finished { images_changed: true, ..Finished::default() }
}
