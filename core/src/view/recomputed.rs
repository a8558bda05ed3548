//! Verdicts of gates, computed again from what is stored of them: what `explain --recompute` prints.

use serde::{Deserialize, Serialize};

use crate::gate::{Judged, Verdict, recompute};
use crate::id::{RolloutId, ServiceName};
use crate::rollout::What;
use crate::time::Timestamp;

use super::ExplainView;

/// Every stored verdict of a rollout, and what it is when it is computed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecomputedView {
    /// The rollout.
    pub rollout: RolloutId,
    /// The service's name.
    pub service: ServiceName,
    /// Verdicts that were computed again.
    pub verdicts: Vec<RecomputedVerdict>,
    /// Number of them that differ from the stored ones.
    pub differing: u32,
    /// Decisions that were not written, since there were too many.
    #[serde(default)]
    pub omitted: u32,
    /// `omitted`, as version 0.1 names it.
    #[schemars(extend("deprecated" = true))]
    pub left_out: u32,
}

/// A stored verdict, computed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecomputedVerdict {
    /// Number of its decision.
    pub n: u32,
    /// Name of the gate.
    pub gate: String,
    /// The step.
    pub step: u32,
    /// Beginning of the window.
    pub from: Timestamp,
    /// End of the window.
    pub until: Timestamp,
    /// As it is stored.
    pub stored: Verdict,
    /// As it is computed from what is stored with it.
    pub computed: Verdict,
    /// Why, as it is computed.
    pub why: String,
}

/// Computes every stored verdict of a rollout again.
pub fn recomputed(view: &ExplainView) -> RecomputedView {
    let judged = view.decisions.iter().filter_map(|decision| {
        let What::Judged { judged } = &decision.decision.what else { return None };
        Some((decision.decision.n, &**judged))
    });
    let verdicts: Vec<RecomputedVerdict> = judged.map(|(n, judged)| again(n, judged)).collect();
    let differing = verdicts.iter().filter(|verdict| verdict.stored != verdict.computed).count();
    RecomputedView {
        rollout: view.rollout.clone(),
        service: view.service.clone(),
        verdicts,
        differing: u32::try_from(differing).unwrap_or(u32::MAX),
        omitted: view.left_out,
        left_out: view.left_out,
    }
}

fn again(n: u32, judged: &Judged) -> RecomputedVerdict {
    let ruling = recompute(judged);
    RecomputedVerdict {
        n,
        gate: judged.asked.gate.clone(),
        step: judged.asked.step,
        from: judged.asked.from,
        until: judged.asked.until,
        stored: judged.verdict,
        computed: ruling.verdict,
        why: ruling.why,
    }
}
