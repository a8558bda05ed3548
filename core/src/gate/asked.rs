//! The questions of a rollout: which gates a step asks, how often, and what is sent to providers.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::id::{Counter, RolloutId, ServiceId};
use crate::release::{Gate, Spec};
use crate::time::Timestamp;
use crate::traffic::Weight;
use crate::units::Span;

/// Longest answer that is read.
pub const MAX_ANSWER: usize = 64 << 10;
/// Comparisons that may be planned.
const MAX_LOOKS: u64 = 100_000;

/// The gates that step `step` asks, by name: those that it names, and those that are asked from an earlier step on.
pub fn asked_in<'a>(spec: &'a Spec, step: u32, named: &[String]) -> BTreeMap<&'a str, &'a Gate> {
    // A step without weight has no requests that could be counted.
    let of = spec.strategy.canary().get((step as usize).wrapping_sub(1));
    let is_closed = of.is_some_and(|of| of.weight == Weight::NONE);
    let is_asked = |name: &str, gate: &Gate| {
        let from_before = gate.from_step.is_some_and(|from| from <= step);
        named.iter().any(|known| known == name) || (from_before && !(is_closed && gate.ask.counts_requests()))
    };
    let asked = spec.gates.iter().filter(|(name, gate)| is_asked(name, gate));
    asked.map(|(name, gate)| (name.as_str(), gate)).collect()
}

/// Windows of a gate in all steps that ask it, as far as they can be planned: as many as have to pass, or as fit in the hold.
pub fn planned(spec: &Spec, name: &str, gate: &Gate) -> u32 {
    let strategy = &spec.strategy;
    let window = gate.window.duration().as_millis().max(1);
    let steps = (1..).map_while(|step| Some((step, strategy.judged(step)?)));
    let windows = steps.filter(|(step, named)| asked_in(spec, *step, named).contains_key(name));
    let of = |hold: Option<Span>| hold.map_or(0, |hold| hold.duration().as_millis().div_ceil(window));
    let sum = windows
        .map(|(step, _)| u64::try_from(of(strategy.hold(step))).unwrap_or(MAX_LOOKS).max(gate.passes.into()));
    let sum = sum.fold(0, u64::saturating_add).clamp(u64::from(gate.passes.max(1)), MAX_LOOKS);
    u32::try_from(sum).unwrap_or(u32::MAX)
}

/// Names one question: an answer belongs to exactly one window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionKey {
    /// The rollout.
    pub rollout: RolloutId,
    /// Name of the gate.
    pub gate: String,
    /// End of the window.
    pub until: Timestamp,
}

/// The words that placeholders stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substitutes {
    /// `{{release}}`: the counter of the release on its way.
    pub release: Counter,
    /// `{{digest}}`: the same as content.
    pub digest: Digest,
    /// `{{service}}` and `{{environment}}`.
    pub service: ServiceId,
    /// `{{window}}`.
    pub window: Span,
}

impl Substitutes {
    fn fill(&self, text: &str, escape: impl Fn(&str) -> String) -> String {
        let words = [
            ("{{release}}", self.release.to_string()),
            ("{{digest}}", self.digest.to_string()),
            ("{{service}}", self.service.name.to_string()),
            ("{{environment}}", self.service.environment.to_string()),
            ("{{window}}", self.window.to_string()),
        ];
        words.iter().fold(text.to_owned(), |text, (name, word)| text.replace(name, &escape(word)))
    }

    /// A query of Prometheus: words are escaped as in a quoted string of it.
    pub fn query(&self, query: &str) -> String {
        self.fill(query, |word| word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    }

    /// An address: all but plain characters are written as bytes.
    pub fn url(&self, url: &str) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        let written = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
        self.fill(url, |word| word.bytes().map(written).collect())
    }
}
