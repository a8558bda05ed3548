//! Strategies, and the fate of slots when a release or its host fails.

use serde::{Deserialize, Serialize};

use crate::traffic::{MatchRule, Weight};
use crate::units::{Amount, Span};

/// Steps of the traffic of one rollout.
pub(crate) const MAX_STEPS: usize = 20;
/// Longest watch over one step.
pub(crate) const MAX_WATCH: Span = Span::from_secs(24 * 60 * 60);
/// Longest time that an old release is kept warm.
pub(crate) const MAX_KEEP_OLD: Span = Span::from_secs(30 * 24 * 60 * 60);

/// The way in which one release replaces another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Strategy {
    /// Batches.
    Rolling {
        /// Instances that are replaced at once.
        batch: Amount,
        /// Instances beyond the replica count that may run meanwhile.
        max_surge: Amount,
        /// Instances below the replica count that may be missing meanwhile.
        max_unavailable: Amount,
        /// Which of the two instances of a slot goes first.
        order: OrderRule,
        /// Time for which an instance must be healthy to count.
        min_ready: Span,
    },
    /// Stop all, start all.
    Recreate {
        /// Time for which an instance must be healthy to count.
        min_ready: Span,
    },
    /// A second set at full strength, and a switch of the traffic, in one step or in several.
    BlueGreen {
        /// Shares of the traffic that the new set gets, one step after the other. They rise; the last one is all of it.
        steps: Vec<Weight>,
        /// Time for which the new set is watched after each step.
        watch: Span,
        /// Time for which the old set runs on, without traffic, after the rollout succeeded.
        keep_old: Span,
        /// Whether a person lets the first step begin.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        approve: bool,
        /// Time for which an instance must be healthy to count.
        min_ready: Span,
    },
    /// A few instances first, and more traffic for them in steps that gates and people let pass.
    Canary {
        /// The steps. Their shares never fall; the last one is all of the traffic.
        steps: Vec<CanaryStep>,
        /// The fewest new instances in a step.
        min_instances: u32,
        /// Time for which the old instances run on, without traffic, after the rollout succeeded.
        keep_old: Span,
        /// Time for which the new instances of a canary that failed run on, without traffic, so that people can look at them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_failed: Option<Span>,
        /// Time for which an instance must be healthy to count.
        min_ready: Span,
    },
    /// One slot, and once it is available all the others. Shows in the tests what a new strategy takes.
    #[cfg(test)]
    #[schemars(skip)]
    OneThenAll {
        /// Time for which an instance must be healthy to count.
        min_ready: Span,
    },
}

/// A step of a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanaryStep {
    /// The share of the traffic; of the instances, where no request is routed to the service.
    pub weight: Weight,
    /// So many new instances, if not as many as the weight says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Amount>,
    /// Requests that go to the new release whatever the weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<MatchRule>,
    /// The shortest time of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// Names of the gates that have to pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// Whether a person lets the next step begin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approve: bool,
}

impl CanaryStep {
    /// New instances in this step, over `total` slots; at least `least`. The last step has all.
    pub fn instances(&self, total: u32, least: u32) -> u32 {
        if self.weight == Weight::ALL {
            return total;
        }
        let share = u64::from(total) * u64::from(self.weight.permille());
        let by_weight = u32::try_from(share.div_ceil(1000)).unwrap_or(total);
        let wanted = self.instances.map_or(by_weight, |amount| amount.of_up(total));
        wanted.max(least).max(1).min(total)
    }
}

impl Strategy {
    /// Time for which an instance must be healthy to count.
    pub const fn min_ready(&self) -> Span {
        match self {
            Self::Rolling { min_ready, .. }
            | Self::Recreate { min_ready }
            | Self::BlueGreen { min_ready, .. }
            | Self::Canary { min_ready, .. } => *min_ready,
            #[cfg(test)]
            Self::OneThenAll { min_ready } => *min_ready,
        }
    }

    /// Time for which the whole service is watched after the last step, where the release asks for `soak`.
    pub fn soak(&self, soak: Span) -> Span {
        if let Self::BlueGreen { watch, .. } = self { soak.max(*watch) } else { soak }
    }

    /// Steps in which it moves the traffic; 0 if it does not.
    pub fn steps(&self) -> usize {
        if let Self::BlueGreen { steps, .. } = self { steps.len() } else { self.canary().len() }
    }

    /// Whether a person has to let the step after `step` begin; 0 stands for the time before the first one.
    pub fn wants_approval(&self, step: u32) -> bool {
        if let Self::BlueGreen { approve, .. } = self {
            return *approve && step == 0;
        }
        let of = (step as usize).checked_sub(1).and_then(|index| self.canary().get(index));
        of.is_some_and(|of| of.approve)
    }

    /// The gates that step `step` names, from 1 on; `None` of a strategy without such a step. A set beside the old one names none:
    /// its gates say from which step on they are asked.
    pub fn judged(&self, step: u32) -> Option<&[String]> {
        let index = (step as usize).checked_sub(1)?;
        if let Self::BlueGreen { steps, .. } = self {
            return steps.get(index).map(|_| [].as_slice());
        }
        self.canary().get(index).map(|of| of.gates.as_slice())
    }

    /// The shortest time of step `step`, from 1 on.
    pub fn hold(&self, step: u32) -> Option<Span> {
        let index = (step as usize).checked_sub(1)?;
        if let Self::BlueGreen { steps, watch, .. } = self {
            // The watch over the last one is the soak.
            return (index + 1 < steps.len()).then_some(*watch);
        }
        self.canary().get(index).and_then(|of| of.hold)
    }

    /// The steps of a canary; none of another strategy.
    pub fn canary(&self) -> &[CanaryStep] {
        if let Self::Canary { steps, .. } = self { steps } else { &[] }
    }

    /// Time for which the old instances run on after a deploy succeeded, if they do.
    pub fn keeps_old(&self) -> Option<Span> {
        if let Self::BlueGreen { keep_old, .. } | Self::Canary { keep_old, .. } = self {
            Some(*keep_old).filter(|span| *span > Span::ZERO)
        } else {
            None
        }
    }

    /// Time for which the instances of a release that failed run on, without traffic, if they do.
    pub const fn keeps_failed(&self) -> Option<Span> {
        if let Self::Canary { keep_failed, .. } = self { *keep_failed } else { None }
    }

    /// Whether a release of the first two versions can say it.
    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self, Self::Rolling { .. } | Self::Recreate { .. })
    }
}

/// Which of the two instances of a slot goes first, as a manifest says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderRule {
    /// Start-first where the host can hold both, stop-first where it cannot.
    #[default]
    Auto,
    /// The new one must be healthy before the old one stops.
    StartFirst,
    /// The old one stops before the new one starts.
    StopFirst,
}

/// The fate of the rest of the fleet when an instance failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Every slot goes back to the last good release.
    #[default]
    RollbackAll,
    /// Only the failed slots go back; the rollout fails and leaves the others.
    RollbackFailed,
    /// The rollout pauses for a person.
    Pause,
}

/// The fate of slots when a host is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnLost {
    /// Its slots get a replacement elsewhere after so long; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_after: Option<Span>,
    /// A host that cannot reach the coordinator stops its instances after so long; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_isolated_after: Option<Span>,
    /// Which instance stays when a replaced host returns.
    pub on_return: OnReturn,
}

/// Which instance stays when a replaced host returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnReturn {
    /// The replacement.
    #[default]
    KeepNew,
    /// The one that returned; the replacement goes.
    KeepOld,
}
