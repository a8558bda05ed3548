//! Figures in words.

use std::time::Duration;

use super::model::{Asked, Facts, Judged};
use super::stats::float;
use super::{Answer, Number, Said};
use crate::time::display_duration;
use crate::traffic::Tally;

/// Thousandths as a percentage.
pub(super) fn spaced(permille: u16) -> String {
    match (permille / 10, permille % 10) {
        (whole, 0) => format!("{whole} %"),
        (whole, tenth) => format!("{whole}.{tenth} %"),
    }
}

/// A part of a whole in points of a percentage; 0 of nothing.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(part) * 100.0 / float(whole) }
}

/// `0.42 %`.
pub(super) fn share(part: u64, whole: u64) -> String {
    format!("{:.2} %", percent(part, whole))
}

/// A number with so many digits after the point.
pub(super) fn fixed(number: Number, digits: usize) -> String {
    format!("{:.digits$}", number.get())
}

/// How far a number is above another one: `0.25 points more`, `3 ms less`.
pub(super) fn difference(more: Number, digits: usize, unit: &str) -> String {
    let word = if more.get() < 0.0 { "less" } else { "more" };
    format!("{:.digits$} {unit} {word}", more.get().abs())
}

/// `312 ms`, `1.06 ms`.
pub(super) fn ms(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    let digits = if duration < Duration::from_millis(10) { 2 } else { 0 };
    format!("{millis:.digits$} ms")
}

/// The length of the window, to the second.
pub(super) fn span(asked: &Asked) -> String {
    let span = Duration::from_secs(asked.until.since(asked.from).as_secs());
    if span < Duration::from_secs(60) { format!("{} s", span.as_secs()) } else { display_duration(span) }
}

impl Judged {
    /// The verdict in one sentence.
    pub fn words(&self) -> String {
        let Asked { gate, step, question, .. } = &self.asked;
        let dry = if question.dry_run { " (dry run: decides nothing)" } else { "" };
        let verdict = self.verdict.as_str().replace('_', " ");
        format!("gate {gate} in step {step}: {verdict}{dry}: {}", self.why)
    }

    /// All that it was made from, a line each.
    pub fn lines(&self) -> Vec<String> {
        let Asked { question, from, until, at_once, look, looks, release, against, .. } = &self.asked;
        let kind = if *at_once { "the step so far" } else { "the window" };
        let mut lines = vec![format!("{} over {kind} from {from} until {until}", question.ask.as_str())];
        match &self.facts {
            Facts::Requests { new, old, reporting, ingresses, faults } => {
                lines.push(of_tally(&format!("release {release}"), new));
                if let (Some(old), Some(against)) = (old, against) {
                    lines.push(of_tally(&format!("release {against}, in the same window"), old));
                }
                lines.push(format!("{reporting} of {ingresses} ingresses reported"));
                lines.extend(faults.iter().map(|fault| format!("{}: {fault}", fault.at)));
            }
            Facts::GpuErrors { measured, instances, faults, .. } => {
                lines.push(format!("the GPUs of {measured} of {instances} instances can be asked"));
                lines.extend(faults.iter().map(ToString::to_string));
            }
            Facts::Exits { .. } | Facts::Used { .. } => {}
            Facts::Answer(answer) => lines.extend(of_answer(answer)),
        }
        if let Some(test) = &self.test {
            let ratio =
                test.ratio.map_or_else(|| "none, the old one is 0".to_owned(), |ratio| fixed(ratio, 2));
            lines.push(format!(
                "comparison {look} of {looks} planned: p {} (worse below {}), ratio {ratio} (worse from {}), more by {} \
                 (worse from {})",
                test.p_value,
                test.alpha,
                test.ratio_floor,
                fixed(test.more, 2),
                test.more_floor
            ));
        }
        lines
    }
}

fn of_tally(whose: &str, tally: &Tally) -> String {
    let Tally { client_gone, broken, grpc_failed, .. } = tally;
    let grpc = if *grpc_failed == 0 { String::new() } else { format!(", {grpc_failed} failed gRPC calls") };
    let mut line = format!(
        "{whose}: {} requests, {} failed, {} of them with status 5xx{grpc}, {broken} broken off; not counted: \
         {client_gone} whose client left",
        tally.answered(),
        tally.errors(),
        tally.server_errors(),
    );
    if let Some(p95) = tally.p95() {
        line.push_str(&format!("; p95 from {} to {}", ms(p95.at_least), ms(p95.at_most)));
    }
    line
}

fn of_answer(answer: &Answer) -> Vec<String> {
    let Answer { sent, at, took_ms, said, raw, cut } = answer;
    let mut lines = Vec::new();
    if !sent.is_empty() {
        lines.push(format!("asked at {at}, answered after {took_ms} ms: {}", sent.escape_debug()));
    }
    if let Said::Fault { kind, detail } = said {
        lines.push(format!("{}{}{detail}", kind.words(), if detail.is_empty() { "" } else { ": " }));
    }
    if !raw.is_empty() {
        lines.push(format!("the answer{}: {}", if *cut { ", cut" } else { "" }, raw.escape_debug()));
    }
    lines
}
