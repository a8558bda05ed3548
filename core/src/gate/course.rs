//! The course of the gates in a step: the sum of its windows, gate by gate. Stored with the rollout.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::{Judged, Verdict};
use crate::release::Gate;
use crate::time::Timestamp;

/// Windows that are remembered, to see how many of the last ones failed.
const RECENT: usize = 10;
/// Inconclusive windows in a row that a step goes on after.
const EXTENDS: u32 = 3;
/// Provider errors in a row that pause a step.
const ERRORS: u32 = 4;
/// Provider errors that last this long page a person.
const ERRORS_PAGE: Duration = Duration::from_secs(600);
/// The time after its timeout for which an answer is still waited for: the question may stand in a queue.
const QUEUE: Duration = Duration::from_secs(15);

/// The gates of the step that a rollout is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// The step, from 1 on.
    pub step: u32,
    /// Since when it is watched: its windows begin here.
    pub since: Timestamp,
    /// Restarts of the release's instances before that, by instance.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts_before: BTreeMap<String, u32>,
    /// Errors of their GPUs before that, by instance.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gpu_errors_before: BTreeMap<String, u32>,
    /// By name.
    #[serde(default)]
    pub gates: BTreeMap<String, GateCourse>,
}

/// One gate in the step that a rollout is at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateCourse {
    /// Windows that were judged in the whole rollout.
    pub looks: u32,
    /// End of the newest window of the step.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Windows of the step that passed.
    #[serde(default)]
    pub passes: u32,
    /// Windows that failed, and none passed since.
    #[serde(default)]
    pub fails: u32,
    /// Whether each of the last ten that passed or failed has failed, newest last.
    #[serde(default)]
    pub recent: Vec<bool>,
    /// Inconclusive windows in a row.
    #[serde(default)]
    pub inconclusive: u32,
    /// Provider errors in a row.
    #[serde(default)]
    pub errors: u32,
    /// Since when there have been nothing but provider errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors_since: Option<Timestamp>,
    /// Whether something was clear enough to stop the release at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// The newest verdict, of this step or the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
}

/// The newest verdict of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Newest {
    /// The step that it was made in.
    pub step: u32,
    /// Beginning of the window.
    pub from: Timestamp,
    /// End of the window.
    pub until: Timestamp,
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
}

/// The state of a gate in its step. In the order of precedence, the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateState {
    /// As many windows as it wants have passed, and the newest did.
    Passed,
    /// More windows are wanted.
    Going,
    /// Too many windows in a row told nothing.
    Unclear,
    /// The provider could not be asked too often in a row.
    Unasked,
    /// Too many windows have failed.
    Failed,
}

/// The end that a gate brings to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateEnd {
    /// It failed.
    Failed,
    /// Too many windows in a row told nothing.
    Inconclusive,
    /// Its provider could not be asked.
    ProviderError,
}

impl GateEnd {
    /// In a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Inconclusive => "is inconclusive: too many windows in a row tell nothing",
            Self::ProviderError => "could not be asked",
        }
    }
}

impl Course {
    /// The course of a step that begins. How often each gate was judged, and its newest verdict, are kept.
    #[must_use]
    pub fn begin(
        before: Option<&Self>,
        (step, since): (u32, Timestamp),
        (restarts_before, gpu_errors_before): (BTreeMap<String, u32>, BTreeMap<String, u32>),
    ) -> Self {
        // The same step watched anew, after a start of the coordinator: exits and errors count from the step's beginning.
        let same = before.filter(|before| before.step == step);
        let (restarts_before, gpu_errors_before) = match same {
            Some(before) => (before.restarts_before.clone(), before.gpu_errors_before.clone()),
            None => (restarts_before, gpu_errors_before),
        };
        let gates = before.into_iter().flat_map(|before| &before.gates);
        let gates = gates.map(|(name, gate)| (name.clone(), gate.anew())).collect();
        Self { step, since, restarts_before, gpu_errors_before, gates }
    }

