//! Strategies, as a manifest says them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::release::OrderRule;
use crate::units::{Amount, Span};

use super::super::defaults;
use super::scalar::{self, Share};

/// The way in which one release replaces another: one of its keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("maxProperties" = 1))]
pub(crate) struct Strategy {
    /// Batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rolling: Option<Rolling>,
    /// Stop all, start all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recreate: Option<Recreate>,
    /// A second set at full strength, and a switch of the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blue_green: Option<BlueGreen>,
    /// Traffic in steps, each guarded by gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) canary: Option<Canary>,
}

impl Strategy {
    /// Whether the section names no strategy at all.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rolling.is_none()
            && self.recreate.is_none()
            && self.blue_green.is_none()
            && self.canary.is_none()
    }
}

impl Default for Strategy {
    fn default() -> Self {
        Self { rolling: Some(Rolling::default()), recreate: None, blue_green: None, canary: None }
    }
}

/// Batches of a number or a share; the first batch is one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rolling {
    /// Instances that are replaced at once.
    #[serde(default = "defaults::batch")]
    #[schemars(schema_with = "scalar::amount")]
    pub(crate) batch: Amount,
    /// Instances beyond the replica count that may run meanwhile.
    #[serde(default = "defaults::max_surge")]
    #[schemars(schema_with = "scalar::amount")]
    pub(crate) max_surge: Amount,
    /// Instances below the replica count that may be missing meanwhile.
    #[serde(default = "defaults::max_unavailable")]
    #[schemars(schema_with = "scalar::amount")]
    pub(crate) max_unavailable: Amount,
    /// Which of the two instances of a slot goes first.
    #[serde(default)]
    pub(crate) order: OrderRule,
    /// Time for which an instance must be healthy to count.
    #[serde(default = "defaults::min_ready")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) min_ready: Span,
}

impl Default for Rolling {
    fn default() -> Self {
        Self {
            batch: defaults::BATCH,
            max_surge: defaults::MAX_SURGE,
            max_unavailable: defaults::MAX_UNAVAILABLE,
            order: OrderRule::Auto,
            min_ready: defaults::MIN_READY,
        }
    }
}

/// Stop all, start all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recreate {
    /// Time for which an instance must be healthy to count.
    #[serde(default = "defaults::min_ready")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) min_ready: Span,
}

/// A second set at full strength, and a switch of the traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlueGreen {
    /// Shares of the traffic that the new set gets, one step after the other; by default all of it at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "scalar::shares")]
    pub(crate) steps: Vec<Share>,
    /// Time for which the new set is watched after each step.
    #[serde(default = "defaults::watch")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) watch: Span,
    /// Time for which the old set runs on, without traffic, after the rollout succeeded.
    #[serde(default = "defaults::keep_old")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) keep_old: Span,
    /// Whether the first step waits for approval, with `windlass rollout approve`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) approve: bool,
    /// Time for which an instance must be healthy to count.
    #[serde(default = "defaults::min_ready")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) min_ready: Span,
}

/// A few new instances first, and more of the traffic for them in steps that gates and people let pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Canary {
    /// The steps; by default 1%, 5%, 10%, 25%, 50% and 100%, each with every gate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<CanaryStep>,
    /// Requests that go to the new release whatever the weight, in every step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) r#match: Option<Match>,
    /// The fewest new instances in a step.
    #[serde(default = "defaults::min_instances")]
    pub(crate) min_instances: u32,
    /// Time for which the old instances run on, without traffic, after the rollout succeeded.
    #[serde(default = "defaults::keep_old")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) keep_old: Span,
    /// Time for which the new instances of a canary that failed run on, without traffic, so that people can look at them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) keep_failed: Option<Span>,
    /// Time for which an instance must be healthy to count.
    #[serde(default = "defaults::min_ready")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) min_ready: Span,
}

/// A step of a canary: a share, or a share with more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum CanaryStep {
    /// A share of the traffic, with every gate.
    Share(#[schemars(schema_with = "scalar::percent")] Share),
    /// With more.
    More(Box<StepKeys>),
}

/// The keys of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepKeys {
    /// Share of the traffic; none if absent, which needs a `match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::percent")]
    pub(crate) weight: Option<Share>,
    /// So many new instances, if not as many as the weight says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::amount")]
    pub(crate) instances: Option<Amount>,
    /// Requests that go to the new release whatever the weight, in this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) r#match: Option<Match>,
    /// The shortest time of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) hold: Option<Span>,
    /// Names of the gates that have to pass; every gate if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gates: Option<Vec<String>>,
    /// Whether the next step waits for approval, with `windlass rollout approve`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) approve: bool,
}

/// Requests that go to the new release whatever the weight: those with one of these headers or cookies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Match {
    /// Values of headers by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) header: BTreeMap<String, scalar::Text>,
    /// Values of cookies by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) cookie: BTreeMap<String, scalar::Text>,
}
