//! What containers use, from their control groups.
//!
//! The group of a container is found once, by its id in the folder's name, wherever the engine keeps its
//! groups: `docker/ID`, `system.slice/docker-ID.scope`, or below a parent of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// Groups lie at most so deep.
const DEPTH: usize = 6;
/// How soon a group that was not found is looked for again.
const AGAIN: Duration = Duration::from_secs(60);

/// What a container uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_percent: f64,
    /// Without page cache that can be dropped.
    pub(super) memory: u64,
    pub(super) limit: u64,
    pub(super) pids: u64,
}

/// The groups of the containers that are measured.
#[derive(Debug)]
pub(super) struct Groups {
    root: PathBuf,
    unified: bool,
    found: BTreeMap<String, Group>,
    searched: Option<Instant>,
    sought: BTreeSet<String>,
}

#[derive(Debug)]
struct Group {
    /// Relative to the root of each hierarchy.
    path: PathBuf,
    /// Nanoseconds of processor time, and when they were read.
    last: Option<(u64, Instant)>,
}

impl Groups {
    pub(super) fn new(root: PathBuf) -> Self {
        let unified = root.join("cgroup.controllers").exists();
        Self { root, unified, found: BTreeMap::new(), searched: None, sought: BTreeSet::new() }
    }

    /// Looks for groups not known yet, in one walk, and forgets those of others.
    pub(super) fn follow<'a>(&mut self, containers: impl Iterator<Item = &'a String>) {
        let wanted: BTreeSet<String> = containers.cloned().collect();
        self.found.retain(|id, _| wanted.contains(id));
        let missing: BTreeSet<String> =
            wanted.into_iter().filter(|id| !self.found.contains_key(id)).collect();
        let news = missing.iter().any(|id| !self.sought.contains(id));
        let due = self.searched.is_none_or(|at| at.elapsed() >= AGAIN);
        if !missing.is_empty() && (news || due) {
            let base = if self.unified { self.root.clone() } else { self.root.join("memory") };
            self.walk(&base, &base, DEPTH, &missing);
            self.searched = Some(Instant::now());
        }
        self.sought = missing;
    }

    fn walk(&mut self, base: &Path, folder: &Path, depth: usize, missing: &BTreeSet<String>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let (path, name) = (entry.path(), entry.file_name());
            let id = id_in(&name.to_string_lossy()).filter(|id| missing.contains(*id)).map(str::to_owned);
            match (id, path.strip_prefix(base)) {
                (Some(id), Ok(relative)) => {
                    self.found.insert(id, Group { path: relative.to_owned(), last: None });
                }
                _ if depth > 1 => self.walk(base, &path, depth - 1, missing),
                _ => {}
            }
        }
    }

    /// What a container uses now; `None` if its group is not there.
    pub(super) fn measure(&mut self, container: &str, now: Instant) -> Option<Usage> {
        let group = self.found.get_mut(container)?;
        let file = |hierarchy: &str, name: &str| {
            let base = if self.unified { self.root.clone() } else { self.root.join(hierarchy) };
            fs::read_to_string(base.join(&group.path).join(name)).ok()
        };
        let number = |hierarchy: &str, name: &str| file(hierarchy, name)?.trim().parse::<u64>().ok();
        let (memory, cache, limit, cpu) = if self.unified {
            let cpu = field(&file("", "cpu.stat")?, "usage_usec")?.saturating_mul(1000);
            let cache = field(&file("", "memory.stat")?, "inactive_file").unwrap_or(0);
            (number("", "memory.current")?, cache, number("", "memory.max").unwrap_or(u64::MAX), cpu)
        } else {
            let cache = field(&file("memory", "memory.stat")?, "total_inactive_file").unwrap_or(0);
            let limit = number("memory", "memory.limit_in_bytes").unwrap_or(u64::MAX);
            (number("memory", "memory.usage_in_bytes")?, cache, limit, number("cpuacct", "cpuacct.usage")?)
        };
        let pids = number("pids", "pids.current").unwrap_or(0);
        let cpu_percent =
            group.last.map_or(0.0, |(before, then)| share(cpu, before, now.duration_since(then)));
        group.last = Some((cpu, now));
        Some(Usage { cpu_percent, memory: memory.saturating_sub(cache), limit, pids })
    }
}

/// The container's id in `ID`, `docker-ID.scope`, `cri-containerd-ID.scope`.
fn id_in(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let id = name.rsplit('-').next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// The number behind `name` in lines of `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Nanoseconds of processor time as a share of one core, in percent.
#[expect(clippy::cast_precision_loss, reason = "a share needs no 52 bits")]
fn share(now: u64, before: u64, elapsed: Duration) -> f64 {
    let nanos = elapsed.as_nanos();
    if nanos == 0 { 0.0 } else { now.saturating_sub(before) as f64 / nanos as f64 * 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let id = "ab".repeat(32);
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (root.path().join("v1"), root.path().join("v2"));
        let stat = "cache 9\ntotal_inactive_file 1000\n";
        let memory =
            [("memory.usage_in_bytes", "5000\n"), ("memory.limit_in_bytes", "9000\n"), ("memory.stat", stat)];
        write(&one.join("memory/wl/deep").join(&id), &memory);
        write(&one.join("cpuacct/wl/deep").join(&id), &[("cpuacct.usage", "1000000000\n")]);
        write(&one.join("pids/wl/deep").join(&id), &[("pids.current", "3\n")]);
        write(&two, &[("cgroup.controllers", "cpu memory pids\n")]);
        let files = [
            ("memory.current", "5000\n"),
            ("memory.max", "9000\n"),
            ("memory.stat", "anon 1\ninactive_file 1000\n"),
            ("cpu.stat", "usage_usec 1000000\nuser_usec 1\n"),
            ("pids.current", "3\n"),
        ];
        write(&two.join("system.slice").join(format!("docker-{id}.scope")), &files);
        for root in [one, two] {
            let mut groups = Groups::new(root.clone());
            groups.follow([id.clone()].iter());
            let begun = Instant::now();
            let usage = groups.measure(&id, begun).unwrap();
            assert_eq!(
                usage,
                Usage { cpu_percent: 0.0, memory: 4000, limit: 9000, pids: 3 },
                "{}",
                root.display()
            );
            assert!(groups.measure("other", begun).is_none());
            groups.follow([].iter());
            assert!(groups.measure(&id, begun).is_none(), "forgotten with its container");
        }
        assert!((share(2_000_000_000, 1_000_000_000, Duration::from_secs(2)) - 50.0).abs() < 0.01);
    }
}
