//! Checks of the triggers that bring the last good release back.

use crate::manifest::lower::rollback_on;
use crate::manifest::model::Manifest;
use crate::units::Span;

use super::{Findings, gpus, traffic};

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    let said = &manifest.rollback_on;
    if said.restarts == 0 {
        findings.error(&["rollback_on", "restarts"], "must be at least 1", "1 rolls back at the first exit");
    }
    if said.unhealthy_for < Span::from_secs(1) {
        findings.error(&["rollback_on", "unhealthy_for"], "must be at least 1s", "");
    }
    let rules = rollback_on(said);
    if let Err((key, bounds)) = rules.check() {
        let path: Vec<&str> = std::iter::once("rollback_on").chain(key.split('.')).collect();
        findings.error(&path, bounds, "");
    }
    if rules.counts_requests() {
        let keys = ["error_rate", "status_5xx", "p95"];
        let said = [rules.error_rate.is_some(), rules.status_5xx.is_some(), rules.p95.is_some()];
        let key = keys.iter().zip(said).find(|(_, said)| *said).map_or("error_rate", |(key, _)| key);
        let hint = "`route: { host: web.example.com }`, or `crashes`";
        traffic::counted(manifest, &["rollback_on", key], hint, findings);
    }
    if rules.gpu_errors.is_some() && !gpus::has(manifest) {
        findings.error(&["rollback_on", "gpu_errors"], gpus::NONE, gpus::HINT);
    }
}
