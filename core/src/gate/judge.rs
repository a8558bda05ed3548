//! From facts to a verdict. The ceiling comes first; the old release is asked only for what is below it.

use std::time::Duration;

use super::model::{Asked, Facts, Judged, Ruling, Test, Verdict};
use super::stats::{alpha, at_random};
use super::words::{difference, ms, percent, share, spaced, span};
use super::{Answer, AnswerFault, Number, Said, read_json, read_prometheus};
use crate::release::GateAsk;
use crate::traffic::{Tally, Weight};
use crate::units::Span;

/// An error rate, in thousandths, that stops a release at once.
const CLEAR: u16 = 250;
/// Requests that show it.
const CLEAR_REQUESTS: u64 = 20;
/// The share of the ingresses that has to report, in hundredths.
const REPORTING: u64 = 90;
/// The new error rate is worse only if it is so many times the old one,
const ERRORS_RATIO: f64 = 1.5;
/// and so many points of a percentage more.
const ERRORS_MORE: f64 = 0.5;
/// The new latency is worse only if it is so many times the old one,
const LATENCY_RATIO: f64 = 1.2;
/// and so many milliseconds more.
const LATENCY_MORE: f64 = 20.0;

/// Judges the facts of a window. The same facts always get the same verdict.
pub fn judge(asked: &Asked, facts: &Facts) -> Ruling {
    match (&asked.question.ask, facts) {
        (GateAsk::ErrorRate { max, min_requests, .. }, Facts::Requests { new, old, .. }) => {
            errors(asked, facts, (*max, *min_requests), new, old.as_deref())
        }
        (GateAsk::P95 { max, min_requests, .. }, Facts::Requests { new, old, .. }) => {
            latency(asked, facts, (*max, *min_requests), new, old.as_deref())
        }
        (GateAsk::Crashes { max }, Facts::Exits { exits, instances }) => {
            let times = if *exits == 1 { "exit" } else { "exits" };
            let why =
                format!("{exits} {times} of its {instances} instances since the step began, at most {max}");
            match (exits > max, *instances) {
                (true, _) => fail(why),
                (false, 0) => inconclusive("none of its instances was heard of"),
                (false, _) => pass(why),
            }
        }
        (GateAsk::Memory { max }, Facts::Used { most, measured, instances }) => {
            used("memory", *max, *most, (*measured, *instances))
        }
        (GateAsk::Cpu { max }, Facts::Used { most, measured, instances }) => {
            used("processor", *max, *most, (*measured, *instances))
        }
        (GateAsk::GpuMemory { max }, Facts::Used { most, measured, instances }) => {
            used("GPU memory", *max, *most, (*measured, *instances))
        }
        (GateAsk::GpuErrors { max }, Facts::GpuErrors { errors, measured, instances, faults }) => {
            let last = faults.first().map(|fault| format!(" ({fault})")).unwrap_or_default();
            gpu_errors((*errors, *max), (*measured, *instances), &last)
        }
        (GateAsk::Prometheus { min, max, .. }, Facts::Answer(answer)) => answered(answer, *min, *max),
        (GateAsk::Http { min, max, .. }, Facts::Answer(answer)) => answered(answer, *min, *max),
        (ask, _) => inconclusive(&format!("the facts are none that answer `{}`", ask.as_str())),
    }
}

impl Judged {
    /// Judges a window.
    pub fn new(asked: Asked, facts: Facts) -> Self {
        let Ruling { verdict, why, test } = judge(&asked, &facts);
        Self { asked, facts, test, verdict, why }
    }
}

/// Judges a window again, from what is stored of it alone: a provider's answer is read again too, if it was kept as a whole.
pub fn recompute(judged: &Judged) -> Ruling {
    let Facts::Answer(answer) = &judged.facts else { return judge(&judged.asked, &judged.facts) };
    let mut answer = answer.clone();
    // Of a fault of the connection there is nothing to read.
    if !answer.raw.is_empty() && !answer.cut && !is_of_connection(&answer.said) {
        answer.said = match &judged.asked.question.ask {
            GateAsk::Prometheus { .. } => {
                read_prometheus(answer.raw.as_bytes(), judged.asked.question.window, answer.at)
            }
            GateAsk::Http { pointer, .. } => read_json(answer.raw.as_bytes(), pointer.as_deref()),
            GateAsk::ErrorRate { .. }
            | GateAsk::P95 { .. }
            | GateAsk::Crashes { .. }
            | GateAsk::Memory { .. }
            | GateAsk::Cpu { .. }
            | GateAsk::GpuMemory { .. }
            | GateAsk::GpuErrors { .. } => answer.said,
        };
    }
    judge(&judged.asked, &Facts::Answer(answer))
}

