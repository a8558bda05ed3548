//! The requests under way: what is asked of instances beside their probes, and what hosts check before a start. Each is a
//! task of its own with its own deadline, so that nothing of it holds up the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use windlass_core::reconcile::{Answers, Ask, Checked, Desired, Question, WantedChecks};
use windlass_core::{Digest, Timestamp};

use crate::ask::{self, Done, Instance};
use crate::hostcheck;
use crate::runtime::Runtime;

/// Requests to instances at once; more wait.
const AT_ONCE: usize = 32;
/// Releases whose checks are made at once.
const RELEASES: usize = 4;

/// The owner of a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// A container, its run, and the request.
    Instance(String, Timestamp, Question),
    /// The checks of a release.
    Checks(Digest),
}

/// Its result.
#[derive(Debug)]
enum Result {
    Done(String, Timestamp, Option<Done>),
    Checked(Digest, Checked),
}

/// All of them, and what is known by them.
pub(super) struct Asks {
    tasks: JoinSet<Result>,
    under_way: BTreeMap<Key, AbortHandle>,
    answers: BTreeMap<String, Answers>,
    checked: BTreeMap<Digest, Checked>,
    places: Arc<Semaphore>,
    checking: Arc<Semaphore>,
}

impl Asks {
    pub(super) fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            under_way: BTreeMap::new(),
            answers: BTreeMap::new(),
            checked: BTreeMap::new(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            checking: Arc::new(Semaphore::new(RELEASES)),
        }
    }

    /// Waits until something was answered; for ever if nothing is asked. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        loop {
            let Some(ended) = self.tasks.join_next_with_id().await else {
                return std::future::pending().await;
            };
            if self.end(ended) {
                return;
            }
        }
    }

    /// Takes in what was answered meanwhile.
    pub(super) fn drain(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.end(ended);
        }
    }

    /// Whether it ended by itself.
    fn end(&mut self, ended: std::result::Result<(Id, Result), JoinError>) -> bool {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        self.under_way.retain(|_, task| task.id() != id);
        match ended {
            Ok((_, result)) => self.note(result),
            Err(error) if error.is_cancelled() => return false,
            // It is asked again, as long as it is wanted.
            Err(error) => tracing::error!(%error, "a request did not end in order"),
        }
        true
    }

    fn note(&mut self, result: Result) {
        match result {
            Result::Done(container, run, done) => {
                let known = self.answers.entry(container).or_default();
                if known.run != run {
                    *known = Answers { run, ..Answers::default() };
                }
                match done {
                    Some(Done::Warmed(place)) => drop(known.warmed.insert(place)),
                    Some(Done::Tested(place, tested)) => drop(known.tested.insert(place, tested)),
                    None => {}
                }
            }
            Result::Checked(release, checked) => drop(self.checked.insert(release, checked)),
        }
    }

    /// Asks what is wanted, and nothing else.
    pub(super) fn follow<R: Runtime>(
        &mut self,
        runtime: &Arc<R>,
        asks: &[Ask],
        checks: &[WantedChecks],
        desired: &Desired,
    ) {
        let key = |ask: &Ask| Key::Instance(ask.container.clone(), ask.run, ask.question);
        let wanted: BTreeSet<Key> = asks.iter().map(key).collect();
        self.checked.retain(|release, _| desired.releases.contains_key(release));
        self.under_way.retain(|key, task| {
            let stays = match key {
                Key::Instance(..) => wanted.contains(key),
                Key::Checks(release) => desired.releases.contains_key(release),
            };
            if !stays {
                task.abort();
            }
            stays
        });
        for ask in asks {
            let key = key(ask);
            if self.under_way.contains_key(&key) {
                continue;
            }
            let instance = Instance {
                address: desired.local.address.clone(),
                ports: ask.ports.clone(),
                release: ask.release.clone(),
            };
            let (container, run, question) = (ask.container.clone(), ask.run, ask.question);
            let places = self.places.clone();
            let task = self.tasks.spawn(async move {
                let _place = places.acquire_owned().await;
                Result::Done(container, run, ask::ask(&instance, question).await)
            });
            self.under_way.insert(key, task);
        }
        for wanted in checks {
            let digest = wanted.release.digest;
            let is_known = self.checked.get(&digest).is_some_and(|known| known.plan == wanted.plan);
            if is_known || self.under_way.contains_key(&Key::Checks(digest)) {
                continue;
            }
            let (release, plan, places) = (wanted.release.clone(), wanted.plan, self.checking.clone());
            let runtime = runtime.clone();
            let task = self.tasks.spawn(async move {
                let _place = places.acquire_owned().await;
                let failed = hostcheck::failures(&release.release, &*runtime).await;
                Result::Checked(digest, Checked { plan, failed })
            });
            self.under_way.insert(Key::Checks(digest), task);
        }
    }

    /// Forgets containers that have gone.
    pub(super) fn forget(&mut self, is_here: impl Fn(&str) -> bool) {
        self.answers.retain(|container, _| is_here(container));
    }

    /// The answers of a container.
    pub(super) fn answers(&self, container: &str) -> Answers {
        self.answers.get(container).cloned().unwrap_or_default()
    }

    /// The results of checks.
    pub(super) fn checked(&self) -> BTreeMap<Digest, Checked> {
        self.checked.clone()
    }
}
