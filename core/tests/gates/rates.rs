//! Rates of wrong gates: canaries with true rates that are known, and random requests.

use serde_json::{Value, json};
use windlass_core::gate::{Asked, Facts, GateCourse, GateState, Judged};
use windlass_core::release::Gate;
use windlass_core::traffic::Tally;
use windlass_core::{Counter, Timestamp};

/// Shares of the new release in the steps that ask gates, in hundredths.
const STEPS: [u64; 5] = [1, 5, 10, 25, 50];
/// Most windows of a step: none takes so many.
const MOST: u32 = 200;
/// Quantiles that stand for a distribution of latencies.
const QUANTILES: usize = 4096;

/// The number of canaries by their end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    /// All steps have passed.
    pub(crate) promoted: u32,
    /// A step has failed.
    pub(crate) aborted: u32,
    /// Nothing was known.
    pub(crate) paused: u32,
}

/// One kind of canary.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// Its gate.
    pub(crate) gate: Gate,
    /// Requests of the new release in a window.
    pub(crate) requests: u64,
    /// The true figures.
    pub(crate) truth: Truth,
}

/// The true figures of a new and an old release.
#[derive(Debug, Clone)]
pub(crate) enum Truth {
    /// Shares of failed requests.
    Errors(f64, f64),
    /// Latencies: the quantiles of both.
    Latency(Vec<u16>, Vec<u16>),
}

/// A generator that is the same everywhere (SplitMix64).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// One that begins at `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1, neither of them.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// The number of `count` requests that fail: the gaps between failures are drawn.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "gaps are small or infinite")]
    fn failures(&mut self, count: u64, rate: f64) -> u64 {
        if rate <= 0.0 {
            return 0;
        }
        let (mut at, mut failed) = (0_u64, 0);
        loop {
            let gap = (self.unit().ln() / (1.0 - rate).ln()).floor();
            at = at.saturating_add(gap as u64).saturating_add(1);
            if at > count {
                return failed;
            }
            failed += 1;
        }
    }

    fn latencies(&mut self, count: u64, quantiles: &[u16]) -> Tally {
        let mut counts = vec![0_u32; 257];
        for _ in 0..count {
            let at = usize::try_from(self.next() % QUANTILES as u64).unwrap_or(0);
            counts[usize::from(quantiles[at])] += 1;
        }
        let to_head = (0_u16..).zip(counts).filter(|(_, count)| *count > 0).collect();
        Tally { requests: count, to_head, ..Tally::default() }
    }
}

/// The quantiles of latencies that are spread log-normally: `median` in milliseconds, and the spread of the logarithm.
pub(crate) fn log_normal(median: f64, spread: f64) -> Vec<u16> {
    // Drawn once, and sorted: every sixteenth is a quantile.
    let mut dice = Dice::new(7);
    let mut drawn: Vec<f64> = (0..QUANTILES * 16)
        .map(|_| {
            let (radius, angle) = ((-2.0 * dice.unit().ln()).sqrt(), std::f64::consts::TAU * dice.unit());
            median * (spread * radius * angle.cos()).exp()
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    drawn.iter().skip(8).step_by(16).map(|millis| bucket(*millis)).collect()
}

/// The bucket of an ingress: 16 to each doubling, from 1 ms.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
fn bucket(millis: f64) -> u16 {
    let millis = millis.clamp(1.0, 65_000.0);
    let octave = millis.log2().floor();
    let within = (millis / octave.exp2() * 16.0).floor() - 16.0;
    (octave * 16.0 + within.clamp(0.0, 15.0)) as u16
}

/// A gate from its question.
pub(crate) fn gate(ask: &Value, fails: u32) -> Gate {
    serde_json::from_value(json!({ "ask": ask, "window": "1m", "passes": 3, "fails": fails }))
        .expect("the gate of a row is one")
}

/// The gate of error rates with its defaults, compared with the old release or not.
pub(crate) fn errors(baseline: bool, fails: u32) -> Gate {
    gate(&json!({ "error_rate": { "max": 10, "min_requests": 300, "baseline": baseline } }), fails)
}

/// The gate of latencies with its defaults, and a ceiling that is far away.
pub(crate) fn latency(baseline: bool) -> Gate {
    gate(&json!({ "p95": { "max": "10s", "min_requests": 100, "baseline": baseline } }), 2)
}

impl Row {
    /// Runs so many canaries.
    pub(crate) fn run(&self, canaries: u32, dice: &mut Dice) -> Ends {
        let mut ends = Ends::default();
        for _ in 0..canaries {
            match self.canary(dice) {
                GateState::Passed => ends.promoted += 1,
                GateState::Failed => ends.aborted += 1,
                GateState::Going | GateState::Unclear | GateState::Unasked => ends.paused += 1,
            }
        }
        ends
    }

    fn canary(&self, dice: &mut Dice) -> GateState {
        let looks = self.gate.passes * u32::try_from(STEPS.len()).unwrap_or(1);
        let mut look = 0;
        for (step, share) in (1..).zip(STEPS) {
            let mut course = GateCourse::default();
            for _ in 0..MOST {
                look += 1;
                let asked = Asked {
                    gate: "g".to_owned(),
                    question: self.gate.clone(),
                    step,
                    release: Counter(2),
                    against: Some(Counter(1)),
                    from: Timestamp::ZERO,
                    until: Timestamp::from_millis(60_000),
                    at_once: false,
                    look,
                    looks,
                };
                course.add(&Judged::new(asked, self.window(share, dice)));
                match course.standing(&self.gate) {
                    GateState::Going => {}
                    GateState::Passed => break,
                    ended => return ended,
                }
            }
            if course.standing(&self.gate) != GateState::Passed {
                return GateState::Going;
            }
        }
        GateState::Passed
    }

    fn window(&self, share: u64, dice: &mut Dice) -> Facts {
        let (new, old) = (self.requests, self.requests * (100 - share) / share);
        let (new, old) = match &self.truth {
            Truth::Errors(of_new, of_old) => {
                let mut tally = |requests, rate| Tally {
                    requests,
                    server_error: dice.failures(requests, rate),
                    ..Tally::default()
                };
                (tally(new, *of_new), tally(old, *of_old))
            }
            // More requests of the old release change nothing any more.
            Truth::Latency(of_new, of_old) => {
                (dice.latencies(new, of_new), dice.latencies(old.min(2000), of_old))
            }
        };
        let (new, old) = (Box::new(new), Some(Box::new(old)));
        Facts::Requests { new, old, reporting: 1, ingresses: 1, faults: Vec::new() }
    }
}

/// A row about error rates, in percent.
pub(crate) fn of_errors(gate: Gate, requests: u64, new: f64, old: f64) -> Row {
    let compared = matches!(gate.ask, windlass_core::release::GateAsk::ErrorRate { baseline: true, .. });
    let mut name = format!("{new} % errors, old {old} %, {requests} requests");
    if !compared {
        name.push_str(", no comparison");
    }
    if gate.fails == 1 {
        name.push_str(", fails: 1");
    }
    Row { name, gate, requests, truth: Truth::Errors(new / 100.0, old / 100.0) }
}

/// A row about latencies: the new release is so many times slower.
pub(crate) fn of_latency(requests: u64, spread: f64, times: f64) -> Row {
    let truth = Truth::Latency(log_normal(60.0 * times, spread), log_normal(60.0, spread));
    let name = format!("{times} x the latency, spread {spread}, {requests} requests");
    Row { name, gate: latency(true), requests, truth }
}
