//! Windows of counters: the requests that a release got in a span of time, over all ingresses.
//!
//! Ingresses report counters since their process began. [`Windows`] takes the differences of two reports of one process and
//! keeps them in a [`Ring`] per release; a [`Window`] is the sum of those that lie in it as a whole. Nothing is estimated:
//! requests of which it is not known whether they were in the window are in none. Only requests by weight count.

mod gather;
mod ring;
mod tally;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::HostId;
use crate::time::Timestamp;

pub use gather::{ServiceWindows, Wanted, Windows};
pub use ring::{KEPT, Ring};
pub use tally::Tally;

/// The requests of one release in a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// The requests.
    pub tally: Tally,
    /// Ingresses that were heard of at its end.
    pub reporting: u32,
    /// Ingresses that count.
    pub ingresses: u32,
    /// Reports that could not be counted, in the window.
    pub faults: Vec<Fault>,
}

/// A latency that a share of the requests stayed below, as exactly as the buckets tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantile {
    /// It is not less than this.
    pub at_least: Duration,
    /// It is not more than this.
    pub at_most: Duration,
    /// Requests that it is made from.
    pub samples: u64,
}

/// A report that could not be counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Fault {
    /// The host of the ingress.
    pub host: HostId,
    /// When the report came.
    pub at: Timestamp,
    /// The fault.
    pub what: FaultKind,
}

/// The reason for which a report could not be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A counter was lower than before, in the same process.
    CounterFell,
    /// A counter was missing for a while: there was no room for it in the report.
    CounterMissing,
    /// The histograms were left out, since there was no room for them. The requests count, their latency does not.
    HistogramsCut,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.what {
            FaultKind::CounterFell => "reported a lower counter than before and did not begin anew",
            FaultKind::CounterMissing => "had no room for the service in its report for a while",
            FaultKind::HistogramsCut => "had no room for latencies in its report",
        };
        write!(f, "the ingress on {} {what}", self.host)
    }
}

impl Window {
    /// Requests that are evidence: those that were answered.
    pub const fn answered(&self) -> u64 {
        self.tally.answered()
    }

    /// Answers with status 5xx.
    pub fn server_errors(&self) -> u64 {
        self.tally.server_errors()
    }

    /// Failed requests: status 5xx, a gRPC call whose status says that the server failed, or a response that broke off.
    pub fn errors(&self) -> u64 {
        self.tally.errors()
    }

    /// Returns whether more than `permille` thousandths of the answered requests failed.
    pub fn fails_more_than(&self, permille: u16) -> bool {
        self.tally.fails_more_than(permille)
    }

    /// The latency to the response's head that 95 of 100 requests stayed below, from the merged histograms. `None` if there
    /// is no sample.
    pub fn p95(&self) -> Option<Quantile> {
        self.tally.p95()
    }
}
