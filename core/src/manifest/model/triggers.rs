//! Triggers that bring the last good release back, as a person writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

use super::super::defaults;
use super::scalar::{self, Share};

/// Triggers that bring the last good release back while a new one is on trial, and for some time after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackOn {
    /// So many exits of one instance after it was healthy. An exit before that always does. With `for`, so many restarts of one
    /// instance after its release succeeded, too.
    #[serde(default = "defaults::restarts")]
    pub(crate) restarts: u32,
    /// One instance is unready for so long after it was healthy.
    #[serde(default = "defaults::unhealthy_for")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) unhealthy_for: Span,
    /// So many exits of its instances over the whole service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crashes: Option<u32>,
    /// So many errors of the GPUs that its instances hold: what their driver reports (XID), and memory that was not corrected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gpu_errors: Option<u32>,
    /// More than this share of the requests failed: `5%`, or with the number of requests and the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_rate: Option<Failing>,
    /// So many answers with a status from 500 to 599.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status_5xx: Option<Within>,
    /// The 95th percentile of the latency until the head of the answer is above this: `500ms`, or with the number of requests
    /// and the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p95: Option<Slow>,
    /// Time for which all these triggers watch the release after its rollout succeeded; by default none.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) watch: Option<Span>,
}

impl Default for RollbackOn {
    fn default() -> Self {
        Self {
            restarts: defaults::ROLLBACK_RESTARTS,
            unhealthy_for: defaults::ROLLBACK_UNHEALTHY_FOR,
            crashes: None,
            gpu_errors: None,
            error_rate: None,
            status_5xx: None,
            p95: None,
            watch: None,
        }
    }
}

/// A share of failed requests that is too high.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Failing {
    /// In the default time, of the default number of requests.
    Share(#[schemars(schema_with = "scalar::percent")] Share),
    /// With a time, or a number of requests.
    In(FailingIn),
}

/// A share of failed requests with a time, or a number of requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailingIn {
    /// More than this is too high.
    #[schemars(schema_with = "scalar::percent")]
    pub(crate) max: Share,
    /// Fewer requests tell nothing; by default 100, and 20 where more than 25 % failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min_requests: Option<u32>,
    /// The time; by default 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) within: Option<Span>,
}

/// So many within so long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Within {
    /// The number.
    pub(crate) count: u32,
    /// Within how long.
    #[schemars(schema_with = "scalar::span")]
    pub(crate) within: Span,
}

/// A latency that is too high.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Slow {
    /// In the default time, of the default number of requests.
    Latency(#[schemars(schema_with = "scalar::span")] Span),
    /// With a time, or a number of requests.
    In(SlowIn),
}

/// A latency with a time, or a number of requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlowIn {
    /// More than this is too high.
    #[schemars(schema_with = "scalar::span")]
    pub(crate) max: Span,
    /// Fewer requests tell nothing; by default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min_requests: Option<u32>,
    /// The time; by default 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) within: Option<Span>,
}
