//! The tables as signed, and what outlives each of them: endpoints with their connections, and counters.

mod compile;
mod next;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use windlass_core::network::InnerNetwork;
use windlass_core::traffic::{Hold, InvalidRoutes, Routes};
use windlass_core::{Counter, Digest, EnvironmentId, HostId, ServiceId};

use next::{Close, Found};

use crate::counters::ReleaseCounters;
use crate::held::Held;
use crate::limits::Limits;
use crate::upstream::{Doubt, Due, Endpoint, EndpointKey};

/// The reason for which a table was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Its routes are invalid.
    #[error(transparent)]
    Invalid(#[from] InvalidRoutes),
    /// A newer table of the environment is in force.
    #[error(
        "the table of {environment} has number {offered} in epoch {epoch}; number {seq} in epoch {in_force} is in force"
    )]
    Older {
        /// The environment of the table.
        environment: EnvironmentId,
        /// The number that was offered.
        offered: u64,
        /// Its epoch.
        epoch: u64,
        /// The number in force.
        seq: u64,
        /// Its epoch.
        in_force: u64,
    },
}

pub(crate) use next::Next;

/// Whether requests by weight or by a match are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Population {
    /// By weight, or from one pool.
    Weighted,
    /// By a match: no evidence for a gate.
    Matched,
    /// At an endpoint that stands by, in the place of another release: no evidence either.
    Unconfirmed,
}

/// Whose counters they are; without a release, those of requests for which none was chosen.
pub type CounterKey = (ServiceId, Option<Digest>, Population);

#[derive(Debug, Default)]
pub(crate) struct Registry {
    documents: BTreeMap<EnvironmentId, Routes>,
    endpoints: HashMap<EndpointKey, Arc<Endpoint>>,
    counters: BTreeMap<CounterKey, Kept>,
    /// The service of each endpoint.
    owners: HashMap<EndpointKey, ServiceId>,
    waiting: HashMap<ServiceId, Arc<AtomicUsize>>,
    /// The ports of restored releases on this host.
    held: Option<Held>,
    /// The inner networks of this host.
    networks: Vec<InnerNetwork>,
    /// Endpoints that left the tables, the service of each, and until when requests on them may go on.
    retired: Vec<(Arc<Endpoint>, ServiceId, Instant)>,
}

/// Counters, and since when no table and no request has them.
#[derive(Debug, Default)]
struct Kept {
    counters: Arc<ReleaseCounters>,
    /// The number of their release, once a table has told it.
    number: Option<Counter>,
    idle_since: Option<Instant>,
}

/// The time for which the counters of a release are shown that no table names any more.
const SHOWN: Duration = Duration::from_secs(300);

impl Registry {
    /// Takes a table that is newer than the one in force, and answers with all tables compiled, to be put in force.
    pub(crate) fn take(&mut self, routes: Routes, limits: &Limits, now: Instant) -> Result<Next, NotTaken> {
        routes.check()?;
        if let Some(old) = self.documents.get(&routes.environment)
            && (routes.epoch, routes.seq) <= (old.epoch, old.seq)
            && routes != *old
        {
            return Err(NotTaken::Older {
                environment: routes.environment,
                offered: routes.seq,
                epoch: routes.epoch,
                seq: old.seq,
                in_force: old.epoch,
            });
        }
        self.documents.insert(routes.environment.clone(), routes);
        if let Some(held) = &mut self.held {
            held.drop_obsolete(self.documents.values());
        }
        Ok(self.compile(limits, now))
    }

    /// Takes the ports of restored releases, and answers with all tables compiled if they are others than before.
    pub(crate) fn hold(
        &mut self,
        host: &HostId,
        holds: Vec<Hold>,
        limits: &Limits,
        now: Instant,
    ) -> Option<Next> {
        let held = self.next_held(host, holds);
        if self.held.as_ref() == Some(&held) {
            return None;
        }
        self.held = Some(held);
        Some(self.compile(limits, now))
    }

    fn next_held(&self, host: &HostId, holds: Vec<Hold>) -> Held {
        let mut held = Held::next(self.held.as_ref(), host, holds);
        held.drop_obsolete(self.documents.values());
        held
    }

    /// The ports of restored releases by which requests are led, if `holds` were taken.
    pub(crate) fn holds_after(&self, host: &HostId, holds: Vec<Hold>) -> Vec<Hold> {
        self.next_held(host, holds).all().cloned().collect()
    }

    /// The ports of restored releases by which requests are led now.
    pub(crate) fn holds(&self) -> Vec<Hold> {
        self.held.iter().flat_map(Held::all).cloned().collect()
    }

    /// Takes the inner networks of this host, and answers with all tables compiled if they are others than before.
    pub(crate) fn call(
        &mut self,
        networks: Vec<InnerNetwork>,
        limits: &Limits,
        now: Instant,
    ) -> Option<Next> {
        if self.networks == networks {
            return None;
        }
        self.networks = networks;
        Some(self.compile(limits, now))
    }

