//! How one release replaces another, as a manifest says it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::release::OrderRule;
use crate::units::{Amount, Span};

use super::super::defaults;
use super::later::Canary;
use super::scalar::{self, Share};

/// How one release replaces another: one of its keys.
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
    #[schemars(extend("x-not-yet" = "`rolling`, `recreate` and `blue_green` work now", "x-even-empty" = true))]
    pub(crate) canary: Option<Canary>,
}

impl Strategy {
    /// Does it name no strategy at all?
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
    /// How many are replaced at once.
    #[serde(default = "defaults::batch")]
    #[schemars(schema_with = "scalar::amount")]
    pub(crate) batch: Amount,
    /// How many more than the replica count may run meanwhile.
    #[serde(default = "defaults::max_surge")]
    #[schemars(schema_with = "scalar::amount")]
    pub(crate) max_surge: Amount,
    /// How many fewer than the replica count may serve meanwhile.
    #[serde(default = "defaults::max_unavailable")]
    #[schemars(schema_with = "scalar::amount")]
    pub(crate) max_unavailable: Amount,
    /// Which of the two instances of a slot goes first.
    #[serde(default)]
    pub(crate) order: OrderRule,
    /// How long an instance must be healthy to count.
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
    /// How long an instance must be healthy to count.
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
    /// How long the new set is watched after each step.
    #[serde(default = "defaults::watch")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) watch: Span,
    /// How long the old set runs on, without traffic, after the rollout succeeded.
    #[serde(default = "defaults::keep_old")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) keep_old: Span,
    /// Whether a person lets the first step begin, with `windlass rollout promote`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) approve: bool,
    /// How long an instance must be healthy to count.
    #[serde(default = "defaults::min_ready")]
    #[schemars(schema_with = "scalar::span")]
    pub(crate) min_ready: Span,
}
