//! The sentence of `explain` about a decision.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::id::{HostId, SlotId};
use crate::plan::Order;
use crate::release::Stage;
use crate::rollout::{Begin, Failure, Kind, RollbackMode, RolloutCommand, State, What};
use crate::time::display_measured;

/// Hosts or slots that a sentence names; `-o json` has all that were written.
pub(super) const NAMED: usize = 8;

/// A decision in a sentence.
pub(super) fn text(what: &What) -> String {
    match what {
        What::Started { by, kind, from, left, to, supersedes, retry_quarantined } => {
            let asked = match (kind, from) {
                (Kind::Deploy, Some(from)) => format!("a deploy of {to}; it goes back to {from} if it fails"),
                (Kind::Deploy, None) => format!("a deploy of {to}; there is no good release to go back to"),
                (Kind::Rollback, _) => {
                    let left = left.map(|left| format!(" from {left}")).unwrap_or_default();
                    format!("going back{left} to {to}")
                }
                (Kind::Restart, _) => {
                    format!("new instances of {to}; a slot whose new instance fails keeps its old one")
                }
            };
            let over =
                supersedes.as_ref().map(|id| format!("; takes over from rollout {id}")).unwrap_or_default();
            let retry = if *retry_quarantined { "; content that failed before may start" } else { "" };
            format!("{by} asked for {asked}{over}{retry}")
        }
        What::Placed { slots, more, wanted, .. } => {
            let wanted = wanted.map_or_else(|| "one on every host".to_owned(), |n| format!("{n} wanted"));
            format!("placed {}: {wanted}", count(slots.len(), *more, "slot"))
        }
        What::Pulled { slots, more, pulled, of } => {
            let hosts: BTreeSet<_> = slots.iter().map(|place| place.host.to_string()).collect();
            let hosts = named(hosts.into_iter(), *more);
            format!("the image is on {hosts}: {pulled} of {of}")
        }
        What::Begun { slots, more, .. } => {
            format!("began {}: {}", count(slots.len(), *more, "slot"), began(slots, *more))
        }
        What::Available { slots, more, release, available, of } => {
            let took = |after: &Option<u64>| {
                after
                    .map(|ms| format!(" after {}", display_measured(Duration::from_millis(ms))))
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
        What::Weighed { release, weight, step: Some(step), of } => {
            format!("gave {release} {weight} of the traffic: step {step} of {of}")
        }
        What::Weighed { release, weight, step: None, .. } => {
            format!("took the traffic back: {release} has {weight} of it")
        }
        What::Judged { judged } => judged.words(),
        What::Switched { weight, took_ms } => {
            let after = display_measured(Duration::from_millis(*took_ms));
            format!("every ingress has taken the weights after {after}: the new release has {weight}")
        }
        What::HookBegun { hook, stage, place } => {
            let when = match stage {
                Stage::Before => "before the first step",
                Stage::After => "after the last step",
            };
            format!("hook {hook} begins on {}, {when}", place.host)
        }
        What::HookEnded { hook, place, outcome, took } if took.is_zero() => {
            format!("hook {hook} on {} {outcome}", place.host)
        }
        What::HookEnded { hook, place, outcome, took } => {
            format!("hook {hook} on {} {outcome} after {took}", place.host)
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
                RolloutCommand::Pause => "paused it",
                RolloutCommand::Resume => "let it go on",
                RolloutCommand::Abort => "aborted it",
                RolloutCommand::Approve => "approved the step",
                RolloutCommand::Promote => "let its traffic take the next step",
                RolloutCommand::PromoteFull => "let its traffic take every step",
            };
            format!("{by} {verb}: {} → {}", words(*from), words(*to))
        }
        What::Moved { from, to, reason, going_back, serves, .. } => {
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let how = match (going_back, to) {
                (Some(RollbackMode::Untouched), State::RollingBack) => " (no container was touched)",
                (Some(RollbackMode::OnlyFailed), State::RollingBack) => " (only what failed goes back)",
                _ => "",
            };
            let serves = serves.map(|at| format!("; the service is at {at}")).unwrap_or_default();
            format!("{} → {}{reason}{how}{serves}", words(*from), words(*to))
        }
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
        let gpus = if begin.gpus.is_empty() {
            String::new()
        } else {
            format!(", with {}", begin.gpus.join(" and "))
        };
        format!("{}{gpus}{order}", place(&begin.slot, &begin.host))
    };
    named(slots.iter().map(one), more)
}

fn failed(failure: &Failure) -> String {
    let at = place(&failure.slot, &failure.host);
    match (&failure.evidence, &failure.refusal) {
        (Some(evidence), _) => format!("{at} failed: {}", evidence.words()),
        (None, Some(refusal)) => format!("{at} was refused by the host: {refusal}"),
        (None, None) => format!("{at} failed"),
    }
}

fn words(state: State) -> String {
    state.as_str().replace('_', " ")
}

pub(super) fn count(written: usize, more: u32, what: &str) -> String {
    let n = u64::try_from(written).unwrap_or(u64::MAX).saturating_add(u64::from(more));
    if n == 1 { format!("one {what}") } else { format!("{n} {what}s") }
}

pub(super) fn place(slot: &SlotId, host: &HostId) -> String {
    format!("slot {} on {host}", slot.index)
}

fn named(list: impl Iterator<Item = String>, more: u32) -> String {
    let mut list: Vec<String> = list.collect();
    let hidden = u32::try_from(list.len().saturating_sub(NAMED)).unwrap_or(u32::MAX).saturating_add(more);
    list.truncate(NAMED);
    let text = list.join(", ");
    if hidden == 0 { text } else { format!("{text} and {hidden} more") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Counter;

    #[test]
    fn a_start_names_a_fallback_only_where_there_is_one() {
        let said = |kind, from: Option<u64>, left: Option<u64>| {
            text(&What::Started {
                by: "operator/ann".to_owned(),
                kind,
                from: from.map(Counter),
                left: left.map(Counter),
                to: Counter(2),
                supersedes: None,
                retry_quarantined: false,
            })
        };
        #[rustfmt::skip]
        let table = [
            (Kind::Deploy,   Some(1), Some(1), "a deploy of r2; it goes back to r1 if it fails"),
            (Kind::Deploy,   None,    None,    "a deploy of r2; there is no good release to go back to"),
            (Kind::Rollback, Some(2), Some(4), "going back from r4 to r2"),
            (Kind::Rollback, Some(3), None,    "going back to r2"),
            (Kind::Restart,  Some(2), Some(2), "new instances of r2; a slot whose new instance fails keeps its old one"),
        ];
        for (kind, from, left, want) in table {
            assert_eq!(said(kind, from, left), format!("operator/ann asked for {want}"));
        }
    }
}
