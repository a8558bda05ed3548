//! `trust show`.

use windlass_certs::keys::PublicKey;
use windlass_certs::trust::TrustDocument;

use super::fields;

/// A trust document.
pub(crate) fn trust(document: &TrustDocument, digest: &str) -> String {
    let keys = |keys: &[PublicKey], threshold: u32| {
        let ids: Vec<&str> = keys.iter().map(|key| key.id().short()).collect();
        format!("{threshold} of {}: {}", ids.len(), ids.join(", "))
    };
    let mut text = fields(&[
        ("fleet", Some(document.fleet.to_string())),
        ("version", Some(document.version.to_string())),
        ("epoch", Some(document.epoch.to_string())),
        ("digest", Some(digest.to_owned())),
        ("made", Some(document.created_at.to_string())),
        ("new releases until", Some(document.expires_at.to_string())),
        ("coordinators", Some(document.coordinators.join(", "))),
        ("CA", Some(document.ca.iter().map(|pin| pin.short()).collect::<Vec<_>>().join(", "))),
    ]);
    text.push_str("\nkeys\n");
    let mut role = |name: &str, value: String| text.push_str(&format!("  {name:<28}{value}\n"));
    role("root", keys(&document.root.keys, document.root.threshold));
    for rule in &document.roles.release {
        let services = rule.services.as_ref().map(|list| {
            format!(" ({})", list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        });
        let name = format!("release {}{}", rule.environment, services.unwrap_or_default());
        role(&name, keys(&rule.keys, rule.threshold));
    }
    role("dispatch", keys(&document.roles.dispatch.keys, document.roles.dispatch.threshold));
    role("audit", keys(&document.roles.audit.keys, document.roles.audit.threshold));
    if let Some(revoke) = &document.roles.revoke {
        role("revoke", keys(&revoke.keys, revoke.threshold));
    }
    for (service, floor) in &document.floors {
        role(&format!("floor of {service}"), floor.to_string());
    }
    for key in &document.revoked.keys {
        role("revoked key", key.short().to_owned());
    }
    for release in &document.revoked.releases {
        role("revoked release", release.to_string());
    }
    text
}
