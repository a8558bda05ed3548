//! The release that a request goes to.
//!
//! A client keeps its place: the bucket in its cookie, hashed with the rollout's id, is its position between 0 and 999,
//! and the releases divide those positions by their weights, the candidate from 0 on. So the share equals the weight
//! in expectation, raising the candidate's weight takes nobody back to the incumbent, and each rollout begins with
//! other clients.

use crate::digest::Digest;

use super::document::{MatchOn, RoutedService};

/// A position among the thousand that the weights divide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(u16);

impl Position {
    /// The position of a client by the bucket in its cookie.
    pub fn of_bucket(bucket: u16, salt: &str) -> Self {
        let mut bytes = Vec::with_capacity(salt.len() + 2);
        bytes.extend_from_slice(salt.as_bytes());
        bytes.extend_from_slice(&bucket.to_be_bytes());
        let digest = Digest::of(&bytes);
        let (head, _) = digest.as_bytes().split_at(8);
        let number = head.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        Self::of_random(number)
    }

    /// The position of a request by a random number, for clients without a cookie.
    pub fn of_random(number: u64) -> Self {
        Self(u16::try_from(number % 1000).unwrap_or_default())
    }
}

/// The release of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Any endpoint of the service: it is one pool.
    Any,
    /// By weight: the index in `releases`.
    Weighted(usize),
    /// By a match: the index in `releases`. Such requests are no evidence for a gate.
    Matched(usize),
    /// No release has a share.
    Nobody,
}

/// Chooses the release of a request. `value` answers with the values of a header or cookie of the request.
pub fn choose<'v>(
    service: &RoutedService,
    position: Position,
    value: impl Fn(MatchOn, &str) -> Option<&'v str>,
) -> Choice {
    let index_of = |digest| service.releases.iter().position(|share| share.release == digest);
    let matched = service.matches.iter().find(|rule| value(rule.on, &rule.name) == Some(rule.value.as_str()));
    if let Some(index) = matched.and_then(|rule| index_of(rule.release)) {
        return Choice::Matched(index);
    }
    if service.releases.iter().all(|share| share.weight.is_none()) {
        return Choice::Any;
    }
    let mut end = 0;
    for (index, share) in service.releases.iter().enumerate() {
        end += share.weight.map_or(0, super::Weight::permille);
        if position.0 < end {
            return Choice::Weighted(index);
        }
    }
    Choice::Nobody
}
