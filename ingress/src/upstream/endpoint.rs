//! One address at which an instance answers, as this ingress sees it. Its state outlives the table that named it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use windlass_core::Digest;
use windlass_core::traffic::Protocol;

use crate::limits::Limits;

use super::flow::{End, Flow};
use super::pool::Pool;

mod cut;
mod doubt;
mod eject;
mod probing;
mod silence;
mod state;

pub use doubt::Doubt;
pub(crate) use probing::{Due, Question};
pub(crate) use silence::{Patience, Wait};
use state::{Cut, Ejection, Probing, Silence};

/// The identity of an endpoint over two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EndpointKey {
    pub(crate) address: SocketAddr,
    pub(crate) release: Digest,
    pub(crate) protocol: ProtocolKind,
}

/// The version of HTTP that an endpoint is asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ProtocolKind {
    Http1,
    Http2,
}

impl From<Protocol> for ProtocolKind {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http => Self::Http1,
            Protocol::H2c | Protocol::Grpc => Self::Http2,
        }
    }
}

/// The endpoint before one that stands by.
#[derive(Debug)]
struct Standby {
    first: Option<Arc<Endpoint>>,
}

/// An endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) key: EndpointKey,
    pub(crate) pool: Pool,
    cut: Cut,
    /// It gets no new requests.
    draining: AtomicBool,
    /// Its host restores it, or has: the endpoint in whose place requests go to it, if the table has that one.
    standby: ArcSwapOption<Standby>,
    /// Milliseconds that a request may go on after the endpoint has left the table.
    drain: AtomicU64,
    in_flight: AtomicI64,
    tunnels: AtomicI64,
    /// Responses that take more than a moment.
    flows: Mutex<Vec<Weak<dyn Flow>>>,
    ejection: Ejection,
    probing: Probing,
    silence: Silence,
    born: Instant,
}

impl Endpoint {
    pub(crate) fn new(key: EndpointKey, limits: &Limits, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            key,
            pool: Pool::new(limits),
            cut: Cut::default(),
            draining: AtomicBool::new(false),
            standby: ArcSwapOption::empty(),
            drain: AtomicU64::new(0),
            in_flight: AtomicI64::new(0),
            tunnels: AtomicI64::new(0),
            flows: Mutex::default(),
            ejection: Ejection::new(limits),
            probing: Probing::default(),
            silence: Silence::default(),
            born: now,
        })
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// It stands by for an endpoint of the table, or for one that is not there yet; `None` if it does not.
    /// Its probes of before say nothing of whether its host restores it: one that begins to stand by is probed at once.
    pub(crate) fn set_standby(&self, first: Option<Option<Arc<Self>>>) {
        if first.is_some() && self.standby.load().is_none() {
            self.doubt_probe();
        }
        self.standby.store(first.map(|first| Arc::new(Standby { first })));
    }

    /// Whether a request that has just begun to count may still go to it: the table may have closed it since it was picked.
    pub(crate) fn is_closed(&self) -> bool {
        self.draining.load(SeqCst) && self.standby.load().is_none()
    }

    /// Whether it stands by.
    pub(crate) fn stands_by(&self) -> bool {
        self.is_draining() && self.standby.load().is_some()
    }

    /// The endpoint in whose place requests go to it, if it stands by for one.
    pub(crate) fn first(&self) -> Option<Arc<Self>> {
        self.standby.load().as_ref().and_then(|standby| standby.first.clone())
    }

    /// Whether it has failed of late: it is left out, or was, and has not answered its last probe.
    fn has_failed(&self, limits: &Limits, now: Instant) -> bool {
        let doubtful = || self.ejection.has_been() && self.failed_its_probe();
        self.is_left_out(limits, now) || doubtful()
    }

    /// Whether it gets new requests: one that stands by, while it answers and the one before it does not.
    pub(crate) fn takes(&self, limits: &Limits, now: Instant) -> bool {
        if !self.is_draining() {
            return true;
        }
        let proven = || self.is_proven() && !self.is_left_out(limits, now);
        self.standby.load().as_ref().is_some_and(|of| of.is_open(limits, now) && proven())
    }

    pub(crate) fn set_drain(&self, drain: Duration) {
        self.drain.store(u64::try_from(drain.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The time that a request may go on after the endpoint has left the table.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain.load(Relaxed))
    }

    /// Requests under way on it.
    pub(crate) fn in_flight(&self) -> i64 {
        self.in_flight.load(SeqCst)
    }

    /// Tunnels through it.
    pub(crate) fn tunnels(&self) -> i64 {
        self.tunnels.load(Relaxed)
    }

    /// Its age in this ingress, for a slow start.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }

    /// Whether it is left out at `now`, for either reason.
    pub(crate) fn is_left_out(&self, limits: &Limits, now: Instant) -> bool {
        self.is_unready(limits) || self.is_ejected(now)
    }

    /// Lets a body be ended from here.
    pub(crate) fn list(&self, flow: Weak<dyn Flow>) {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).push(flow);
    }

    /// Closes idle connections, and ends bodies of which nothing is taken; all of them if the drain is over.
    pub(crate) fn tidy(&self, limits: &Limits, now: Instant) {
        self.pool.sweep(now);
        self.cut.tidy();
        self.silence.wear_off();
        let why = if self.is_cut() { End::Drained } else { End::Unread(limits.body_idle) };
        let mut flows = Vec::new();
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).retain(|flow| {
            let flow = flow.upgrade();
            flows.extend(flow.clone());
            flow.is_some()
        });
        // Not under the lock: a body that is polled is listed under its own.
        flows.iter().for_each(|flow| flow.end(why, now.into()));
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// A request under way on an endpoint, or a tunnel through it.
#[derive(Debug)]
pub(crate) struct InFlight {
    endpoint: Arc<Endpoint>,
    tunnel: bool,
}

impl InFlight {
    pub(crate) fn request(endpoint: Arc<Endpoint>) -> Self {
        // Either who asks whether the endpoint is done sees this request, or this request sees that the endpoint is closed.
        endpoint.in_flight.fetch_add(1, SeqCst);
        Self { endpoint, tunnel: false }
    }

    pub(crate) fn tunnel(endpoint: Arc<Endpoint>) -> Self {
        endpoint.tunnels.fetch_add(1, Relaxed);
        Self { endpoint, tunnel: true }
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let gauge = if self.tunnel { &self.endpoint.tunnels } else { &self.endpoint.in_flight };
        gauge.fetch_sub(1, Relaxed);
    }
}

impl Standby {
    /// Whether the endpoint before it is not there, or has failed.
    fn is_open(&self, limits: &Limits, now: Instant) -> bool {
        self.first.as_ref().is_none_or(|first| first.is_draining() || first.has_failed(limits, now))
    }
}

#[cfg(test)]
mod tests;
