//! A second set at full strength: what it needs, and the steps of its traffic.

use super::beside;
use crate::manifest::check::Findings;
use crate::manifest::model::{BlueGreen, Manifest};
use crate::release::{MAX_KEEP_OLD, MAX_STEPS, MAX_WATCH};
use crate::traffic::Weight;

pub(super) fn check(blue_green: &BlueGreen, manifest: &Manifest, findings: &mut Findings<'_>) {
    const AT: [&str; 2] = ["strategy", "blue_green"];
    let at = |key| ["strategy", "blue_green", key];
    let steps: Vec<Weight> = blue_green.steps.iter().map(|share| share.0).collect();
    if steps.len() > MAX_STEPS {
        findings.error(&at("steps"), format!("has more than {MAX_STEPS} steps"), "");
    }
    let rises = steps.windows(2).all(|pair| pair[0] < pair[1]);
    if !rises || steps.first() == Some(&Weight::NONE) {
        let hint = "`steps: [10%, 50%, 100%]`; `100%` is added where it does not stand last";
        findings.error(&at("steps"), "must begin above 0% and rise", hint);
    }
    if blue_green.watch > MAX_WATCH {
        findings.error(&at("watch"), format!("must be at most {MAX_WATCH}"), "");
    }
    if blue_green.keep_old > MAX_KEEP_OLD {
        findings.error(&at("keep_old"), format!("must be at most {MAX_KEEP_OLD}"), "");
    }
    beside::one_release_at_a_time(manifest, &AT, "`blue_green`", findings);
    if !beside::is_routed(manifest) {
        let reason = "switches requests, and the service has no port that requests are routed to";
        findings.error(&AT, reason, "`ports: { http: 8080 }`, or `rolling`");
    }
    beside::no_fixed_port(manifest, &AT, findings);
}
