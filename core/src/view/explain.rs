//! A rollout's story, as `explain` prints it: every decision that was written, with what it was made from.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Counter, EnvironmentId, HostId, RolloutId, ServiceName, SlotId};
use crate::observation::Evidence;
use crate::plan::Order;
use crate::rollout::{
    Allowed, Begin, Chosen, Clocks, Decision, Failure, GoingBack, Kind, Log, State, Stood, What,
};
use crate::time::{Timestamp, display_duration};

use super::RolloutView;

/// Hosts or slots that a sentence names; `-o json` has all that were written.
const NAMED: usize = 8;

/// A rollout's story.
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
    /// What it goes back to if it fails.
    pub from: Option<Counter>,
    /// Where it is.
    pub state: State,
    /// Why, in words.
    pub reason: Option<String>,
    /// What it waits for now, in words.
    pub waiting: Vec<String>,
    /// Who asked for it.
    pub actor: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From its making to its end, or to now, in milliseconds.
    pub duration_ms: u64,
    /// How many healthy instances each release has now.
    pub serving: BTreeMap<Counter, u32>,
    /// Hosts that were lost and get the outcome when they return.
    pub stragglers: Vec<HostId>,
    /// Every decision that was written, in order.
    pub decisions: Vec<DecisionView>,
    /// Decisions about slots that were not written, since there were too many. Changes of state, failures and
    /// steering are always there.
    pub left_out: u32,
}

/// A decision and what it says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DecisionView {
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
    /// How long after the rollout was made, in milliseconds.
    pub after_ms: u64,
    /// In a sentence.
    pub text: String,
    /// What it was made from, a line each.
    pub made_from: Vec<String>,
}

