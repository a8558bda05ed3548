//! The probes of the instances that run: one task each, replaced with every new run.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use windlass_core::Timestamp;
use windlass_core::reconcile::{Container, ContainerState, Desired, Health};

use crate::probe::{self, Answers, History, Report, Subject};
use crate::runtime::Runtime;

/// Reports waiting to be read; a probe waits if there are more.
const CAPACITY: usize = 64;

/// The probes of one container.
#[derive(Debug)]
struct Watched {
    run: Timestamp,
    task: Option<AbortHandle>,
    health: Option<Health>,
    history: History,
}

/// The probes of all instances.
pub(super) struct Probes<R> {
    runtime: Arc<R>,
    tasks: JoinSet<()>,
    watched: BTreeMap<String, Watched>,
    sender: mpsc::Sender<Report>,
    reports: mpsc::Receiver<Report>,
    answers: Answers,
    now: fn() -> Timestamp,
}

impl<R: Runtime> Probes<R> {
    pub(super) fn new(runtime: Arc<R>, answers: Answers, now: fn() -> Timestamp) -> Self {
        let (sender, reports) = mpsc::channel(CAPACITY);
        Self { runtime, tasks: JoinSet::new(), watched: BTreeMap::new(), sender, reports, answers, now }
    }

    /// Waits until an instance's health changes. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if let Some(report) = self.reports.recv().await {
            self.note(report);
        }
    }

    /// Takes in what was reported meanwhile.
    pub(super) fn drain(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            self.note(report);
        }
        while self.tasks.try_join_next().is_some() {}
    }

    fn note(&mut self, report: Report) {
        let current = self.watched.get_mut(&report.container).filter(|watched| watched.run == report.run);
        if let Some(watched) = current {
            watched.health = Some(report.health);
        }
    }

    /// Everybody has been as they are for as long as can be told: since now.
    pub(super) fn clock_was_set(&mut self) {
        let now = (self.now)();
        for health in self.watched.values_mut().filter_map(|watched| watched.health.as_mut()) {
            health.since = now;
        }
    }

    /// Asks those that run and have probes, and nobody else.
    pub(super) fn follow(&mut self, containers: &BTreeMap<&String, &Container>, desired: &Desired) {
        self.watched.retain(|id, watched| {
            let known = containers.get(id);
            let runs =
                known.is_some_and(|seen| seen.state == ContainerState::Running { started_at: watched.run });
            if !runs && let Some(task) = watched.task.take() {
                task.abort();
            }
            known.is_some() // its last answers are evidence
        });
        for (id, seen) in containers {
            let ContainerState::Running { started_at } = seen.state else { continue };
            let Some(release) = desired.releases.get(&seen.release) else { continue };
            let probes = &release.release.spec.health;
            let current =
                self.watched.get(*id).filter(|watched| watched.run == started_at && watched.task.is_some());
            if current.is_some() || !probe::has_probes(probes) {
                continue;
            }
            let history =
                self.watched.get(*id).map_or_else(History::default, |watched| watched.history.clone());
            let subject = Subject {
                container: (*id).clone(),
                run: started_at,
                address: desired.local.address.clone(),
                ports: seen.ports.clone(),
                probes: probes.clone(),
                history: history.clone(),
                answers: self.answers.clone(),
            };
            let task =
                self.tasks.spawn(probe::watch(self.runtime.clone(), subject, self.sender.clone(), self.now));
            self.watched
                .insert((*id).clone(), Watched { run: started_at, task: Some(task), health: None, history });
        }
    }

    /// The health of an instance, with its history where that may become evidence.
    pub(super) fn health(&self, id: &str) -> Option<Health> {
        let watched = self.watched.get(id)?;
        let mut health = watched.health.clone()?;
        if !health.ready || !health.live || watched.task.is_none() {
            health.history.clone_from(&watched.history.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Some(health)
    }
}
