//! Gates: the questions that a release on its way is asked at the end of every window, and the answers that let it go on.

use serde::{Deserialize, Serialize};

use crate::traffic::Weight;
use crate::units::Span;

/// A question, and how its answers count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The question.
    pub ask: GateAsk,
    /// Length of a window: the question is asked at its end.
    pub window: Span,
    /// Windows of a step that have to pass.
    pub passes: u32,
    /// Windows that fail in a row before the step does.
    pub fails: u32,
    /// Asked and shown, and decides nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Asked in every step from this one on, counted from 1. Absent: in the steps that name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_step: Option<u32>,
}

/// The question of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GateAsk {
    /// The share of failed requests, as the ingresses count them.
    ErrorRate {
        /// At most this, in thousandths.
        max: Weight,
        /// Fewer requests in a window tell nothing.
        min_requests: u32,
        /// Compared with the old release in the same window too.
        baseline: bool,
    },
    /// The 95th percentile of the latency, as the ingresses count it.
    P95 {
        /// At most this.
        max: Span,
        /// Fewer requests in a window tell nothing.
        min_requests: u32,
        /// Compared with the old release in the same window too.
        baseline: bool,
    },
    /// Exits of the release's instances since the step began.
    Crashes {
        /// At most so many.
        max: u32,
    },
    /// Memory of the instance that uses the most, as a share of its limit.
    Memory {
        /// At most this, in thousandths.
        max: Weight,
    },
    /// A query of Prometheus that answers with one number.
    Prometheus {
        /// The server: `http://` or `https://`, host and port.
        url: String,
        /// The query. `{{release}}`, `{{service}}` and `{{environment}}` stand for those of the rollout.
        query: String,
        /// The number is at least this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<f64>,
        /// The number is at most this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
    /// A `GET` that answers with JSON that has a number.
    Http {
        /// What is asked.
        url: String,
        /// The number's place in the answer, a JSON pointer.
        pointer: String,
        /// The number is at least this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<f64>,
        /// The number is at most this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
}

impl GateAsk {
    /// Whether it is answered by counters of requests.
    pub const fn counts_requests(&self) -> bool {
        matches!(self, Self::ErrorRate { .. } | Self::P95 { .. })
    }
}
