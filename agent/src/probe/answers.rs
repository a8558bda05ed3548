//! The figures of the probes of the instances that run now, for whoever measures the host.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use windlass_core::host::ProbeStats;

/// The figures by the engine's id of the container. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<Mutex<BTreeMap<String, ProbeStats>>>);

impl Answers {
    /// The figures of every instance that answered.
    pub fn all(&self) -> BTreeMap<String, ProbeStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The place of one instance, which ends with its probe.
#[derive(Debug)]
pub(super) struct Entry {
    answers: Answers,
    container: String,
    figures: ProbeStats,
}

impl Entry {
    pub(super) fn new(answers: &Answers, container: &str) -> Self {
        Self { answers: answers.clone(), container: container.to_owned(), figures: ProbeStats::default() }
    }

    /// One more answer, and the time that it took.
    pub(super) fn note(&mut self, ok: bool, took: Duration) {
        let figures = &mut self.figures;
        (figures.ok, figures.seconds) = (ok, took.as_secs_f64());
        figures.answers = figures.answers.saturating_add(1);
        figures.failures = figures.failures.saturating_add(u64::from(!ok));
        let mut all = self.answers.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&self.container) {
            Some(place) => *place = *figures,
            None => drop(all.insert(self.container.clone(), *figures)),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.answers.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.container);
    }
}
