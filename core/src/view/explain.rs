//! A rollout's decision log, as `explain` prints it: every decision that was written, with what it was made from.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Counter, EnvironmentId, HostId, RolloutId, ServiceName};
use crate::rollout::{Decision, Kind, Log, State};
use crate::time::Timestamp;

use super::{ConditionView, RolloutView};

mod evidence;
mod sentence;

/// A rollout's decision log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ExplainView {
    /// The rollout.
    pub rollout: RolloutId,
    /// The service's name.
    pub service: ServiceName,
    /// The service's environment.
    pub environment: EnvironmentId,
    /// Forward or back.
    pub kind: Kind,
    /// Where it goes.
    pub release: Counter,
    /// The last good release when it began: what a deploy goes back to if it fails, or anything if a person aborts it.
    pub from: Option<Counter>,
    /// The release that the service was at when it began; absent if it was at none, or if a coordinator of version 0.1
    /// began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Counter>,
    /// Where it is.
    pub state: State,
    /// Why, in words.
    pub reason: Option<String>,
    /// Its waits now, in words.
    pub waiting: Vec<String>,
    /// Conditions of the service's instances and slots now.
    #[serde(default)]
    pub conditions: Vec<ConditionView>,
    /// The operator or program that asked for it.
    pub actor: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From its making to its end, or to now, in milliseconds.
    pub duration_ms: u64,
    /// Healthy instances by release, now.
    pub serving: BTreeMap<Counter, u32>,
    /// Hosts that were lost and get the outcome when they return.
    pub stragglers: Vec<HostId>,
    /// Every decision that was written, in order.
    pub decisions: Vec<DecisionView>,
    /// Decisions about slots that were not written, since there were too many. Changes of state, failures and
    /// steering are always there.
    #[serde(default)]
    pub omitted: u32,
    /// `omitted`, as version 0.1 names it.
    #[schemars(extend("deprecated" = true))]
    pub left_out: u32,
}

/// A decision and what it says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DecisionView {
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
    /// Time since the rollout was made, in milliseconds.
    pub after_ms: u64,
    /// In a sentence.
    pub text: String,
    /// Its inputs, a line each.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// `inputs`, as version 0.1 names it.
    #[schemars(extend("deprecated" = true))]
    pub made_from: Vec<String>,
}

/// Shows the decision log of a rollout. `view` is the rollout as it stands, `log` its own count of what was written.
pub fn explain(view: RolloutView, log: &Log, decisions: Vec<Decision>) -> ExplainView {
    let created_at = view.created_at;
    let shown = |decision: Decision| DecisionView {
        after_ms: millis(decision.at.since(created_at)),
        text: sentence::text(&decision.what),
        inputs: evidence::inputs(&decision),
        made_from: evidence::inputs(&decision),
        decision,
    };
    ExplainView {
        rollout: view.rollout,
        service: view.service,
        environment: view.environment,
        kind: view.kind,
        release: view.release,
        from: view.from,
        left: view.left,
        state: view.state,
        reason: view.reason,
        waiting: view.waiting,
        conditions: view.conditions,
        actor: view.actor,
        created_at,
        duration_ms: view.duration_ms,
        serving: view.serving,
        stragglers: view.stragglers,
        decisions: decisions.into_iter().map(shown).collect(),
        omitted: log.left_out(),
        left_out: log.left_out(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
