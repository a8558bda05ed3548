//! Requests of one release, by how they ended: differences of counters, and their sums.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::Counts;
use super::Quantile;

/// Requests of one release, by how they ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Tally {
    /// All that ended.
    pub requests: u64,
    /// Of these, answers with status 5xx.
    #[serde(default)]
    pub server_error: u64,
    /// gRPC calls whose status says that the server failed.
    #[serde(default)]
    pub grpc_failed: u64,
    /// Clients that left before the response had begun. No fault of a release.
    #[serde(default)]
    pub client_gone: u64,
    /// Responses that an instance broke off, and whose status had said no failure.
    #[serde(default)]
    pub broken: u64,
    /// Latency until the response's head: pairs of bucket and count, buckets rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to_head: Vec<(u16, u32)>,
}

/// A counter is lower than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::traffic) struct Fell;

impl Tally {
    /// Returns whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Requests that are evidence: those that were answered.
    pub const fn answered(&self) -> u64 {
        self.requests.saturating_sub(self.client_gone)
    }

    /// Answers with status 5xx.
    pub fn server_errors(&self) -> u64 {
        self.server_error.min(self.answered())
    }

    /// Failed requests: status 5xx, a gRPC call whose status says that the server failed, or a response that broke off.
    pub fn errors(&self) -> u64 {
        let failed = self.server_error.saturating_add(self.grpc_failed).saturating_add(self.broken);
        failed.min(self.answered())
    }

    /// Returns whether more than `permille` thousandths of the answered requests failed.
    pub fn fails_more_than(&self, permille: u16) -> bool {
        u128::from(self.errors()) * 1000 > u128::from(permille) * u128::from(self.answered())
    }

    /// The latency to the response's head that 95 of 100 requests stayed below. `None` if there is no sample.
    pub fn p95(&self) -> Option<Quantile> {
        self.quantile(95)
    }

    /// Requests that certainly took longer than `limit`, and all of which the latency is known.
    pub fn slower_than(&self, limit: Duration) -> (u64, u64) {
        let sum = |slow: bool| {
            let counts = self.to_head.iter().filter(|(bucket, _)| !slow || lower_edge(*bucket) >= limit);
            counts.map(|(_, count)| u64::from(*count)).sum::<u64>()
        };
        (sum(true), sum(false))
    }

    /// The requests between two snapshots of one process, without their latency if the histograms are not `whole`.
    pub(in crate::traffic) fn between(before: &Counts, now: &Counts, whole: bool) -> Result<Self, Fell> {
        let rise = |now: u64, before: u64| now.checked_sub(before).ok_or(Fell);
        let to_head = if whole { rises(&before.to_head, &now.to_head)? } else { Vec::new() };
        Ok(Self {
            requests: rise(now.requests, before.requests)?,
            server_error: rise(now.server_error, before.server_error)?,
            grpc_failed: rise(now.grpc_failed, before.grpc_failed)?,
            client_gone: rise(now.client_gone, before.client_gone)?,
            broken: rise(now.broken, before.broken)?,
            to_head,
        })
    }

    /// Adds the requests of another tally.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.server_error = self.server_error.saturating_add(other.server_error);
        self.grpc_failed = self.grpc_failed.saturating_add(other.grpc_failed);
        self.client_gone = self.client_gone.saturating_add(other.client_gone);
        self.broken = self.broken.saturating_add(other.broken);
        for (bucket, count) in &other.to_head {
            match self.to_head.binary_search_by_key(bucket, |(known, _)| *known) {
                Ok(at) => self.to_head[at].1 = self.to_head[at].1.saturating_add(*count),
                Err(at) => self.to_head.insert(at, (*bucket, *count)),
            }
        }
    }

    /// The latency that so many of a hundred requests stayed below.
    pub(super) fn quantile(&self, percent: u64) -> Option<Quantile> {
        let samples: u64 = self.to_head.iter().map(|(_, count)| u64::from(*count)).sum();
        if samples == 0 {
            return None;
        }
        let rank = (u128::from(samples) * u128::from(percent)).div_ceil(100);
        let mut below = 0;
        let bucket = self.to_head.iter().find(|(_, count)| {
            below += u128::from(*count);
            below >= rank
        });
        let bucket = bucket.map(|(bucket, _)| *bucket)?;
        Some(Quantile { at_least: lower_edge(bucket), at_most: upper_edge(bucket), samples })
    }
}

/// The histogram between two, which may not have fallen in any bucket.
fn rises(before: &[(u16, u64)], now: &[(u16, u64)]) -> Result<Vec<(u16, u32)>, Fell> {
    let of = |list: &[(u16, u64)], bucket: u16| {
        list.binary_search_by_key(&bucket, |(known, _)| *known).map_or(0, |at| list[at].1)
    };
    if before.iter().any(|(bucket, count)| of(now, *bucket) < *count) {
        return Err(Fell);
    }
    let rise = |(bucket, count): &(u16, u64)| {
        let more = count - of(before, *bucket);
        (more > 0).then(|| (*bucket, u32::try_from(more).unwrap_or(u32::MAX)))
    };
    Ok(now.iter().filter_map(rise).collect())
}

/// The latency at which a bucket of a report begins; the first one begins at nothing.
fn lower_edge(bucket: u16) -> Duration {
    if bucket == 0 { Duration::ZERO } else { upper_edge(bucket - 1) }
}

/// The latency at which a bucket of a report ends: 16 buckets to each doubling, from 1 ms.
fn upper_edge(bucket: u16) -> Duration {
    let (octave, within) = (bucket / 16, bucket % 16);
    Duration::from_micros((u64::from(17 + within) << octave.min(32)) * 1000 / 16)
}
