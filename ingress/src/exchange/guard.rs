//! The counts of one exchange, from the choice of a release to the last byte, whatever ends it.

use std::sync::{Arc, Weak};
use std::time::Instant;

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName};

use crate::access::Entry;
use crate::counters::{Ended, ReleaseCounters};
use crate::upstream::{Flow, InFlight, Line};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// gRPC codes that say that the server failed: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS
/// (<https://grpc.io/docs/guides/status-codes/>). The others are the caller's.
const GRPC_FAILURES: [&[u8]; 5] = [b"2", b"4", b"13", b"14", b"15"];

/// The sides of an exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// The status of gRPC counts.
    pub(crate) grpc: bool,
    /// The client asks in one stream of several.
    pub(crate) stream: bool,
}

/// Whether a response is one of gRPC itself. That of gRPC-Web has its status in its body.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    kind.strip_prefix(b"application/grpc").is_some_and(|rest| !rest.starts_with(b"-web"))
}

/// An exchange under way. Dropping it counts how it ended.
#[derive(Debug)]
pub(crate) struct Exchange {
    counters: Arc<ReleaseCounters>,
    began: Instant,
    answered: bool,
    whole: bool,
    /// The endpoint broke its response off.
    broke: bool,
    /// The status, of HTTP or of gRPC, says already that the server failed.
    failed: bool,
    kind: Kind,
    /// A call of gRPC ends with a status; and that has come.
    owes_status: bool,
    has_status: bool,
    in_flight: Option<InFlight>,
    status: u16,
    record: Option<Entry>,
}

impl Exchange {
    pub(crate) fn begin(
        counters: Arc<ReleaseCounters>,
        kind: Kind,
        began: Instant,
        record: Option<Entry>,
    ) -> Self {
        counters.under_way(1);
        Self {
            counters,
            began,
            answered: false,
            whole: false,
            broke: false,
            failed: false,
            kind,
            owes_status: false,
            has_status: false,
            in_flight: None,
            status: 0,
            record,
        }
    }

    /// Whether its client asks in one stream of several.
    pub(crate) const fn is_stream(&self) -> bool {
        self.kind.stream
    }

    /// Lets its endpoint end a body of it.
    pub(crate) fn list(&self, flow: Weak<dyn Flow>) {
        if let Some(in_flight) = &self.in_flight {
            in_flight.endpoint().list(flow);
        }
    }

    /// Marks the response as one that the endpoint has left incomplete, unless we have.
    pub(crate) fn broke(&mut self) {
        self.broke = !self.in_flight.as_ref().is_some_and(|at| at.endpoint().is_cut());
    }

    /// The endpoint broke its response off. Enough of these in a row, and it gets no more requests for a while.
    pub(crate) fn broke_off(&mut self) {
        self.broke();
        if let Some(in_flight) = self.in_flight.as_ref().filter(|_| self.broke) {
            in_flight.endpoint().broke_off(Instant::now());
        }
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

    /// No endpoint has the request for a while.
    pub(crate) fn leave(&mut self) {
        self.in_flight = None;
    }

    /// Gives the request's place at its endpoint away.
    pub(crate) fn give_place(&mut self) -> Option<InFlight> {
        self.in_flight.take()
    }

    /// The head of a response goes out.
    pub(crate) fn answered(&mut self, status: u16, headers: &HeaderMap) {
        self.answered = true;
        self.status = status;
        self.failed |= status >= 500;
        self.counters.answered(status, self.began.elapsed());
        self.owes_status = self.kind.grpc && status == 200 && is_grpc(headers);
        self.trailers(headers);
    }

    /// The response is the ingress's own, and is whole.
    pub(crate) fn answered_ourselves(mut self, status: u16) {
        self.counters.answered_ourselves();
        self.answered(status, &HeaderMap::new());
        self.whole = true;
    }

    /// Counts a gRPC status, which stands in the head or in the trailers.
    pub(crate) fn trailers(&mut self, headers: &HeaderMap) {
        let Some(status) = headers.get(GRPC_STATUS).filter(|_| self.kind.grpc && !self.has_status) else {
            return;
        };
        self.has_status = true;
        if let Some(record) = &mut self.record {
            record.grpc(status);
        }
        if GRPC_FAILURES.contains(&status.as_bytes()) {
            self.failed = true;
            self.counters.grpc_failed();
        }
    }

    /// Makes a tunnel of the request's place at its endpoint.
    pub(crate) fn tunnel(&mut self) -> Option<InFlight> {
        let place = self.in_flight.take()?;
        Some(InFlight::tunnel(Arc::clone(place.endpoint())))
    }

    /// The last byte of the response was read. The connection that it came over takes the next request.
    pub(crate) fn finish(&mut self, line: Option<Line>) {
        self.whole = true;
        // A call that ends without a status is one that failed (UNKNOWN).
        if self.owes_status && !std::mem::replace(&mut self.has_status, true) {
            self.failed = true;
            self.counters.grpc_failed();
        }
        let Some(endpoint) = self.in_flight.as_ref().map(InFlight::endpoint) else { return };
        endpoint.answered_whole();
        if let Some(Line::Http1(connection)) = line {
            endpoint.pool.put(connection, Instant::now());
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let ended = match (self.answered, self.whole) {
            (false, _) => Ended::ClientGone,
            (true, true) => Ended::Whole,
            (true, false) if self.broke => Ended::Broken,
            (true, false) => Ended::Cut,
        };
        self.counters.end(ended, self.began.elapsed());
        if ended == Ended::Broken && !self.failed {
            self.counters.broken();
        }
        if let Some(record) = self.record.take() {
            record.end(self.status, ended);
        }
    }
}
