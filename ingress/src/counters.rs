//! Counters of an ingress, per service and release. Numbers only rise, except the gauges; readers take differences.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

/// Latency in 256 buckets from 1 ms to 65 s, 16 to each doubling: a bucket is at most 6.25 % wide. Histograms of
/// several processes merge by addition.
#[derive(Debug)]
pub struct Histogram([AtomicU64; Histogram::BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Histogram {
    /// The number of buckets.
    pub const BUCKETS: usize = 256;

    /// Counts one latency.
    pub fn record(&self, took: Duration) {
        self.0[Self::bucket(took)].fetch_add(1, Relaxed);
    }

    /// The bucket of a latency: below 1 ms the first, above 65 s the last.
    pub fn bucket(took: Duration) -> usize {
        let sixteenths = (took.as_micros() * 16 / 1000).clamp(16, (1 << 20) - 1);
        let octave = sixteenths.ilog2() - 4;
        let within = (sixteenths >> octave) - 16;
        usize::try_from(u128::from(octave) * 16 + within).unwrap_or(Self::BUCKETS - 1)
    }

    /// The latency at which a bucket ends.
    pub fn upper_edge(bucket: usize) -> Duration {
        let (octave, within) = (bucket / 16, bucket % 16);
        let sixteenths = u64::try_from(17 + within).unwrap_or_default() << octave;
        Duration::from_micros(sixteenths * 1000 / 16)
    }

    /// The count of each bucket.
    pub fn counts(&self) -> Vec<u64> {
        self.0.iter().map(|count| count.load(Relaxed)).collect()
    }
}

/// The end of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The response went out whole.
    Whole,
    /// The client left before the response had begun. Counted as 499, and as no fault of the release.
    ClientGone,
    /// The response began and was cut, by the client or by the end of a drain.
    Cut,
    /// The response began and the endpoint broke it off.
    Broken,
}

/// The counters of one release in one population: requests by weight, or requests by a match.
#[derive(Debug, Default)]
pub struct ReleaseCounters {
    requests: AtomicU64,
    classes: [AtomicU64; 5],
    client_gone: AtomicU64,
    cut: AtomicU64,
    broken: AtomicU64,
    own_answers: AtomicU64,
    grpc_failed: AtomicU64,
    connect_errors: AtomicU64,
    retries: AtomicU64,
    held: AtomicU64,
    in_flight: AtomicI64,
    tunnels: AtomicI64,
    /// Latency until the response's head.
    pub to_head: Histogram,
    to_head_us: AtomicU64,
    /// Latency until the response's end.
    pub to_end: Histogram,
}

impl ReleaseCounters {
    /// A request is under way at this release, or has gone to another one: `by` is 1 or -1.
    pub(crate) fn under_way(&self, by: i64) {
        self.in_flight.fetch_add(by, Relaxed);
    }

    pub(crate) fn answered(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(count) = self.classes.get(class) {
            count.fetch_add(1, Relaxed);
        }
        self.to_head.record(took);
        self.to_head_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or_default(), Relaxed);
    }

    pub(crate) fn end(&self, ended: Ended, took: Duration) {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_sub(1, Relaxed);
        match ended {
            Ended::Whole => self.to_end.record(took),
            Ended::ClientGone => {
                self.client_gone.fetch_add(1, Relaxed);
            }
            Ended::Cut | Ended::Broken => {
                self.cut.fetch_add(1, Relaxed);
            }
        }
    }

    /// A request that no endpoint was asked for, from its begin to its end.
    pub(crate) fn refused(&self, status: u16, took: Duration) {
        self.under_way(1);
        self.answered_ourselves();
        self.answered(status, took);
        self.end(Ended::Whole, took);
    }

    pub(crate) fn answered_ourselves(&self) {
        self.own_answers.fetch_add(1, Relaxed);
    }

    pub(crate) fn grpc_failed(&self) {
        self.grpc_failed.fetch_add(1, Relaxed);
    }

    /// The endpoint broke off a response that had not failed so far.
    pub(crate) fn broken(&self) {
        self.broken.fetch_add(1, Relaxed);
    }

    pub(crate) fn connect_failed(&self) {
        self.connect_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn held(&self) {
        self.held.fetch_add(1, Relaxed);
    }

    pub(crate) fn tunnel(&self, by: i64) {
        self.tunnels.fetch_add(by, Relaxed);
    }

    /// The numbers of this moment.
    pub fn snapshot(&self) -> ReleaseSnapshot {
        let [informational, success, redirection, client_error, server_error] =
            std::array::from_fn(|class| self.classes[class].load(Relaxed));
        ReleaseSnapshot {
            requests: self.requests.load(Relaxed),
            informational,
            success,
            redirection,
            client_error,
            server_error,
            client_gone: self.client_gone.load(Relaxed),
            cut: self.cut.load(Relaxed),
            broken: self.broken.load(Relaxed),
            own_answers: self.own_answers.load(Relaxed),
            grpc_failed: self.grpc_failed.load(Relaxed),
            connect_errors: self.connect_errors.load(Relaxed),
            retries: self.retries.load(Relaxed),
            held: self.held.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            tunnels: self.tunnels.load(Relaxed),
            to_head: self.to_head.counts(),
            to_head_us: self.to_head_us.load(Relaxed),
            to_end: self.to_end.counts(),
        }
    }
}

/// The counters of a release at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseSnapshot {
    /// Requests that ended.
    pub requests: u64,
    /// Responses with status 1xx (switched protocols).
    pub informational: u64,
    /// Responses with status 2xx.
    pub success: u64,
    /// Responses with status 3xx.
    pub redirection: u64,
    /// Responses with status 4xx.
    pub client_error: u64,
    /// Responses with status 5xx, the ingress's own among them.
    pub server_error: u64,
    /// Clients that left before the response had begun.
    pub client_gone: u64,
    /// Responses that were cut after they had begun.
    pub cut: u64,
    /// Of these, responses that the endpoint broke off, and whose status had said no failure.
    pub broken: u64,
    /// Responses that the ingress gave itself: no endpoint, no answer in time.
    pub own_answers: u64,
    /// gRPC calls whose status says that the server failed.
    pub grpc_failed: u64,
    /// Connections to endpoints that could not be made.
    pub connect_errors: u64,
    /// Further tries on another endpoint.
    pub retries: u64,
    /// Requests that waited for an endpoint.
    pub held: u64,
    /// Requests under way, now.
    pub in_flight: i64,
    /// Tunnels that are open, now.
    pub tunnels: i64,
    /// Counts per bucket of [`Histogram`], until the response's head.
    pub to_head: Vec<u64>,
    /// The sum of these latencies, in microseconds.
    pub to_head_us: u64,
    /// Counts per bucket of [`Histogram`], until the response's end.
    pub to_end: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_lies_within_a_sixteenth_of_its_bucket() {
        for micros in [1_000_u64, 1_061, 1_999, 2_000, 50_000, 123_456, 999_999, 10_000_000, 65_000_000] {
            let took = Duration::from_micros(micros);
            let edge = Histogram::upper_edge(Histogram::bucket(took));
            assert!(edge >= took, "{took:?} in the bucket up to {edge:?}");
            assert!(
                edge.as_secs_f64() <= took.as_secs_f64() * 1.0626,
                "{took:?} in the bucket up to {edge:?}"
            );
        }
    }

    #[test]
    fn the_shortest_and_longest_latencies_have_a_bucket() {
        assert_eq!(Histogram::bucket(Duration::ZERO), 0);
        assert_eq!(Histogram::bucket(Duration::from_secs(3600)), Histogram::BUCKETS - 1);
    }

    #[test]
    fn an_exchange_is_counted_once_and_leaves_no_gauge_behind() {
        let counters = ReleaseCounters::default();
        counters.under_way(1);
        counters.answered(503, Duration::from_millis(3));
        counters.end(Ended::Cut, Duration::from_millis(5));
        let seen = counters.snapshot();
        assert_eq!((seen.requests, seen.server_error, seen.cut, seen.in_flight), (1, 1, 1, 0));
        assert_eq!((seen.to_head.iter().sum::<u64>(), seen.to_end.iter().sum::<u64>()), (1, 0));
    }
}
