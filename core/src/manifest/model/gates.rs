//! Gates, as a person writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

use super::super::defaults;
use super::is_false;
use super::scalar::{self, Share};

/// A question that the steps of a canary ask at the end of every window: one of its first nine keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gate {
    /// Share of failed requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_rate: Option<Failed>,
    /// 95th percentile of the latency until the head of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p95: Option<Slow>,
    /// Exits of the new release's instances since the step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crashes: Option<Exits>,
    /// Memory of the instance that uses the most, as a share of its limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Used>,
    /// Processor time of the instance that uses the most, as a share of its limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu: Option<Used>,
    /// Memory of the GPU of the instance that uses the most, as a share of what it may have there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gpu_memory: Option<Used>,
    /// Errors of the GPUs that the new release's instances hold, since the step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gpu_errors: Option<Exits>,
    /// A Prometheus query that answers with one number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prometheus: Option<Prometheus>,
    /// A `GET` that answers with JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<Http>,
    /// Length of a window.
    #[serde(default = "defaults::gate_window")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) window: Span,
    /// Windows of a step that have to pass.
    #[serde(default = "defaults::gate_passes")]
    pub(crate) passes: u32,
    /// Windows in a row that fail the step; one more of the last ten does too.
    #[serde(default = "defaults::gate_fails")]
    pub(crate) fails: u32,
    /// Whether it is asked and shown, and decides nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) dry_run: bool,
    /// Asked in every step from this one on, counted from 1; if absent, in the steps that name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from_step: Option<u32>,
    /// Whether `error_rate` and `p95` are compared with the old release in the same window; they are if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) baseline: Option<bool>,
}

/// Share of failed requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failed {
    /// At most.
    #[schemars(schema_with = "scalar::percent")]
    pub(crate) max: Share,
    /// Fewer requests in a window are not enough to tell.
    #[serde(default = "defaults::gate_error_requests")]
    pub(crate) min_requests: u32,
}

/// 95th percentile of the latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slow {
    /// At most.
    #[schemars(schema_with = "scalar::span")]
    pub(crate) max: Span,
    /// Fewer requests in a window are not enough to tell.
    #[serde(default = "defaults::gate_latency_requests")]
    pub(crate) min_requests: u32,
}

/// Exits of instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exits {
    /// At most.
    pub(crate) max: u32,
}

/// The use of something, as a share of its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Used {
    /// At most.
    #[schemars(schema_with = "scalar::percent")]
    pub(crate) max: Share,
}

/// A Prometheus query that answers with one number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prometheus {
    /// The server, as the coordinator reaches it.
    #[schemars(extend("examples" = ["http://prometheus:9090"]))]
    pub(crate) url: String,
    /// The query. `{{release}}` (`r7`), `{{digest}}`, `{{service}}`, `{{environment}}` and `{{window}}` (`1m`) are filled in.
    pub(crate) query: String,
    /// The answer is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    /// The answer is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    /// Time for the answer.
    #[serde(default = "defaults::gate_timeout")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) timeout: Span,
}

/// A `GET` that answers with JSON: with a number at `pointer`, or with `{"verdict": "pass"}` or `{"verdict": "fail"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    /// The address, as the coordinator reaches it; the same placeholders as in a query are filled in.
    #[schemars(extend("examples" = ["https://checks.example.com/canary?release={{release}}"]))]
    pub(crate) url: String,
    /// The number's place in the answer, a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// The number is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    /// The number is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    /// Time for the answer.
    #[serde(default = "defaults::gate_timeout")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) timeout: Span,
}

impl Gate {
    /// The keys that are questions, and whether each is there.
    pub(crate) const fn asks(&self) -> [(&'static str, bool); 9] {
        [
            ("error_rate", self.error_rate.is_some()),
            ("p95", self.p95.is_some()),
            ("crashes", self.crashes.is_some()),
            ("memory", self.memory.is_some()),
            ("cpu", self.cpu.is_some()),
            ("gpu_memory", self.gpu_memory.is_some()),
            ("gpu_errors", self.gpu_errors.is_some()),
            ("prometheus", self.prometheus.is_some()),
            ("http", self.http.is_some()),
        ]
    }
}
