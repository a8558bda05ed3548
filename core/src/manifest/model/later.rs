//! The parts of a manifest that are known and not built yet. They stand in the JSON Schema, so that
//! their names are settled and a manifest that uses them is refused with the right words.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

use super::scalar;

/// A secret by name: a file, or with `as: env` a variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Secret {
    /// A file under /run/secrets.
    Name(String),
    /// With a choice of how it is given.
    Given(GivenSecret),
}

/// A secret and how it is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenSecret {
    /// Its name.
    pub(crate) name: String,
    /// As a file or as a variable.
    pub(crate) r#as: SecretForm,
}

/// How a secret is given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecretForm {
    /// A file under /run/secrets.
    File,
    /// An environment variable.
    Env,
}

/// Traffic in steps, each guarded by gates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Canary {
    /// The steps.
    #[serde(default)]
    pub(crate) steps: Vec<CanaryStep>,
    /// Requests that go to the new release whatever the weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) r#match: Option<Match>,
}

/// A step of a canary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CanaryStep {
    /// Share of the traffic.
    #[schemars(schema_with = "scalar::percent")]
    pub(crate) weight: String,
    /// How long it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) hold: Option<Span>,
    /// Gates by name.
    #[serde(default)]
    pub(crate) gates: Vec<String>,
    /// Does a person approve it?
    #[serde(default)]
    pub(crate) approve: bool,
}

/// Requests that go to the new release whatever the weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Match {
    /// Headers.
    #[serde(default)]
    pub(crate) header: BTreeMap<String, scalar::Text>,
    /// Cookies.
    #[serde(default)]
    pub(crate) cookie: BTreeMap<String, scalar::Text>,
}

/// A question asked before a rollout advances: one of its keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("maxProperties" = 1))]
pub(crate) struct Gate {
    /// Share of failed requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_rate: Option<ErrorRate>,
    /// 95th percentile of the latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p95: Option<Latency>,
    /// A Prometheus query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prometheus: Option<Prometheus>,
}

/// Share of failed requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorRate {
    /// At most.
    #[schemars(schema_with = "scalar::percent")]
    pub(crate) max: String,
    /// Fewer requests in a window are not enough to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min_requests: Option<u32>,
}

/// 95th percentile of the latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Latency {
    /// At most.
    #[schemars(schema_with = "scalar::span")]
    pub(crate) max: Span,
    /// Fewer requests in a window are not enough to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min_requests: Option<u32>,
}

/// A Prometheus query that answers with one number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prometheus {
    /// The server.
    pub(crate) url: String,
    /// The query.
    pub(crate) query: String,
    /// The answer is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    /// The answer is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
}
