//! The services that it calls by name.

use std::collections::BTreeSet;

use crate::manifest::model::Manifest;
use crate::release::MAX_USES;

use super::Findings;

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    if manifest.uses.len() > MAX_USES {
        findings.error(&["uses"], format!("has more than {MAX_USES} entries"), "");
    }
    let mut seen = BTreeSet::new();
    for (index, name) in manifest.uses.iter().enumerate() {
        let index = index.to_string();
        if !seen.insert(name) {
            findings.error(&["uses", &index], format!("`{name}` stands there twice"), "");
        }
        if name.as_str() == "localhost" {
            let hint = "other services are called by their own names";
            findings.error(&["uses", &index], "`localhost` is the container itself", hint);
        }
    }
}
