//! What is counted of one exchange, from the choice of a release to the last byte, whatever ends it.

use std::sync::Arc;
use std::time::Instant;

use hyper::HeaderMap;
use hyper::header::HeaderName;

use crate::access::Entry;
use crate::counters::{Ended, ReleaseCounters};
use crate::upstream::{Http1, InFlight};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// gRPC codes that say that the server failed: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS
/// (<https://grpc.io/docs/guides/status-codes/>). The others are the caller's.
const GRPC_FAILURES: [&[u8]; 5] = [b"2", b"4", b"13", b"14", b"15"];

/// An exchange under way. Dropping it counts how it ended.
#[derive(Debug)]
pub(crate) struct Exchange {
    counters: Arc<ReleaseCounters>,
    began: Instant,
    answered: bool,
    whole: bool,
    grpc: bool,
    in_flight: Option<InFlight>,
    status: u16,
    record: Option<Entry>,
}

impl Exchange {
    pub(crate) fn begin(
        counters: Arc<ReleaseCounters>,
        grpc: bool,
        began: Instant,
        record: Option<Entry>,
    ) -> Self {
        counters.under_way(1);
        Self { counters, began, answered: false, whole: false, grpc, in_flight: None, status: 0, record }
    }

    pub(crate) fn counters(&self) -> &Arc<ReleaseCounters> {
        &self.counters
    }

    /// The endpoint that has the request now, and the counters of its release: only the last try counts.
    pub(crate) fn at(&mut self, in_flight: InFlight, counters: &Arc<ReleaseCounters>) {
        if let Some(record) = &mut self.record {
            record.at(in_flight.endpoint());
        }
        self.in_flight = Some(in_flight);
        if !Arc::ptr_eq(&self.counters, counters) {
            self.counters.under_way(-1);
            counters.under_way(1);
            self.counters = Arc::clone(counters);
        }
    }

    /// The head of a response goes out.
    pub(crate) fn answered(&mut self, status: u16, headers: &HeaderMap) {
        self.answered = true;
        self.status = status;
        self.counters.answered(status, self.began.elapsed());
        self.trailers(headers);
    }

    /// The response is the ingress's own, and is whole.
    pub(crate) fn answered_ourselves(mut self, status: u16) {
        self.counters.answered_ourselves();
        self.answered(status, &HeaderMap::new());
        self.whole = true;
    }

    /// Counts a gRPC status, which stands in the head or in the trailers.
    pub(crate) fn trailers(&self, headers: &HeaderMap) {
        let failed = |status: &hyper::header::HeaderValue| GRPC_FAILURES.contains(&status.as_bytes());
        if self.grpc && headers.get(GRPC_STATUS).is_some_and(failed) {
            self.counters.grpc_failed();
        }
    }

    /// Makes a tunnel of the request's place at its endpoint.
    pub(crate) fn tunnel(&mut self) -> Option<InFlight> {
        let place = self.in_flight.take()?;
        Some(InFlight::tunnel(Arc::clone(place.endpoint())))
    }

    /// The last byte of the response was read. The connection that it came over takes the next request.
    pub(crate) fn finish(&mut self, connection: Option<Http1>) {
        self.whole = true;
        if let (Some(connection), Some(in_flight)) = (connection, &self.in_flight) {
            in_flight.endpoint().pool.put(connection, Instant::now());
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let ended = match (self.answered, self.whole) {
            (false, _) => Ended::ClientGone,
            (true, true) => Ended::Whole,
            (true, false) => Ended::Cut,
        };
        self.counters.end(ended, self.began.elapsed());
        if let Some(record) = self.record.take() {
            record.end(self.status, ended);
        }
    }
}
