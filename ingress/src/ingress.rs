//! The ingress as its process sees it: take a table, serve a listener, show the counters, drain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_core::network::InnerNetwork;
use windlass_core::traffic::{Hold, Routes};
use windlass_core::{EnvironmentId, HostId};

use crate::access::{Access, AccessLog};
use crate::budget::RetryBudget;
use crate::counters::ReleaseSnapshot;
use crate::drain::{Drain, DrainTimes};
use crate::handover::MOST_DOUBTS;
use crate::limits::Limits;
use crate::origin::{ProxyProtocol, TrustedProxies};
use crate::registry::{CounterKey, Next, NotTaken, Registry};
use crate::table::Table;
use crate::upstream::{Doubt, Endpoint};

/// The longest time for the end of a cut connection.
const LAST: Duration = Duration::from_secs(15);

/// An ingress: one table, any number of listeners.
#[derive(Debug, Clone)]
pub struct Ingress(pub(crate) Arc<Shared>);

/// The state that all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) table: ArcSwap<Table>,
    /// Tells requests that wait for an endpoint that the table has changed.
    pub(crate) changed: watch::Sender<u64>,
    /// Tasks that serve clients: a drain waits for them.
    pub(crate) tracker: TaskTracker,
    /// Tasks that carry connections to endpoints.
    pub(crate) upstream: TaskTracker,
    pub(crate) drain: Drain,
    pub(crate) budget: RetryBudget,
    pub(crate) places: Arc<Semaphore>,
    registry: Mutex<Registry>,
    random: AtomicU64,
    /// Requests for a name that no table has.
    pub(crate) unrouted: AtomicU64,
    /// Requests that were refused before they were routed.
    pub(crate) bad_requests: AtomicU64,
    pub(crate) access: Option<AccessLog>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) proxy_protocol: ProxyProtocol,
}

/// The settings of an ingress.
#[derive(Debug, Default)]
pub struct Settings {
    /// The beginning of its sequence of random numbers.
    pub seed: u64,
    /// Gets a record of each request when it has ended, as far as there is room in it.
    pub access_log: Option<mpsc::Sender<Access>>,
    /// The proxies before it whose word on clients is believed.
    pub trusted_proxies: TrustedProxies,
    /// The listeners at which these announce their clients before the first byte.
    pub proxy_protocol: ProxyProtocol,
}

/// Runs the tasks of an HTTP/2 connection to an endpoint, at the latest until the endpoint's drain ends. A drain of the process waits
/// for clients only.
#[derive(Debug, Clone)]
pub(crate) struct UntilCut {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl UntilCut {
    pub(crate) fn run<F>(&self, future: F)
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                _ = future => {}
                () = cut.cancelled() => {}
            }
        });
    }
}

impl<F> hyper::rt::Executor<F> for UntilCut
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.run(future);
    }
}

/// Runs the tasks of HTTP/2 connections of clients, so that a drain waits for them.
#[derive(Debug, Clone)]
pub(crate) struct Executor(TaskTracker);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

impl Shared {
    pub(crate) fn executor(&self) -> Executor {
        Executor(self.tracker.clone())
    }

    /// Returns the executor for one connection to `endpoint`.
    pub(crate) fn until_cut(&self, endpoint: &Endpoint) -> UntilCut {
        UntilCut { tasks: self.upstream.clone(), cut: endpoint.until_cut().child_token() }
    }