fn is_of_connection(said: &Said) -> bool {
    use AnswerFault as F;
    let Said::Fault { kind, .. } = said else { return false };
    matches!(
        kind,
        F::NotAllowed
            | F::NoConnection
            | F::TimedOut
            | F::TooLarge
            | F::Status
            | F::QueryFailed
            | F::NotAsked
    )
}

const fn ruling(verdict: Verdict, why: String) -> Ruling {
    Ruling { verdict, why, test: None }
}

const fn pass(why: String) -> Ruling {
    ruling(Verdict::Pass, why)
}

const fn fail(why: String) -> Ruling {
    ruling(Verdict::Fail, why)
}

fn inconclusive(why: &str) -> Ruling {
    ruling(Verdict::Inconclusive, why.to_owned())
}

/// Too few ingresses report, if so.
fn is_blind(facts: &Facts, latency: bool) -> Option<Ruling> {
    let (reporting, ingresses) = facts.whole_reports(latency);
    if ingresses == 0 {
        return Some(inconclusive("no ingress counts the requests"));
    }
    let enough = u64::from(reporting) * 100 >= u64::from(ingresses) * REPORTING;
    (!enough).then(|| {
        inconclusive(&format!("{reporting} of {ingresses} ingresses reported all of it, 90 % are wanted"))
    })
}

fn errors(
    asked: &Asked,
    facts: &Facts,
    (max, least): (Weight, u32),
    new: &Tally,
    old: Option<&Tally>,
) -> Ruling {
    let (failed, requests, time) = (new.errors(), new.answered(), span(asked));
    let why = format!(
        "error rate {} ({failed} of {requests} requests in {time}), at most {}",
        share(failed, requests),
        spaced(max.permille())
    );
    let clearly = requests >= CLEAR_REQUESTS && new.fails_more_than(CLEAR.max(max.permille()));
    if asked.at_once {
        let why =
            format!("{why}; more than {} of at least 20 stop it at once", spaced(CLEAR.max(max.permille())));
        return if clearly { fail(why) } else { inconclusive("no error rate that stops it at once") };
    }
    if let Some(blind) = is_blind(facts, false) {
        return blind;
    }
    if requests < u64::from(least) && !clearly {
        return inconclusive(&format!("{requests} requests in {time} ({failed} failed), {least} are wanted"));
    }
    if new.fails_more_than(max.permille()) {
        return fail(why);
    }
    let Some(old) = old else { return pass(why) };
    let (old_failed, old_requests) = (old.errors(), old.answered());
    if old_requests < u64::from(least) {
        let beside = format!("the old release got {old_requests} requests, too few to compare with");
        return pass(format!("{why}; {beside}"));
    }
    let old_rate =
        format!("{} of the old release ({old_failed} of {old_requests})", share(old_failed, old_requests));
    if old.fails_more_than(max.permille()) {
        return pass(format!("{why}; no comparison: {old_rate} is above the limit itself"));
    }
    let p_value = at_random((failed, requests), (old_failed, old_requests));
    let (new_rate, old_points) = (percent(failed, requests), percent(old_failed, old_requests));
    let floors = (ERRORS_RATIO, ERRORS_MORE);
    compared(asked, p_value, (new_rate, old_points), floors, |test, words| {
        let than = format!("{} than {old_rate}", difference(test.more, 2, "points"));
        format!("{why}; {than}, {words}")
    })
}

fn latency(
    asked: &Asked,
    facts: &Facts,
    (max, least): (Span, u32),
    new: &Tally,
    old: Option<&Tally>,
) -> Ruling {
    if let Some(blind) = is_blind(facts, true) {
        return blind;
    }
    let time = span(asked);
    let samples = new.p95().map_or(0, |p95| p95.samples);
    let Some(p95) = new.p95().filter(|p95| p95.samples >= u64::from(least)) else {
        return inconclusive(&format!("the latency of {samples} requests in {time}, {least} are wanted"));
    };
    let why = format!(
        "p95 of the latency from {} to {} ({samples} requests in {time}), at most {max}",
        ms(p95.at_least),
        ms(p95.at_most)
    );
    if p95.at_least >= max.duration() {
        return fail(why);
    }
    let Some(old) = old else { return pass(why) };
    let Some(was) = old.p95().filter(|was| was.samples >= u64::from(least)) else {
        return pass(format!("{why}; the old release got too few requests to compare with"));
    };
    let of_old = format!("that of the old release, at most {} ({} requests)", ms(was.at_most), was.samples);
    if was.at_least >= max.duration() {
        return pass(format!("{why}; no comparison: {of_old}, is above the limit itself"));
    }
    // The share of requests that are slower than the old release's p95 is compared as errors are.
    let p_value = at_random(new.slower_than(was.at_most), old.slower_than(was.at_most));
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let figures = (millis(p95.at_least), millis(was.at_most));
    compared(asked, p_value, figures, (LATENCY_RATIO, LATENCY_MORE), |test, words| {
        format!("{why}; {} than {of_old}, {words}", difference(test.more, 0, "ms"))
    })
}

