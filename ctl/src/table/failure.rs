//! The evidence that a failed deploy prints unasked.

use windlass_core::observation::{Evidence, FailureReason};
use windlass_core::view::{FailureView, RolloutView};

use super::services::serving;
use super::{hint, printable};
use crate::printer::Colour;

/// Lines of the log that are shown.
const LOG_LINES: usize = 20;

/// Every failure with its evidence, what the fleet serves now, and where the details are.
pub(crate) fn failures(rollout: &RolloutView, colour: Colour) -> String {
    let mut text = String::new();
    for failure in &rollout.failures {
        text.push_str(&one(failure, colour));
        text.push('\n');
    }
    let service = format!("{}/{}", rollout.environment, rollout.service);
    text.push_str(&format!("now serving: {}\n", serving(&rollout.serving)));
    text.push_str(&format!("details: windlass rollout show {}\n", rollout.rollout));
    let read = rollout.failures.iter().filter_map(|failure| failure.evidence.as_ref());
    let instance =
        read.filter(|evidence| !evidence.log_unread).find_map(|evidence| evidence.instance.clone());
    if let Some(instance) = instance {
        text.push_str(&format!("         windlass logs {service} --instance {instance}\n"));
    }
    text
}

fn one(failure: &FailureView, colour: Colour) -> String {
    let place = format!("host {}, slot {}", failure.host, failure.slot.index);
    let mut text = format!("{} {place}: {}\n", colour.paint(31, "failed:"), failure.message);
    if let Some(refusal) = &failure.refused {
        text.push_str(&format!("  refused as    {refusal}\n"));
    }
    if let Some(evidence) = &failure.evidence {
        text.push_str(&seen(evidence));
    }
    if let Some(hint) = hint::of(failure) {
        text.push_str(&format!("  hint          {hint}\n"));
    }
    text
}

fn seen(evidence: &Evidence) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: String| text.push_str(&format!("  {name:<13} {value}\n"));
    field("release", evidence.counter.to_string());
    if let Some(instance) = &evidence.instance {
        field("instance", instance.clone());
    }
    field("phase", evidence.clock.phase().to_owned());
    if let Some(code) = evidence.exit_code {
        field("exit code", code.to_string());
    }
    let never_ran = evidence.instance.is_none() && evidence.log.is_empty();
    if !never_ran {
        field("out of memory", if evidence.oom_killed { "yes" } else { "no" }.to_owned());
    }
    if let FailureReason::SmokeFailed { test } = &evidence.reason {
        field("answer", printable(&test.answer()));
    }
    if let Some(why) = &evidence.not_ready {
        field("not ready", printable(&why.to_string()));
    }
    if evidence.restarts > 0 {
        field("restarts", evidence.restarts.to_string());
    }
    field("at", evidence.at.to_string());
    if !evidence.probes.is_empty() {
        text.push_str("  probes\n");
        for probe in &evidence.probes {
            let verdict = if probe.ok { "ok" } else { "no" };
            text.push_str(&format!("    {}  {:<9}  {verdict}  {}\n", probe.at, probe.probe, probe.detail));
        }
    }
    if never_ran {
        return text;
    }
    if evidence.log_unread {
        text.push_str("  log           not read: the coordinator's deadline passed before the agent's\n");
    } else if evidence.log.is_empty() {
        text.push_str("  log           nothing was written\n");
    } else {
        text.push_str("  log\n");
        for line in evidence.log.iter().skip(evidence.log.len().saturating_sub(LOG_LINES)) {
            text.push_str(&format!("    {}\n", printable(line)));
        }
    }
    text
}