    /// The next number of a sequence that looks random (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>). It
    /// spreads load and names requests, and keeps no secret.
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Puts `next` in force from the next request on. Called under the lock of the registry, so that tables come in their order.
    fn put_in_force(&self, next: Next) {
        next.put_in_force(&self.table);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ingress {
    /// An ingress without a table: every request is answered with 404. `seed` begins its sequence of random numbers.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self::with(limits, Settings { seed, ..Settings::default() })
    }

    /// An ingress without a table, in its surroundings.
    pub fn with(limits: Limits, settings: Settings) -> Self {
        let places = Arc::new(Semaphore::new(limits.connections));
        Self(Arc::new(Shared {
            limits,
            table: ArcSwap::default(),
            changed: watch::Sender::new(0),
            tracker: TaskTracker::new(),
            upstream: TaskTracker::new(),
            drain: Drain::default(),
            budget: RetryBudget::default(),
            places,
            registry: Mutex::default(),
            random: AtomicU64::new(settings.seed),
            unrouted: AtomicU64::new(0),
            bad_requests: AtomicU64::new(0),
            access: settings.access_log.map(AccessLog::new),
            proxies: settings.trusted_proxies,
            proxy_protocol: settings.proxy_protocol,
        }))
    }

    /// Takes the table of an environment. From the next request on it is in force; requests under way go on.
    ///
    /// # Errors
    /// The table breaks a bound, or is older than the one in force; then nothing changes.
    pub fn take(&self, routes: Routes) -> Result<(), NotTaken> {
        let mut registry = self.0.registry();
        let next = registry.take(routes, &self.0.limits, Instant::now())?;
        self.0.put_in_force(next);
        Ok(())
    }

    /// Takes the ports at which the instances of `host` answer with a release that it has restored, all of them. Where a table
    /// leads to what failed there, requests go to these instead, until the table says so itself.
    pub fn hold(&self, host: &HostId, holds: Vec<Hold>) {
        let mut registry = self.0.registry();
        let next = registry.hold(host, holds, &self.0.limits, Instant::now());
        next.into_iter().for_each(|next| self.0.put_in_force(next));
    }

    /// The ports of restored releases by which requests would be led, had `holds` been taken: those, and others until a table
    /// leads elsewhere.
    pub fn holds_after(&self, host: &HostId, holds: Vec<Hold>) -> Vec<Hold> {
        self.0.registry().holds_after(host, holds)
    }

    /// The ports of restored releases by which requests are led.
    pub fn holds(&self) -> Vec<Hold> {
        self.0.registry().holds()
    }

    /// Takes the inner networks of this host, all of them: at their gateways, services answer by their names.
    pub fn call(&self, networks: Vec<InnerNetwork>) {
        let mut registry = self.0.registry();
        let next = registry.call(networks, &self.0.limits, Instant::now());
        next.into_iter().for_each(|next| self.0.put_in_force(next));
    }

    /// The addresses of inner networks at which services are called, by what is in force now.
    pub fn inner_listens(&self) -> BTreeSet<SocketAddrV4> {
        self.0.table.load().inner.listens()
    }

    /// Tells when what is in force has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Epoch and number of each table in force.
    pub fn in_force(&self) -> BTreeMap<EnvironmentId, (u64, u64)> {
        self.0.registry().in_force()
    }

    /// The counters of this process since it began.
    pub fn counters(&self) -> BTreeMap<CounterKey, ReleaseSnapshot> {
        let registry = self.0.registry();
        registry.all_counters().map(|(key, counters)| (key.clone(), counters.snapshot())).collect()
    }

    /// Requests and tunnels that are still on endpoints that drain or have left the tables, by address.
    pub fn draining(&self) -> BTreeMap<SocketAddr, (i64, i64)> {
        self.0.registry().draining()
    }

    /// Endpoints that fail, for a successor: as many as a hand-over has room for.
    pub fn doubts(&self) -> Vec<Doubt> {
        self.0.registry().doubts(&self.0.limits, Instant::now(), MOST_DOUBTS)
    }

    /// Takes the failures that the process before saw on endpoints of the tables.
    pub fn take_doubts(&self, doubts: &[Doubt]) {
        self.0.registry().take_doubts(doubts, &self.0.limits, Instant::now());
    }

    /// Closes idle connections and ends drains that are over, until `cancel`.
    pub async fn keep_house(&self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            self.0.budget.second();
            self.0.registry().tidy(&self.0.limits, Instant::now());
        }
    }

    /// Tells load balancers before it that it ends, by the answer to their health checks ([`READY`](crate::READY)). Requests are
    /// still taken.
    pub fn leave(&self) {
        self.0.drain.leaves.take();
    }

    /// Tells clients to go elsewhere, and waits until every connection has ended or was cut. Listeners are to be
    /// stopped before, or be with a successor.
    pub async fn drain(&self, times: DrainTimes) {
        self.0.tracker.close();
        let ended = async {
            tokio::select! {
                () = self.0.tracker.wait() => {}
                () = async {
                    tokio::join!(self.0.drain.run(times), self.0.tracker.wait());
                } => {}
            }
        };
        if tokio::time::timeout(times.whole() + LAST, ended).await.is_err() {
            tracing::error!(
                left = self.0.tracker.len(),
                "connections of clients did not end when they were cut"
            );
        }
        self.0.registry().cut();
        self.0.upstream.close();
        let _ = tokio::time::timeout(LAST, self.0.upstream.wait()).await; // they hold nothing that is waited for
    }
}

#[cfg(test)]
mod tests;
