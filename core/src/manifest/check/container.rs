//! Options of a container.

use crate::manifest::model::Manifest;
use crate::release::{MAX_LABELS, SIGNALS, ULIMITS, is_container_label, is_signal};

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
    if let Some(signal) = manifest.stop_signal.as_deref().filter(|signal| !is_signal(signal)) {
        let whole = format!("SIG{}", signal.to_ascii_uppercase().trim_start_matches("SIG"));
        let near = || SIGNALS.into_iter().find(|known| is_near(&whole, known)).map(str::to_owned);
        let near = if is_signal(&whole) { Some(whole.clone()) } else { near() };
        let hint = near.map_or_else(|| "like `SIGQUIT`".to_owned(), |near| format!("did you mean `{near}`?"));
        findings.error(&["stop_signal"], "is no signal", &hint);
    }
    if manifest.labels.len() > MAX_LABELS {
        findings.error(&["labels"], format!("are more than {MAX_LABELS}"), "");
    }
    for (key, value) in manifest.labels.iter().filter(|(key, value)| !is_container_label(key, &value.0)) {
        let (reason, hint) = match key == "windlass" || key.starts_with("windlass.") {
            true => (
                "is a label of Windlass itself".to_owned(),
                "choose a key that does not begin with `windlass.`, like `team.windlass`",
            ),
            false => (
                format!("is no label of a container, or its value of {} bytes is too long", value.0.len()),
                "a key of 1 to 128 characters without `=`, a value of at most 4096",
            ),
        };
        findings.error(&["labels", key], reason, hint);
    }
}

/// Whether a signal is another one misspelled. Their names are short and much alike, so that one slip is all.
fn is_near(written: &str, known: &str) -> bool {
    let (written, known) = (written.to_lowercase(), known.to_lowercase());
    let mut letters: [Vec<char>; 2] = [written.chars().collect(), known.chars().collect()];
    letters.iter_mut().for_each(|letters| letters.sort_unstable());
    known.len() > 5 && letters[0] == letters[1]
}
