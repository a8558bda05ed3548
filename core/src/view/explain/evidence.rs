//! The evidence of a decision, as `explain` shows it: the standing, the allowance, the clocks, the failures.

use std::time::Duration;

use crate::observation::{Evidence, FailureReason, ProbeResult};
use crate::rollout::{Allowed, Chosen, Clocks, Decision, Placement, Reason, State, Stood, What};
use crate::time::{Timestamp, display_measured};

use super::sentence::{NAMED, count, place};

/// The inputs of a decision, a line each.
pub(super) fn inputs(decision: &Decision) -> Vec<String> {
    match &decision.what {
        What::Placed { slots, more, refused, more_refused, .. } => {
            let line = |p: &Placement| format!("{}: {}", place(&p.slot, &p.host), chosen(&p.because));
            let mut lines: Vec<String> = slots.iter().take(NAMED).map(line).collect();
            rest(&mut lines, slots.len(), *more, "slot");
            let shown = refused.iter().take(NAMED).map(|r| format!("not {}: {}", r.host, r.reason));
            lines.extend(shown);
            rest(&mut lines, refused.len(), *more_refused, "host");
            lines
        }
        What::Judged { judged } => judged.lines(),
        What::Begun { stood, allowed, .. } => vec![standing(stood), limits(allowed)],
        What::Failed { failure, cut } => {
            let mut lines = failure.evidence.as_ref().map(seen).unwrap_or_default();
            if *cut {
                lines.push("log and probes are not kept: others failed before, see there".to_owned());
            }
            lines
        }
        What::LeftBehind { clocks, .. } => vec![waited(clocks, decision.at)],
        What::Moved { from, to, reason, progress, clocks, .. } => {
            let mut lines = Vec::new();
            // Told once: where the rollout turns or pauses for it, or begins for it.
            if let Some(Reason::Trigger { what, figures }) = reason
                && matches!((from, to), (_, State::RollingBack | State::Paused) | (State::Pending, _))
            {
                lines.extend(figures.lines(*what));
            }
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
        What::Weighed { .. }
        | What::Switched { .. }
        | What::Started { .. }
        | What::Pulled { .. }
        | What::Available { .. }
        | What::Retried { .. }
        | What::Turned { .. }
        | What::HookBegun { .. }
        | What::HookEnded { .. }
        | What::Removed { .. }
        | What::Steered { .. } => Vec::new(),
    }
}

fn rest(lines: &mut Vec<String>, written: usize, more: u32, what: &str) {
    let hidden = u32::try_from(written.saturating_sub(NAMED)).unwrap_or(u32::MAX).saturating_add(more);
    if hidden > 0 {
        lines.push(format!("and {}", count(0, hidden, &format!("more {what}"))));
    }
}

fn chosen(why: &Chosen) -> String {
    match why {
        Chosen::Kept => "it was there before".to_owned(),
        Chosen::PerHost => "one on every host".to_owned(),
        Chosen::Best { own, memory_reserved, instead } => {
            let best = format!(
                "best of those with room, {own} of this service and {} MiB reserved there",
                memory_reserved >> 20
            );
            instead.as_ref().map_or(best.clone(), |instead| format!("{}; {best}", instead.why))
        }
    }
}

/// `1 slot`, `2 slots`.
fn counted(count: u32, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn standing(stood: &Stood) -> String {
    format!(
        "before: {}, {} available, {} updating, {} surging, {} unavailable",
        counted(stood.total, "slot"),
        stood.available,
        stood.in_flight,
        stood.surging,
        stood.unavailable
    )
}

fn limits(allowed: &Allowed) -> String {
    let bound = |n: Option<u32>| n.map_or_else(|| "any".to_owned(), |n| n.to_string());
    let why = if allowed.raised { " (0 counts as 1 for slots that cannot start first)" } else { "" };
    format!(
        "limits applied: {} updating at once, {} surge, {} unavailable{why}",
        bound(allowed.batch),
        bound(allowed.surge),
        bound(allowed.unavailable)
    )
}

/// Time without progress in the state that is left, against its deadline.
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

fn seen(evidence: &Evidence) -> Vec<String> {
    let exit =
        evidence.exit_code.map_or_else(|| "did not exit".to_owned(), |code| format!("exit code {code}"));
    let memory = if evidence.oom_killed { ", killed for memory" } else { "" };
    let mut lines = vec![format!(
        "{} {}, {exit}{memory}, {}, at {}",
        evidence.counter,
        evidence.clock.phase(),
        counted(evidence.restarts, "restart"),
        evidence.at
    )];
    if let FailureReason::SmokeFailed { test } = &evidence.reason {
        lines.push(format!("answer: {}", test.answer()));
    }
    let probe = |p: &ProbeResult| {
        format!("probe {} {} {}: {}", p.at, p.probe, if p.ok { "ok" } else { "no" }, p.detail)
    };
    lines.extend(evidence.probes.iter().map(probe));
    lines.extend(evidence.log.iter().map(|line| format!("log   {line}")));
    lines
}

fn span(duration: Duration) -> String {
    display_measured(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_raised_says_why() {
        let allowed = Allowed { batch: None, surge: Some(0), unavailable: Some(1), raised: true };
        assert_eq!(
            limits(&allowed),
            "limits applied: any updating at once, 0 surge, 1 unavailable (0 counts as 1 for slots that cannot start first)"
        );
        assert!(!limits(&Allowed { raised: false, ..allowed }).contains("counts as"));
    }
}