    /// Puts the endpoints of `found` in force. Those that are missing get no new request, and finish theirs.
    fn retire(&mut self, found: &mut Found, now: Instant) {
        let now_there = std::mem::take(&mut found.endpoints);
        for (key, endpoint) in std::mem::replace(&mut self.endpoints, now_there) {
            if !self.endpoints.contains_key(&key) {
                found.closes.push(Close::Leaves(Arc::clone(&endpoint)));
                let until = now + endpoint.drain();
                let Some(owner) = self.owners.remove(&key) else { continue };
                self.retired.push((endpoint, owner, until));
            }
        }
    }

    /// Closes idle connections, and cuts what an endpoint that has left still has after its drain.
    pub(crate) fn tidy(&mut self, limits: &Limits, now: Instant) {
        for (endpoint, _, until) in &self.retired {
            if *until <= now {
                endpoint.cut();
            }
        }
        self.all_endpoints().for_each(|(_, endpoint)| endpoint.tidy(limits, now));
        self.counters.retain(|_, kept| {
            let idle = Arc::strong_count(&kept.counters) == 1;
            kept.idle_since = idle.then(|| kept.idle_since.unwrap_or(now));
            kept.idle_since.is_none_or(|since| now.saturating_duration_since(since) < SHOWN)
        });
        self.retired.retain(|(endpoint, ..)| {
            let busy = endpoint.in_flight() > 0 || endpoint.tunnels() > 0;
            // A stream that was cut is shown until it has ended.
            busy
        });
    }

    /// Ends every connection to an endpoint.
    pub(crate) fn cut(&self) {
        self.all_endpoints().for_each(|(_, endpoint)| endpoint.cut());
    }

    /// Begins at most `most` probes that are due, and at most `resting` of healthy endpoints; those first that have been due for
    /// longest.
    pub(crate) fn begin_probes(
        &self,
        limits: &Limits,
        now: Instant,
        most: usize,
        resting: usize,
    ) -> Vec<Arc<Endpoint>> {
        let probed = |of: &&Arc<Endpoint>| !of.is_draining() || of.stands_by();
        let due = |of: &Arc<Endpoint>| Some((of.probe_due(limits, now)?, Arc::clone(of)));
        let mut due: Vec<_> = self.endpoints.values().filter(probed).filter_map(due).collect();
        due.sort_by_key(|(turn, _)| *turn);
        let awaited = due.partition_point(|(turn, _)| matches!(turn, Due::Awaited(_)));
        due.truncate(most.min(awaited + resting));
        due.into_iter().map(|(_, endpoint)| endpoint).inspect(|endpoint| endpoint.begin_probe(now)).collect()
    }

    /// Endpoints that fail, at most `most`.
    pub(crate) fn doubts(&self, limits: &Limits, now: Instant, most: usize) -> Vec<Doubt> {
        self.endpoints.values().filter_map(|endpoint| endpoint.doubt(limits, now)).take(most).collect()
    }

    /// Takes the failures that another process saw.
    pub(crate) fn take_doubts(&self, doubts: &[Doubt], limits: &Limits, now: Instant) {
        for doubt in doubts {
            if let Some(endpoint) = self.endpoints.get(&doubt.key()) {
                endpoint.take_doubt(doubt, limits, now);
            }
        }
    }

    /// The number of each table in force.
    pub(crate) fn in_force(&self) -> BTreeMap<EnvironmentId, (u64, u64)> {
        self.documents.iter().map(|(name, routes)| (name.clone(), (routes.epoch, routes.seq))).collect()
    }

    pub(crate) fn all_counters(&self) -> impl Iterator<Item = (&CounterKey, &Arc<ReleaseCounters>)> {
        self.counters.iter().map(|(key, kept)| (key, &kept.counters))
    }

    /// The number of a release that has counters, if a table has told it.
    pub(crate) fn number_of(&self, service: &ServiceId, release: Digest) -> Option<Counter> {
        self.counters.get(&(service.clone(), Some(release), Population::Weighted))?.number
    }

    /// Every endpoint of the tables, and those that have left and are not done, each with its service.
    pub(crate) fn all_endpoints(&self) -> impl Iterator<Item = (&ServiceId, &Arc<Endpoint>)> {
        let named =
            self.endpoints.iter().filter_map(|(key, endpoint)| Some((self.owners.get(key)?, endpoint)));
        named.chain(self.retired.iter().map(|(endpoint, owner, _)| (owner, endpoint)))
    }

    /// Requests and tunnels on endpoints that drain or have left, by address.
    pub(crate) fn draining(&self) -> BTreeMap<SocketAddr, (i64, i64)> {
        let left = self.retired.iter().map(|(endpoint, ..)| endpoint);
        let draining = self.endpoints.values().filter(|endpoint| endpoint.is_draining());
        let mut sums = BTreeMap::new();
        for endpoint in left.chain(draining) {
            let sum: &mut (i64, i64) = sums.entry(endpoint.key.address).or_default();
            *sum = (sum.0 + endpoint.in_flight(), sum.1 + endpoint.tunnels());
        }
        sums
    }
}

#[cfg(test)]
mod tests;