    /// The next watch begins from nothing, of this step too: a person has seen the windows and exits so far.
    pub fn forget(&mut self) {
        self.step = 0;
        self.gates.values_mut().for_each(|gate| *gate = gate.anew());
    }

    /// Whether it is that of the step, watched since then.
    pub fn is_of(&self, (step, since): (u32, Timestamp)) -> bool {
        self.step == step && self.since == since
    }

    /// The window of a gate that is judged next, as of `now`. Windows that ended long ago are left out: nobody looked.
    pub fn next(
        course: Option<&Self>,
        of: (u32, Timestamp),
        name: &str,
        gate: &Gate,
        now: Timestamp,
    ) -> (Timestamp, Timestamp) {
        let known = course.filter(|course| course.is_of(of)).and_then(|course| course.gates.get(name));
        let window = gate.window.duration().max(Duration::from_secs(1));
        let mut from = known.and_then(|known| known.until).unwrap_or(of.1);
        let patience = gate.ask.timeout().map_or(Duration::ZERO, |timeout| timeout.duration() + QUEUE * 2);
        let late = now.since(from + patience);
        let missed = late.as_millis() / window.as_millis();
        if missed >= 2 {
            from = from + window * u32::try_from(missed - 1).unwrap_or(u32::MAX);
        }
        (from, from + window)
    }

    /// When an answer about a window that ends at `until` is waited for no longer.
    pub fn answer_until(gate: &Gate, until: Timestamp) -> Timestamp {
        until + gate.ask.timeout().map_or(Duration::ZERO, |timeout| timeout.duration()) + QUEUE
    }
}

impl GateCourse {
    /// The gate in a step that begins: how often it was judged, and its newest verdict.
    fn anew(&self) -> Self {
        Self { looks: self.looks, newest: self.newest.clone(), ..Self::default() }
    }

    /// Adds a window.
    pub fn add(&mut self, judged: &Judged) {
        let Judged { asked, verdict, why, .. } = judged;
        self.looks = self.looks.saturating_add(1);
        self.until = Some(asked.until);
        self.stopped |= asked.at_once && *verdict == Verdict::Fail;
        let (inconclusive, errors) = (self.inconclusive, self.errors);
        (self.inconclusive, self.errors) = (0, 0);
        match verdict {
            Verdict::Pass => (self.passes, self.fails) = (self.passes.saturating_add(1), 0),
            Verdict::Fail => self.fails = self.fails.saturating_add(1),
            Verdict::Inconclusive => self.inconclusive = inconclusive.saturating_add(1),
            Verdict::ProviderError => self.errors = errors.saturating_add(1),
        }
        if self.errors == 0 {
            self.errors_since = None;
        } else {
            self.errors_since.get_or_insert(asked.until);
        }
        if matches!(verdict, Verdict::Pass | Verdict::Fail) {
            self.recent.push(*verdict == Verdict::Fail);
            let old = self.recent.len().saturating_sub(RECENT);
            self.recent.drain(..old);
        }
        let (verdict, why) = (*verdict, why.clone());
        self.newest = Some(Newest { step: asked.step, from: asked.from, until: asked.until, verdict, why });
    }

    /// The state of the gate.
    pub fn standing(&self, gate: &Gate) -> GateState {
        let failed = self.recent.iter().filter(|failed| **failed).count();
        if self.stopped || self.fails >= gate.fails || failed > gate.fails as usize {
            return GateState::Failed;
        }
        if self.errors >= ERRORS {
            return GateState::Unasked;
        }
        if self.inconclusive > EXTENDS {
            return GateState::Unclear;
        }
        let holds = self.fails > 0 || self.errors > 0 || self.inconclusive > 0;
        if self.passes >= gate.passes && !holds { GateState::Passed } else { GateState::Going }
    }

    /// Whether the provider could not be asked for so long that a person has to know, although the rollout still waits.
    pub fn pages(&self, now: Timestamp) -> bool {
        self.errors_since.is_some_and(|since| now.since(since) >= ERRORS_PAGE)
    }
}
