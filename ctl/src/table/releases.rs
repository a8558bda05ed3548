//! `release ls`, `release show`, `release diff`.

use comfy_table::Cell;
use windlass_core::diff::Change;
use windlass_core::release::{Release, Scale};
use windlass_core::rollout::State;
use windlass_core::view::ReleaseView;
use windlass_core::{Counter, Timestamp};

use super::{ago, fields, grid};
use crate::printer::Colour;

/// Releases of a service.
pub(crate) fn releases(releases: &[ReleaseView], now: Timestamp, colour: Colour) -> String {
    if releases.is_empty() {
        return "no releases\n".to_owned();
    }
    let row = |release: &ReleaseView| {
        // A release that was good once is good, however a later rollout to it ended.
        let ended = match release.outcome {
            _ if release.good => Some("good".to_owned()),
            Some(State::Succeeded) | None => None,
            Some(outcome) => Some(outcome.as_str().replace('_', " ")),
        };
        let current = release.current.then(|| "current".to_owned());
        let held = release.held.then(|| "rolled back from".to_owned());
        let marks: Vec<String> = current.into_iter().chain(ended).chain(held).collect();
        vec![
            Cell::new(release.release),
            Cell::new(if marks.is_empty() { "-".to_owned() } else { marks.join(", ") }),
            Cell::new(&release.image),
            Cell::new(release.digest.short()),
            Cell::new(&release.author),
            Cell::new(ago(release.created_at, now)),
            Cell::new(release.signed_by.len()),
        ]
    };
    let rows = releases.iter().map(row).collect();
    grid(&["RELEASE", "STATUS", "IMAGE", "RELEASE DIGEST", "AUTHOR", "MADE", "SIGNATURES"], rows, colour)
}

/// The course of a rollback: `r4 → r3 (made 2d ago)`. None if the service is at that release already, or at none.
pub(crate) fn going_back(releases: &[ReleaseView], to: Counter, now: Timestamp) -> Option<String> {
    let current = releases.iter().find(|release| release.current && release.release != to)?;
    let target = releases.iter().find(|release| release.release == to);
    let made = target.map(|target| format!(" (made {})", ago(target.created_at, now))).unwrap_or_default();
    Some(format!("{} \u{2192} {to}{made}", current.release))
}

/// One release. `signers` are ids of keys, verified or not as the caller says in `verdict`.
pub(crate) fn release(release: &Release, digest: &str, signers: &[String], verdict: &str) -> String {
    let spec = &release.spec;
    let scale = match spec.scale {
        Scale::Replicas { min: 1, max: 1 } => "1 instance".to_owned(),
        Scale::Replicas { min, max } if min == max => format!("{min} instances"),
        Scale::Replicas { min, max } => format!("{min} to {max} instances"),
        Scale::PerHost => "one per host".to_owned(),
    };
    let list = |items: Vec<String>| Some(items.join(", ")).filter(|text| !text.is_empty());
    let ports = spec.ports.iter().map(|(name, port)| match port.host {
        Some(host) => format!("{name} {}, host {host}", port.container),
        None => format!("{name} {}", port.container),
    });
    fields(&[
        ("release", Some(format!("{} {}", release.service_id(), release.counter))),
        ("fleet", Some(release.fleet.to_string())),
        ("digest", Some(digest.to_owned())),
        ("made", Some(format!("{} by {}", release.created_at, release.author))),
        ("image", Some(spec.image.reference.clone())),
        ("pinned", Some(spec.image.pinned())),
        ("platform", Some(spec.image.platform.clone())),
        ("command", spec.command.as_ref().map(|argv| argv.join(" "))),
        ("args", spec.args.as_ref().map(|argv| argv.join(" "))),
        ("scale", Some(scale)),
        ("require", list(spec.placement.require.iter().map(|(k, v)| format!("{k}={v}")).collect())),
        ("ports", list(ports.collect())),
        ("env", list(spec.env.keys().cloned().collect())),
        ("files", list(spec.files.keys().cloned().collect())),
        ("volumes", list(spec.volumes.iter().map(|(name, v)| format!("{name} at {}", v.mount)).collect())),
        ("memory", Some(spec.resources.memory.to_string())),
        ("signed by", list(signers.to_vec())),
        ("trust", Some(verdict.to_owned())),
    ])
}

/// Fields that differ.
pub(crate) fn changes(changes: &[Change], colour: Colour) -> String {
    if changes.is_empty() {
        return "no difference\n".to_owned();
    }
    let line = |change: &Change| {
        let path = &change.path;
        let value = |value: &String| shown(path, value);
        match (change.old.as_ref().map(value), change.new.as_ref().map(value)) {
            (None, Some(new)) => colour.paint(32, &format!("+ {path}: {new}")),
            (Some(old), None) => colour.paint(31, &format!("- {path}: {old}")),
            (old, new) => {
                let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
                colour.paint(33, &format!("~ {path}: {old} → {new}"))
            }
        }
    };
    changes.iter().map(|change| line(change) + "\n").collect()
}

/// The value of a field for people: the mode of a file is octal, as in a manifest.
fn shown(path: &str, value: &str) -> String {
    let is_mode = path.starts_with("files.") && path.ends_with(".mode");
    let mode = value.parse::<u32>().ok().filter(|_| is_mode);
    mode.map_or_else(|| value.to_owned(), |mode| format!("{mode:04o}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_of_a_file_is_octal() {
        let change = |path: &str, old: Option<&str>, new: Option<&str>| Change {
            path: path.to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        let all = [
            change("env.mode", Some("420"), Some("384")),
            change("files.\"/a.json\".mode", Some("420"), Some("384")),
            change("files.\"/b.json\".mode", None, Some("420")),
            change("files.\"/c.json\".mode", Some("7"), None),
        ];
        let text = changes(&all, Colour::Off);
        assert_eq!(
            text,
            "~ env.mode: 420 → 384\n\
             ~ files.\"/a.json\".mode: 0644 → 0600\n\
             + files.\"/b.json\".mode: 0644\n\
             - files.\"/c.json\".mode: 0007\n"
        );
    }
}
