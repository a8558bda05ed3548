//! One address at which an instance answers, as this ingress sees it. Its state outlives the table that named it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use windlass_core::Digest;
use windlass_core::traffic::Protocol;

use crate::limits::Limits;

use super::pool::Pool;

/// What makes an endpoint the same in two tables.
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

/// An endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) key: EndpointKey,
    pub(crate) pool: Pool,
    /// Ends every connection to it: its drain is over.
    pub(crate) cut: CancellationToken,
    /// It gets no new requests.
    draining: AtomicBool,
    /// Milliseconds that a request may go on after the endpoint has left the table.
    drain: AtomicU64,
    in_flight: AtomicI64,
    tunnels: AtomicI64,
    /// Consecutive failures to connect.
    failures: AtomicU32,
    /// How often it was left out in a row.
    ejections: AtomicU32,
    /// Milliseconds after `born` until which it is left out; 0 if it is not.
    ejected_until: AtomicU64,
    born: Instant,
}

impl Endpoint {
    pub(crate) fn new(key: EndpointKey, limits: &Limits, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            key,
            pool: Pool::new(limits),
            cut: CancellationToken::new(),
            draining: AtomicBool::new(false),
            drain: AtomicU64::new(0),
            in_flight: AtomicI64::new(0),
            tunnels: AtomicI64::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            born: now,
        })
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    pub(crate) fn set_drain(&self, drain: Duration) {
        self.drain.store(u64::try_from(drain.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How long a request may go on after the endpoint has left the table.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain.load(Relaxed))
    }

    /// Requests under way on it.
    pub(crate) fn in_flight(&self) -> i64 {
        self.in_flight.load(Relaxed)
    }

    /// Tunnels through it.
    pub(crate) fn tunnels(&self) -> i64 {
        self.tunnels.load(Relaxed)
    }

    /// How old it is in this ingress, for a slow start.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }

    /// Whether it is left out at `now`.
    pub(crate) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.load(Relaxed) > self.millis(now)
    }

    /// A connection stood, or a probe was answered.
    pub(crate) fn succeeded(&self) {
        self.failures.store(0, Relaxed);
        self.ejections.store(0, Relaxed);
        self.ejected_until.store(0, Relaxed);
    }

    /// A connection could not be made or was reset before a response. After `eject_after` of them in a row the
    /// endpoint is left out, each time twice as long.
    pub(crate) fn failed(&self, limits: &Limits, now: Instant) {
        let failures = self.failures.fetch_add(1, Relaxed) + 1;
        if failures < limits.eject_after || self.is_ejected(now) {
            return;
        }
        let before = self.ejections.fetch_add(1, Relaxed).min(16);
        let pause = limits.eject.saturating_mul(1 << before).min(limits.eject_most);
        self.ejected_until.store(self.millis(now + pause), Relaxed);
        self.failures.store(0, Relaxed);
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
        endpoint.in_flight.fetch_add(1, Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(now: Instant) -> Arc<Endpoint> {
        let key = EndpointKey {
            address: "127.0.0.1:1".parse().unwrap(),
            release: Digest::of(b"r1"),
            protocol: ProtocolKind::Http1,
        };
        Endpoint::new(key, &Limits::default(), now)
    }

    #[test]
    fn five_failures_in_a_row_eject_for_longer_each_time() {
        let (limits, now) = (Limits::default(), Instant::now());
        let endpoint = endpoint(now);
        let fail = |at| (0..5).for_each(|_| endpoint.failed(&limits, at));
        (0..4).for_each(|_| endpoint.failed(&limits, now));
        assert!(!endpoint.is_ejected(now));
        endpoint.failed(&limits, now);
        assert!(endpoint.is_ejected(now + Duration::from_secs(9)));
        let later = now + Duration::from_secs(11);
        assert!(!endpoint.is_ejected(later));
        fail(later);
        assert!(endpoint.is_ejected(later + Duration::from_secs(19)));
        assert!(!endpoint.is_ejected(later + Duration::from_secs(21)));
    }

    #[test]
    fn a_success_brings_an_endpoint_back_at_once() {
        let (limits, now) = (Limits::default(), Instant::now());
        let endpoint = endpoint(now);
        (0..5).for_each(|_| endpoint.failed(&limits, now));
        endpoint.succeeded();
        assert!(!endpoint.is_ejected(now));
    }

    #[test]
    fn requests_and_tunnels_are_counted_while_they_are_held() {
        let endpoint = endpoint(Instant::now());
        let (request, tunnel) =
            (InFlight::request(Arc::clone(&endpoint)), InFlight::tunnel(Arc::clone(&endpoint)));
        assert_eq!((endpoint.in_flight(), endpoint.tunnels()), (1, 1));
        drop((request, tunnel));
        assert_eq!((endpoint.in_flight(), endpoint.tunnels()), (0, 0));
    }
}
