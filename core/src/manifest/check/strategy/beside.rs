//! Two releases beside each other: what cannot be with that.

use crate::manifest::check::Findings;
use crate::manifest::model::{Manifest, Port};
use crate::release::{OnFailure, PortProtocol};

/// Whether requests are routed to a port of the service.
pub(super) fn is_routed(manifest: &Manifest) -> bool {
    manifest.ports.values().any(|port| match port {
        Port::Container(_) => true,
        Port::Fixed(fixed) => fixed.protocol != PortProtocol::Tcp,
    })
}

/// Two releases beside each other: what cannot be with that.
pub(super) fn one_release_at_a_time(
    manifest: &Manifest,
    at: &[&str],
    name: &str,
    findings: &mut Findings<'_>,
) {
    if manifest.on_failure == OnFailure::RollbackFailed {
        let reason = format!("`rollback_failed` cannot be with {name}: the two releases are never mixed");
        findings.error(&["on_failure"], reason, "`rollback_all`");
    }
    if manifest.exclusive {
        let reason = "cannot be with `exclusive`: two releases would run at once";
        findings.error(at, reason, "`rolling` or `recreate`");
    }
}

/// No port that one container holds, where two are to run.
pub(super) fn no_fixed_port(manifest: &Manifest, at: &[&str], findings: &mut Findings<'_>) {
    let fixed = manifest.ports.iter().find(|(_, port)| matches!(port, Port::Fixed(of) if of.host.is_some()));
    if let Some((name, _)) = fixed {
        let reason =
            format!("cannot be: port `{name}` has a fixed port of the host, which one container holds");
        findings.error(at, reason, "leave the host port to the agent; `route` gives clients a fixed place");
    }
}
