//! Options of a container.

use crate::manifest::model::Manifest;
use crate::release::{MAX_LABELS, ULIMITS, is_container_label, is_signal};

use super::super::closest::closest;
use super::Findings;

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    for (name, limit) in &manifest.ulimits {
        let path = ["ulimits", name.as_str()];
        if !ULIMITS.contains(&name.as_str()) {
            let hint = match (name.as_str(), closest(name, ULIMITS)) {
                ("nice" | "rtprio" | "rttime", _) => "priorities are the host's".to_owned(),
                (_, Some(near)) => format!("did you mean `{near}`?"),
                (_, None) => format!("one of {}", ULIMITS.join(", ")),
            };
            findings.error(&path, "is no limit that a container may have", &hint);
        } else if !limit.lower().is_sound() {
            findings.error(&path, "is no limit: soft is at most hard, -1 stands for none", "`nofile: 65536`");
        }
    }
    if manifest.shm_size.is_some_and(|size| size.bytes() == 0) {
        findings.error(&["shm_size"], "must be more than 0", "leave it away for 64MiB");
    }
    if manifest.shm_size.is_some_and(|size| size.bytes() > manifest.resources.memory.bytes()) {
        findings.warning(
            &["shm_size"],
            format!(
                "is more than `resources.memory` ({}), which it counts towards",
                manifest.resources.memory
            ),
            "raise `resources.memory`",
        );
    }
    if manifest.stop_signal.as_deref().is_some_and(|signal| !is_signal(signal)) {
        findings.error(&["stop_signal"], "is no signal", "like `SIGQUIT`");
    }
    if manifest.labels.len() > MAX_LABELS {
        findings.error(&["labels"], format!("are more than {MAX_LABELS}"), "");
    }
    for (key, value) in manifest.labels.iter().filter(|(key, value)| !is_container_label(key, &value.0)) {
        let reason = match key.starts_with("windlass") {
            true => "is a label of Windlass itself".to_owned(),
            false => {
                format!("is no label of a container, or its value of {} bytes is too long", value.0.len())
            }
        };
        findings.error(
            &["labels", key],
            reason,
            "a key of 1 to 128 characters without `=`, a value of at most 4096",
        );
    }
}