/// Worse than the old release, or not: only if it is both unlikely by chance and large.
fn compared(
    asked: &Asked,
    p_value: f64,
    (new, old): (f64, f64),
    (ratio_floor, more_floor): (f64, f64),
    words: impl FnOnce(&Test, String) -> String,
) -> Ruling {
    let alpha = alpha(asked.look, asked.looks);
    let more = new - old;
    // 1e-9: a floor is reached although its number has no binary fraction.
    let is_large = new >= old * ratio_floor - 1e-9 && more >= more_floor - 1e-9;
    let test = Test {
        p_value: Number::rounded(p_value),
        alpha: Number::rounded(alpha),
        ratio: (old > 0.0).then(|| Number::rounded(new / old)),
        more: Number::rounded(more),
        ratio_floor: Number::rounded(ratio_floor),
        more_floor: Number::rounded(more_floor),
        is_worse: is_large && p_value < alpha,
    };
    let chance = format!("p = {} against {}", fixed_p(p_value), fixed_p(alpha));
    let (verdict, said) = match (test.is_worse, is_large) {
        (true, _) => (Verdict::Fail, format!("worse: {chance}")),
        (false, true) => (Verdict::Pass, format!("which may be by chance: {chance}")),
        (false, false) => (Verdict::Pass, format!("not worse by much: {chance}")),
    };
    let why = words(&test, said);
    Ruling { verdict, why, test: Some(test) }
}

fn fixed_p(p: f64) -> String {
    if p < 0.001 { format!("{p:.1e}") } else { format!("{p:.4}") }
}

fn gpu_errors((errors, max): (u32, u32), (measured, instances): (u32, u32), last: &str) -> Ruling {
    let times = if errors == 1 { "error" } else { "errors" };
    let why = format!(
        "{errors} {times} of the GPUs of its {instances} instances since the step began{last}, at most {max}"
    );
    if errors > max {
        return fail(why);
    }
    match (measured, instances) {
        (_, 0) => inconclusive("none of its instances was heard of"),
        (measured, instances) if measured < instances => {
            inconclusive(&format!("{why}: the GPUs of {} of them cannot be asked", instances - measured))
        }
        _ => pass(why),
    }
}

fn used(what: &str, max: Weight, most: Option<u32>, (measured, instances): (u32, u32)) -> Ruling {
    let Some(most) = most.filter(|_| measured > 0) else {
        return inconclusive(&format!("the {what} of none of its {instances} instances was measured"));
    };
    let permille = |value: u32| spaced(u16::try_from(value).unwrap_or(u16::MAX));
    let why = format!(
        "{what} at {} of its limit at most ({measured} of {instances} instances measured), at most {}",
        permille(most),
        spaced(max.permille())
    );
    if most > u32::from(max.permille()) {
        return fail(why);
    }
    if measured < instances {
        return inconclusive(&format!("{why}: not all are known"));
    }
    pass(why)
}

fn answered(answer: &Answer, min: Option<Number>, max: Option<Number>) -> Ruling {
    match &answer.said {
        Said::Number(number) => {
            let mut limits = Vec::new();
            limits.extend(min.map(|min| format!("at least {min}")));
            limits.extend(max.map(|max| format!("at most {max}")));
            let why = format!("the answer is {number}, {}", limits.join(" and "));
            let within = min.is_none_or(|min| *number >= min) && max.is_none_or(|max| *number <= max);
            if within { pass(why) } else { fail(why) }
        }
        Said::Passes(true) => pass("the answer is pass".to_owned()),
        Said::Passes(false) => fail("the answer is fail".to_owned()),
        Said::Fault { kind, detail } if detail.is_empty() => {
            ruling(Verdict::ProviderError, kind.words().to_owned())
        }
        Said::Fault { kind, detail } => ruling(Verdict::ProviderError, format!("{}: {detail}", kind.words())),
    }
}
