//! Which traffic tables to look at, and how often at most: a fleet of a thousand services changes something all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windlass_core::time::Pace;
use windlass_core::{EnvironmentId, Timestamp};

use crate::coordinator::Coordinator;
use crate::ledger::WriteError;
use crate::routes;

/// The tables of one environment. One that takes long is followed by a longer rest: a new one also wakes every session.
const PACE: Pace = Pace {
    times: 8,
    most: Duration::from_secs(2),
    costly: Duration::ZERO,
    every: Duration::from_millis(100),
};

/// Environments of which something has changed.
#[derive(Debug, Default)]
pub(super) struct Tables {
    dirty: BTreeSet<EnvironmentId>,
    /// Environments whose last look made a table.
    moving: BTreeSet<EnvironmentId>,
    /// When they may be looked at again.
    calm_until: BTreeMap<EnvironmentId, Timestamp>,
}

impl Tables {
    /// Something of `environment` has changed.
    pub(super) fn touch(&mut self, environment: EnvironmentId) {
        self.dirty.insert(environment);
    }

    /// Anything may have changed.
    pub(super) fn everything(&mut self, coordinator: &Coordinator) {
        self.dirty.extend(coordinator.ledger.read(routes::environments));
    }

    /// An ingress may have shown a table that is ahead of the store.
    pub(super) fn raised(&mut self, coordinator: &Coordinator) {
        self.dirty.extend(coordinator.ledger.read(routes::raised));
    }

    /// Makes the tables that are due.
    pub(super) async fn make_due(&mut self, coordinator: &Coordinator) -> Result<(), WriteError> {
        let now = coordinator.ledger.now();
        // A clock that was set back does not make it wait.
        let is_calm = |until: &Timestamp| *until > now && until.since(now) <= PACE.most;
        let due = self.dirty.iter().filter(|name| !self.calm_until.get(*name).is_some_and(is_calm));
        for environment in due.cloned().collect::<Vec<_>>() {
            self.dirty.remove(&environment);
            let begun = coordinator.ledger.now();
            let moving = self.moving.remove(&environment);
            if routes::refresh(coordinator, environment.clone(), moving).await? {
                self.moving.insert(environment.clone());
            }
            let done = coordinator.ledger.now();
            self.calm_until.insert(environment, done + PACE.rest(done.since(begun)));
        }
        Ok(())
    }

    /// When the next one is due.
    pub(super) fn due_at(&self) -> Option<Timestamp> {
        self.dirty.iter().filter_map(|name| self.calm_until.get(name)).min().copied()
    }
}
