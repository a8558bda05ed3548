//! Paths in the container: working folder, files, volumes, scratch mounts.

use std::collections::BTreeMap;

use crate::manifest::model::Manifest;

use super::{Findings, is_label};

const MAX_PATH: usize = 4096;
const MAX_FILES: usize = 256;
const MAX_MOUNTS: usize = 64;
/// The kernel's own; nothing of ours belongs there.
const KERNEL: [&str; 2] = ["/proc", "/sys"];

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    if let Some(workdir) = &manifest.workdir
        && let Err(reason) = absolute(workdir)
    {
        findings.error(&["workdir"], reason, &rooted(workdir));
    }
    let mut taken: BTreeMap<&str, String> = BTreeMap::new();
    for (name, volume) in &manifest.volumes {
        let path = ["volumes", name.as_str(), "mount"];
        if !is_label(name) {
            findings.error(
                &path[..2],
                "is not a volume name",
                "lowercase letters, digits and `-`, 1 to 63 characters",
            );
        }
        mount(&volume.mount, &path, &mut taken, findings);
        if volume.shared && volume.host_path.is_some() {
            let hint = "leave `shared` away: every instance of a host writes into a folder of it";
            findings.error(&["volumes", name, "shared"], "is about named volumes", hint);
        }
        if let Some(host_path) = &volume.host_path
            && let Err(reason) = absolute(host_path)
        {
            findings.error(&["volumes", name, "host_path"], reason, "");
        }
    }
    for (index, path) in manifest.security.tmpfs.iter().enumerate() {
        mount(path, &["security", "tmpfs", &index.to_string()], &mut taken, findings);
    }
    if taken.len() > MAX_MOUNTS {
        findings.error(&["volumes"], format!("and scratch mounts are more than {MAX_MOUNTS}"), "");
    }
    files(manifest, &mut taken, findings);
}

fn files<'m>(manifest: &'m Manifest, taken: &mut BTreeMap<&'m str, String>, findings: &mut Findings<'_>) {
    for (target, file) in &manifest.files {
        let path = ["files", target.as_str()];
        mount(target, &path, taken, findings);
        match (&file.from, &file.content) {
            (Some(_), Some(_)) => {
                findings.error(&path, "has both `from` and `content`", "take one of them away")
            }
            (None, None) => findings.error(
                &path,
                "says nothing about its content",
                "`{ from: config.json }` or `{ content: … }`",
            ),
            (Some(from), None) if from.is_empty() || from.contains('\0') => {
                findings.error(&["files", target, "from"], "is not the path of a file", "");
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
    }
    if manifest.files.len() > MAX_FILES {
        findings.error(
            &["files"],
            format!("are more than {MAX_FILES}"),
            "put many files into a volume or the image",
        );
    }
}

/// A path that something is mounted at: good, not the kernel's, and not taken.
fn mount<'m>(
    target: &'m str,
    path: &[&str],
    taken: &mut BTreeMap<&'m str, String>,
    findings: &mut Findings<'_>,
) {
    if let Err(reason) = absolute(target) {
        let options = || "options after `:` are not taken".to_owned();
        let hint = if target.contains(':') { options() } else { rooted(target) };
        return findings.error(path, reason, &hint);
    }
    if target == "/" {
        return findings.error(path, "`/` is the image's own", "name a folder below it");
    }
    let is_below = |folder: &str| {
        target.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if KERNEL.into_iter().any(is_below) {
        return findings.error(path, format!("`{target}` belongs to the kernel"), "");
    }
    let here = crate::manifest::node::display_path(path);
    if let Some(other) = taken.insert(target, here) {
        findings.error(path, format!("`{target}` is taken by `{other}`"), "");
    }
}

/// The hint about a path in the container that does not begin at its root.
fn rooted(path: &str) -> String {
    let whole = format!("/{}", path.trim_start_matches("./"));
    let is_meant = !path.starts_with('/') && whole != "/" && absolute(&whole).is_ok();
    if is_meant { format!("did you mean `{whole}`?") } else { String::new() }
}

/// Checks that the path is absolute and in its one spelling.
fn absolute(path: &str) -> Result<(), String> {
    let shown: String = path.chars().take(80).collect();
    let Some(rest) = path.strip_prefix('/') else {
        return Err(format!("`{shown}` is not an absolute path"));
    };
    if path.len() > MAX_PATH || path.contains(|c: char| c.is_control() || matches!(c, ':' | ',')) {
        return Err(format!("`{shown}` is too long, or has a control character, `:` or `,`"));
    }
    if !rest.is_empty() && rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("`{shown}` is not normalised (no `..`, `.`, `//`, nor `/` at the end)"));
    }
    Ok(())
}