/// Shows the story of a rollout. `view` is the rollout as it stands, `log` its own count of what was written.
pub fn explain(view: RolloutView, log: &Log, decisions: Vec<Decision>) -> ExplainView {
    let created_at = view.created_at;
    let shown = |decision: Decision| DecisionView {
        after_ms: millis(decision.at.since(created_at)),
        text: text(&decision.what),
        made_from: made_from(&decision),
        decision,
    };
    ExplainView {
        rollout: view.rollout,
        service: view.service,
        environment: view.environment,
        kind: view.kind,
        release: view.release,
        from: view.from,
        state: view.state,
        reason: view.reason,
        waiting: view.waiting,
        actor: view.actor,
        created_at,
        duration_ms: view.duration_ms,
        serving: view.serving,
        stragglers: view.stragglers,
        decisions: decisions.into_iter().map(shown).collect(),
        left_out: log.left_out(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A decision in a sentence.
fn text(what: &What) -> String {
    match what {
        What::Started { by, kind, from, to, supersedes, retry_quarantined } => {
            let verb = match kind {
                Kind::Deploy => "a deploy of",
                Kind::Rollback => "going back to",
                Kind::Restart => "new instances of",
            };
            let from = from.map_or_else(
                || "there is no good release to go back to".to_owned(),
                |from| format!("it goes back to {from} if it fails"),
            );
            let over =
                supersedes.as_ref().map(|id| format!("; takes over from rollout {id}")).unwrap_or_default();
            let retry = if *retry_quarantined { "; content that failed before may start" } else { "" };
            format!("{by} asked for {verb} {to}; {from}{over}{retry}")
        }
        What::Placed { slots, more, wanted, .. } => {
            let wanted = wanted.map_or_else(|| "one on every host".to_owned(), |n| format!("{n} wanted"));
            format!("placed {}: {wanted}", count(slots.len(), *more, "slot"))
        }
        What::Pulled { slots, more, pulled, of } => {
            let hosts = named(slots.iter().map(|place| place.host.to_string()), *more);
            format!("the image is on {hosts}: {pulled} of {of}")
        }
        What::Begun { slots, more, .. } => {
            format!("began {}: {}", count(slots.len(), *more, "slot"), began(slots, *more))
        }
        What::Available { slots, more, release, available, of } => {
            let took = |after: &Option<u64>| {
                after
                    .map(|ms| format!(" after {}", display_duration(Duration::from_millis(ms))))
                    .unwrap_or_default()
            };
            let list = slots.iter().map(|s| format!("{}{}", place(&s.slot, &s.host), took(&s.after_ms)));
            format!("{release} became available in {}: {available} of {of}", named(list, *more))
        }
        What::Failed { failure, .. } => failed(failure),
        What::Retried { place: at } => format!("{} gets another try", place(&at.slot, &at.host)),
        What::Turned { slots, more, release } => {
            let n = count(slots.len(), *more, "slot");
            format!("turned {n} back to {release}: {}", began(slots, *more))
        }
        What::Removed { slots, more } => {
            let list = slots.iter().map(|at| place(&at.slot, &at.host));
            format!("removed {}", named(list, *more))
        }
        What::LeftBehind { hosts, more, .. } => format!(
            "{} lost at the deadline: not waited for, gets the outcome on return",
            named(hosts.iter().map(ToString::to_string), *more)
        ),
        What::Steered { by, steering, from, to } => {
            let verb = match steering {
                crate::rollout::Steering::Pause => "paused it",
                crate::rollout::Steering::Resume => "let it go on",
                crate::rollout::Steering::Abort => "aborted it",
            };
            format!("{by} {verb}: {} → {}", words(*from), words(*to))
        }
        What::Moved { from, to, reason, going_back, serves, .. } => {
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let how = match (going_back, to) {
                (Some(GoingBack::Untouched), State::RollingBack) => " (no container was touched)",
                (Some(GoingBack::OnlyFailed), State::RollingBack) => " (only what failed goes back)",
                _ => "",
            };
            let serves = serves.map(|at| format!("; the service is at {at}")).unwrap_or_default();
            format!("{} → {}{reason}{how}{serves}", words(*from), words(*to))
        }
    }
}

/// What a decision was made from, a line each.
fn made_from(decision: &Decision) -> Vec<String> {
    match &decision.what {
        What::Placed { slots, more, refused, more_refused, .. } => {
            let line =
                |p: &crate::rollout::Placement| format!("{}: {}", place(&p.slot, &p.host), chosen(p.because));
            let mut lines: Vec<String> = slots.iter().take(NAMED).map(line).collect();
            rest(&mut lines, slots.len(), *more, "slot");
            let shown = refused.iter().take(NAMED).map(|r| format!("not {}: {}", r.host, r.reason));
            lines.extend(shown);
            rest(&mut lines, refused.len(), *more_refused, "host");
            lines
        }
        What::Begun { stood, allowed, .. } => vec![standing(stood), limits(allowed)],
        What::Failed { failure, cut } => {
            let mut lines = failure.evidence.as_ref().map(seen).unwrap_or_default();
            if *cut {
                lines.push("log and probes are not kept: others failed before, see there".to_owned());
            }
            lines
        }
        What::LeftBehind { clocks, .. } => vec![waited(clocks, decision.at)],
        What::Moved { from, progress, clocks, .. } => {
            let mut lines = Vec::new();
            match from {
                State::Preparing => lines.push(format!("{} pulled", progress.pulled)),
                State::Advancing | State::RollingBack => {
                    lines.push(format!("{} begun, {} available", progress.begun, progress.available));
                }
                State::Soaking => {
                    let since = clocks.soak_since.map_or_else(
                        || "not every instance was available at the end".to_owned(),
                        |at| format!("every instance was available for {}", span(decision.at.since(at))),
                    );
                    let soak = clocks.soak.map(|soak| format!(", soak is {soak}")).unwrap_or_default();
                    lines.push(format!("{since}{soak}"));
                }
                State::Pending
                | State::Paused
                | State::Succeeded
                | State::RolledBack
                | State::Aborted
                | State::Failed
                | State::Superseded => {}
            }
            if !matches!(from, State::Pending | State::Paused) {
                lines.push(waited(clocks, decision.at));
            }
            lines
        }
        What::Started { .. }
        | What::Pulled { .. }
        | What::Available { .. }
        | What::Retried { .. }
        | What::Turned { .. }
        | What::Removed { .. }
        | What::Steered { .. } => Vec::new(),
    }
}

fn words(state: State) -> String {
    state.as_str().replace('_', " ")
}

fn span(duration: Duration) -> String {
    // To the millisecond where it is short, to the second where nobody asks for more.
    let whole = duration.as_secs() >= 60;
    display_duration(if whole { Duration::from_secs(duration.as_secs()) } else { duration })
}

fn count(written: usize, more: u32, what: &str) -> String {
    let n = u64::try_from(written).unwrap_or(u64::MAX).saturating_add(u64::from(more));
    if n == 1 { format!("one {what}") } else { format!("{n} {what}s") }
}

fn place(slot: &SlotId, host: &HostId) -> String {
    format!("slot {} on {host}", slot.index)
}

fn named(list: impl Iterator<Item = String>, more: u32) -> String {
    let mut list: Vec<String> = list.collect();
    let hidden = u32::try_from(list.len().saturating_sub(NAMED)).unwrap_or(u32::MAX).saturating_add(more);
    list.truncate(NAMED);
    let text = list.join(", ");
    if hidden == 0 { text } else { format!("{text} and {hidden} more") }
}

fn rest(lines: &mut Vec<String>, written: usize, more: u32, what: &str) {
    let hidden = u32::try_from(written.saturating_sub(NAMED)).unwrap_or(u32::MAX).saturating_add(more);
    if hidden > 0 {
        lines.push(format!("and {}", count(0, hidden, &format!("more {what}"))));
    }
}

fn began(slots: &[Begin], more: u32) -> String {
    let one = |begin: &Begin| {
        let order = match (begin.order, &begin.because) {
            (None, _) => String::new(),
            (Some(Order::StartFirst), _) => ", start first".to_owned(),
            (Some(Order::StopFirst), None) => ", stop first".to_owned(),
            (Some(Order::StopFirst), Some(why)) => format!(", stop first since {why}"),
        };
        format!("{}{order}", place(&begin.slot, &begin.host))
    };
    named(slots.iter().map(one), more)
}

fn chosen(why: Chosen) -> String {
    match why {
        Chosen::Kept => "it was there before".to_owned(),
        Chosen::PerHost => "one on every host".to_owned(),
        Chosen::Best { own, memory_reserved } => format!(
            "best of those with room, {own} of this service and {} MiB reserved there",
            memory_reserved >> 20
        ),
    }
}

fn standing(stood: &Stood) -> String {
    format!(
        "stood: {} slots, {} available, {} on their way, {} with two instances, {} without one that serves",
        stood.total, stood.available, stood.in_flight, stood.surging, stood.unavailable
    )
}

fn limits(allowed: &Allowed) -> String {
    let bound = |n: Option<u32>| n.map_or_else(|| "any".to_owned(), |n| n.to_string());
    format!(
        "allowed: {} on their way, {} with two instances, {} without one",
        bound(allowed.batch),
        bound(allowed.surge),
        bound(allowed.unavailable)
    )
}

/// How long the state that is left went without progress, against its deadline.
fn waited(clocks: &Clocks, at: Timestamp) -> String {
    let counted = clocks.progress_at.max(clocks.watched_since);
    let deadline = clocks.progress_deadline.map(|span| format!(" of {span}")).unwrap_or_default();
    let watched =
        if clocks.watched_since > clocks.progress_at { ", counted from the coordinator's start" } else { "" };
    format!(
        "{} in that state, {}{deadline} without progress{watched}",
        span(at.since(clocks.since)),
        span(at.since(counted))
    )
}

fn failed(failure: &Failure) -> String {
    let at = place(&failure.slot, &failure.host);
    match (&failure.evidence, &failure.refusal) {
        (Some(evidence), _) => format!("{at} failed: {}", evidence.reason),
        (None, Some(refusal)) => format!("{at} was refused by the host: {refusal}"),
        (None, None) => format!("{at} failed"),
    }
}

fn seen(evidence: &Evidence) -> Vec<String> {
    let exit =
        evidence.exit_code.map_or_else(|| "did not exit".to_owned(), |code| format!("exit code {code}"));
    let memory = if evidence.oom_killed { ", killed for memory" } else { "" };
    let mut lines = vec![format!(
        "{}, the {} clock, {exit}{memory}, {} restarts, at {}",
        evidence.counter,
        evidence.clock.as_str(),
        evidence.restarts,
        evidence.at
    )];
    let probe = |p: &crate::observation::ProbeResult| {
        format!("probe {} {} {}: {}", p.at, p.probe, if p.ok { "ok" } else { "no" }, p.detail)
    };
    lines.extend(evidence.probes.iter().map(probe));
    lines.extend(evidence.log.iter().map(|line| format!("log   {line}")));
    lines
}
