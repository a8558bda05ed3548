//! Waking whoever waits for a change. A wake-up carries no payload: look at the state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, broadcast, watch};
use windlass_core::{EnvironmentId, HostId, RolloutId, ServiceId};

/// Topics not yet read by the slowest listener; who lags looks at everything.
const BACKLOG: usize = 4096;

/// The subject of a change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// A host's record.
    Host(HostId),
    /// A service or its slots.
    Service(ServiceId),
    /// A rollout.
    Rollout(RolloutId, ServiceId),
    /// A host has another plan.
    Plan(HostId),
    /// A host came, went, or reported something else. Nothing of it is stored.
    Observed(HostId),
    /// An environment has another traffic table.
    Routes(EnvironmentId),
    /// The ingress of a host reported. Nothing of it is stored.
    Ingress(HostId),
    /// The trust document.
    Trust,
    /// The store was found to be set back, or the fleet goes on.
    Recovery,
    /// There are new audit entries.
    Audit,
    /// There is a new checkpoint.
    Checkpoint,
    /// Something happened.
    Event,
}

/// The listeners. Clones share everything.
#[derive(Clone)]
pub(crate) struct Signals {
    topics: broadcast::Sender<Topic>,
    plans: Arc<Mutex<HashMap<HostId, Arc<Notify>>>>,
    everyone: Arc<watch::Sender<u64>>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            topics: broadcast::channel(BACKLOG).0,
            plans: Arc::default(),
            everyone: Arc::new(watch::channel(0).0),
        }
    }
}

impl Signals {
    /// Everything that changes from now on but plans, see [`Self::plan_of`]. For the engine and for a few watchers, not for ten thousand
    /// sessions.
    pub(crate) fn topics(&self) -> broadcast::Receiver<Topic> {
        self.topics.subscribe()
    }

    /// Wakes when `host` has another plan.
    pub(crate) fn plan_of(&self, host: &HostId) -> Arc<Notify> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.entry(host.clone()).or_default().clone()
    }

    /// Changes when there is something for every session: a trust document, a checkpoint, a revocation list.
    pub(crate) fn everyone(&self) -> watch::Receiver<u64> {
        self.everyone.subscribe()
    }

    /// Wakes every session.
    pub(crate) fn wake_everyone(&self) {
        self.everyone.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Wakes the listeners of `topics`.
    pub(crate) fn wake(&self, mut topics: Vec<Topic>) {
        topics.sort_unstable();
        topics.dedup();
        for topic in topics {
            match &topic {
                Topic::Plan(host) => {
                    let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(session) = plans.get(host) {
                        // Keeps one permit: a session that is busy sees it afterwards.
                        session.notify_one();
                    }
                    // A step numbers thousands of plans: nobody else waits for one, and listeners would fall behind.
                    continue;
                }
                Topic::Trust | Topic::Checkpoint | Topic::Recovery | Topic::Routes(_) => self.wake_everyone(),
                Topic::Host(_)
                | Topic::Service(_)
                | Topic::Rollout(..)
                | Topic::Observed(_)
                | Topic::Ingress(_)
                | Topic::Audit
                | Topic::Event => {}
            }
            // An error means that nobody listens.
            drop(self.topics.send(topic));
        }
    }
}
