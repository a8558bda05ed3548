//! A canary: its steps, and something in each of them that could stop it.

use super::beside;
use crate::manifest::check::Findings;
use crate::manifest::lower;
use crate::manifest::model::{Canary, CanaryStep, Manifest, StepKeys};
use crate::release::{self, MAX_KEEP_OLD, MAX_STEPS, MAX_WATCH};
use crate::traffic::{MAX_RULES, Weight};

const AT: [&str; 2] = ["strategy", "canary"];

pub(super) fn check(canary: &Canary, manifest: &Manifest, findings: &mut Findings<'_>) {
    let at = |key| ["strategy", "canary", key];
    let release::Strategy::Canary { steps, .. } = lower::strategy(manifest) else { return };
    if canary.steps.len() > MAX_STEPS {
        return findings.error(&at("steps"), format!("has more than {MAX_STEPS} steps"), "");
    }
    if steps.windows(2).any(|pair| pair[0].weight > pair[1].weight) {
        let hint = "`steps: [5%, 25%, 100%]`; `100%` is added where it does not stand last";
        findings.error(&at("steps"), "must not fall", hint);
    }
    if !(1..=1000).contains(&canary.min_instances) {
        findings.error(&at("min_instances"), "must be from 1 to 1000", "");
    }
    if canary.keep_old > MAX_KEEP_OLD {
        findings.error(&at("keep_old"), format!("must be at most {MAX_KEEP_OLD}"), "");
    }
    if canary.keep_failed.is_some_and(|span| span > MAX_KEEP_OLD) {
        findings.error(&at("keep_failed"), format!("must be at most {MAX_KEEP_OLD}"), "");
    }
    beside::one_release_at_a_time(manifest, &AT, "`canary`", findings);
    if let Some(rule) = &canary.r#match {
        check_match(&lower::rules(rule), &at("match"), findings);
    }
    let routed = beside::is_routed(manifest);
    if routed {
        beside::no_fixed_port(manifest, &AT, findings);
    }
    // Each preview takes a place among the rules of a table.
    let previews = manifest.routes().iter().filter(|route| route.preview).count();
    if steps.iter().any(|step| step.matches.len() + previews > MAX_RULES) {
        let many = format!(
            "has a step with more than {MAX_RULES} headers and cookies in `match`, each `preview: true` in `route` counted"
        );
        findings.error(&AT, many, "");
    }
    // The last step has all requests, and asks no gate.
    let judged = &steps[..steps.len().saturating_sub(1)];
    for (name, gate) in &manifest.gates {
        let named = judged.iter().any(|step| step.gates.contains(name));
        if !named && gate.from_step.is_none_or(|from| from as usize > judged.len()) {
            let hint = "name it in `gates` of a step, or give it a `from_step` that the canary has";
            findings.error(&["gates", name], "is asked in no step", hint);
        }
    }
    for (number, step) in (1_u32..).zip(&steps) {
        let index = (number - 1).to_string();
        let written = canary.steps.get(index.parse::<usize>().unwrap_or(usize::MAX));
        let keys = written.and_then(|step| match step {
            CanaryStep::More(keys) => Some(&**keys),
            CanaryStep::Share(_) => None,
        });
        let place: Vec<&str> = if written.is_some() {
            AT.iter().copied().chain(["steps", index.as_str()]).collect()
        } else {
            AT.to_vec()
        };
        let mut of = OfStep { manifest, findings, place, routed, number };
        of.check(step, keys);
    }
}

/// The check of one step.
struct OfStep<'a, 'f, 'n> {
    manifest: &'a Manifest,
    findings: &'f mut Findings<'n>,
    place: Vec<&'a str>,
    routed: bool,
    /// Counted from 1.
    number: u32,
}

impl OfStep<'_, '_, '_> {
    fn check(&mut self, step: &release::CanaryStep, keys: Option<&StepKeys>) {
        if step.hold.is_some_and(|span| span > MAX_WATCH) {
            self.error("hold", format!("must be at most {MAX_WATCH}"), "");
        }
        for name in &step.gates {
            if !self.manifest.gates.contains_key(name) {
                let known: Vec<&str> = self.manifest.gates.keys().map(String::as_str).collect();
                let hint = if known.is_empty() {
                    "`gates: { errors: { error_rate: { max: 1% } } }` at the top of the manifest".to_owned()
                } else {
                    format!("gates of this manifest: {}", known.join(", "))
                };
                self.error("gates", format!("`{name}` is no gate of this manifest"), &hint);
            }
        }
        if let Some(rule) = keys.and_then(|keys| keys.r#match.as_ref()) {
            let at: Vec<&str> = self.place.iter().copied().chain(["match"]).collect();
            check_match(&lower::rules(rule), &at, self.findings);
        }
        if step.weight == Weight::ALL {
            return;
        }
        if !self.routed && !step.matches.is_empty() {
            let reason = "chooses requests, and the service has no port that requests are routed to";
            self.error("match", reason.to_owned(), "leave it away, or `ports: { http: 8080 }`");
        }
        if step.weight == Weight::NONE && step.matches.is_empty() && step.instances.is_none() {
            let hint = "`weight: 5%`; or `match` or `instances` for a step without weight";
            self.findings.error(&self.place, "gives the new release nothing", hint);
        }
        if step.weight == Weight::NONE {
            let gates = lower::gates(self.manifest);
            let counts = |name: &&String| gates.get(*name).is_some_and(|gate| gate.ask.counts_requests());
            if let Some(name) = step.gates.iter().find(counts) {
                let reason =
                    format!("`{name}` counts requests, and a step without weight has none that count");
                self.error("gates", reason, "name it from the first step with a weight on, or `from_step`");
            }
        }
        let judged = lower::is_judged(step, self.number, self.manifest);
        let triggers = lower::rollback_on(&self.manifest.rollback_on).watches();
        let is_only_matched = step.weight == Weight::NONE;
        if !(judged || triggers || is_only_matched) {
            self.findings.error(
                &self.place,
                "has neither gates nor an approval, so nothing but time would let it pass",
                "name `gates`, `approve: true`, or what brings the old release back in `rollback_on` (like `error_rate`)",
            );
        }
    }

    fn error(&mut self, key: &str, reason: String, hint: &str) {
        let at: Vec<&str> = self.place.iter().copied().chain([key]).collect();
        self.findings.error(&at, reason, hint);
    }
}

fn check_match(rules: &[crate::traffic::MatchRule], at: &[&str], findings: &mut Findings<'_>) {
    if rules.is_empty() {
        findings.error(at, "names neither a header nor a cookie", "`match: { header: { x-canary: \"1\" } }`");
    }
    if let Some(rule) = rules.iter().find(|rule| !rule.is_valid()) {
        if rule.name.eq_ignore_ascii_case("host") {
            let hint = "a name of the new release's own is a `route` with `preview: true`";
            findings.error(at, "a `match` does not look at the host name", hint);
            return;
        }
        let reason = format!("`{}` is no name of a header or cookie, or its value is too long", rule.name);
        findings.error(at, reason, "letters, digits and `-`; at most 256 characters");
    }
}
