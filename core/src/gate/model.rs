//! A verdict, and all that it was made from.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Answer, Number};
use crate::id::{Counter, HostId};
use crate::observation::GpuError;
use crate::release::Gate;
use crate::time::Timestamp;
use crate::traffic::{Fault, FaultKind, Tally};

/// The verdict of one window. In the order of precedence, the strongest last.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The facts are within every limit.
    Pass,
    /// There is too little to tell.
    Inconclusive,
    /// Nobody could be asked.
    ProviderError,
    /// A limit is broken.
    Fail,
}

impl Verdict {
    /// The verdict as documents and tables write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::ProviderError => "provider_error",
            Self::Fail => "fail",
        }
    }
}

/// The question of one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Asked {
    /// Name of the gate.
    pub gate: String,
    /// The question and its limits, as they were signed.
    pub question: Gate,
    /// The step, from 1 on.
    pub step: u32,
    /// The release on its way.
    pub release: Counter,
    /// The release that it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Counter>,
    /// Beginning of the window.
    pub from: Timestamp,
    /// End of the window.
    pub until: Timestamp,
    /// Whether it is judged over the step so far, before the end of a window: what is clear enough stops a release at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_once: bool,
    /// Which comparison of the gate in this rollout it is, from 1 on.
    pub look: u32,
    /// Comparisons that are planned; the error budget is spent over them.
    pub looks: u32,
}

/// The known facts about a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Facts {
    /// Requests, as the ingresses counted them.
    Requests {
        /// Those of the release on its way.
        new: Box<Tally>,
        /// Those of the old release in the same window.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        old: Option<Box<Tally>>,
        /// Ingresses that were heard of at the window's end.
        reporting: u32,
        /// Ingresses that count.
        ingresses: u32,
        /// Reports that could not be counted.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        faults: Vec<Fault>,
    },
    /// Exits of the release's instances since the step began.
    Exits {
        /// So many.
        exits: u32,
        /// Instances that were heard of.
        instances: u32,
    },
    /// Errors of the GPUs of the release's instances since the step began.
    GpuErrors {
        /// So many.
        errors: u32,
        /// Instances whose hosts can tell.
        measured: u32,
        /// Instances that run.
        instances: u32,
        /// The last one of each instance that has seen any.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        faults: Vec<GpuFault>,
    },
    /// The use of something by the instance that uses the most.
    Used {
        /// In thousandths of its limit; absent if nobody has measured it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        most: Option<u32>,
        /// Instances that were measured.
        measured: u32,
        /// Instances that run.
        instances: u32,
    },
    /// The answer of a provider.
    Answer(Box<Answer>),
}

/// An error of a GPU, and whose it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GpuFault {
    /// The host.
    pub host: HostId,
    /// The instance that held the GPU.
    pub instance: String,
    /// The error.
    #[serde(flatten)]
    pub error: GpuError,
}

impl std::fmt::Display for GpuFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} on {}", self.error, self.instance, self.host)
    }
}

/// A comparison with the old release in the same window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Test {
    /// The probability of such a difference, or of a larger one, if both releases were equal.
    pub p_value: Number,
    /// The new release is worse only if it is below this.
    pub alpha: Number,
    /// The new release's figure divided by the old one's; absent if the old one's is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Number>,
    /// The new release's figure less the old one's: points of a percentage, or milliseconds.
    pub more: Number,
    /// The new release is worse only if the ratio is at least this.
    pub ratio_floor: Number,
    /// The new release is worse only if the difference is at least this.
    pub more_floor: Number,
    /// Whether the new release is worse: all three hold.
    pub is_worse: bool,
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// The verdict.
    pub verdict: Verdict,
    /// The reason, with its figures.
    pub why: String,
    /// The comparison, if one was made.
    pub test: Option<Test>,
}

/// A window that was judged, with all that the verdict was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Judged {
    /// The question.
    #[serde(flatten)]
    pub asked: Asked,
    /// The facts.
    pub facts: Facts,
    /// The comparison, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
}

impl Facts {
    /// Ingresses that reported all that `needed` says, of those that count.
    pub(super) fn whole_reports(&self, latency: bool) -> (u32, u32) {
        let Self::Requests { reporting, ingresses, faults, .. } = self else { return (0, 0) };
        let counts = |fault: &&Fault| latency || fault.what != FaultKind::HistogramsCut;
        let faulty: BTreeSet<_> = faults.iter().filter(counts).map(|fault| &fault.host).collect();
        let faulty = u32::try_from(faulty.len()).unwrap_or(u32::MAX);
        (reporting.saturating_sub(faulty), *ingresses)
    }
}
