//! Resources that containers use, from their control groups.
//!
//! The group of a container is found once, by its id in the folder's name, wherever the engine keeps its
//! groups: `docker/ID`, `system.slice/docker-ID.scope`, or below a parent of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::host::InstanceCounters;

use super::proc;

/// Groups lie at most so deep.
const DEPTH: usize = 6;
/// Bytes of a file that fit at once, and that are read at most.
const ROOM: usize = 4 * 1024;
const MOST: u64 = 1 << 20;
/// Time until a missing group is looked for again.
const AGAIN: Duration = Duration::from_secs(60);

/// The use of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_percent: f64,
    /// Without page cache that can be dropped.
    pub(super) memory: u64,
    pub(super) limit: u64,
    pub(super) pids: u64,
    /// 0 without a limit.
    pub(super) pids_limit: u64,
    /// Share of the scheduler's periods in which it was held back, since the last time.
    pub(super) throttled_percent: f64,
    pub(super) counters: InstanceCounters,
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
    /// Processor time, and when it was read.
    last: Option<(Cpu, Instant)>,
}

/// A group's processor time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cpu {
    nanos: u64,
    periods: u64,
    throttled: u64,
    throttled_nanos: u64,
}

impl Cpu {
    /// From `cpu.stat` of the second version.
    fn unified(text: &str) -> Option<Self> {
        let number = |name| field(text, name).unwrap_or(0);
        Some(Self {
            nanos: field(text, "usage_usec")?.saturating_mul(1000),
            periods: number("nr_periods"),
            throttled: number("nr_throttled"),
            throttled_nanos: number("throttled_usec").saturating_mul(1000),
        })
    }

    /// From `cpuacct.usage` and `cpu.stat` of the first version.
    fn separate(nanos: u64, text: &str) -> Self {
        let number = |name| field(text, name).unwrap_or(0);
        Self {
            nanos,
            periods: number("nr_periods"),
            throttled: number("nr_throttled"),
            throttled_nanos: number("throttled_time"),
        }
    }

    /// Share of the periods since `before` in which it was held back.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 52 bits")]
    fn throttled_since(&self, before: &Self) -> f64 {
        let periods = self.periods.saturating_sub(before.periods);
        let throttled = self.throttled.saturating_sub(before.throttled).min(periods);
        if periods == 0 { 0.0 } else { throttled as f64 / periods as f64 * 100.0 }
    }
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

    /// The present use of a container; `None` if its group is not there.
    pub(super) fn measure(&mut self, container: &str, own: &proc::Namespace, now: Instant) -> Option<Usage> {
        let group = self.found.get_mut(container)?;
        let file = |hierarchy: &str, name: &str| {
            let hierarchy = if self.unified { "" } else { hierarchy };
            read(
                &[&self.root, Path::new(hierarchy), &group.path, Path::new(name)].iter().collect::<PathBuf>(),
            )
        };
        let number = |hierarchy: &str, name: &str| file(hierarchy, name)?.trim().parse::<u64>().ok();
        let text = |hierarchy: &str, name: &str| file(hierarchy, name).unwrap_or_default();
        let (memory, cache, limit, cpu) = if self.unified {
            let cpu = Cpu::unified(&file("", "cpu.stat")?)?;
            let cache = field(&file("", "memory.stat")?, "inactive_file").unwrap_or(0);
            (number("", "memory.current")?, cache, number("", "memory.max").unwrap_or(u64::MAX), cpu)
        } else {
            let cache = field(&file("memory", "memory.stat")?, "total_inactive_file").unwrap_or(0);
            let limit = number("memory", "memory.limit_in_bytes").unwrap_or(u64::MAX);
            let cpu = Cpu::separate(number("cpuacct", "cpuacct.usage")?, &text("cpu", "cpu.stat"));
            (number("memory", "memory.usage_in_bytes")?, cache, limit, cpu)
        };
        let (oom_kills, (block_read_bytes, block_written_bytes)) = if self.unified {
            (field(&text("", "memory.events"), "oom_kill"), blocks(&text("", "io.stat")))
        } else {
            let blocks = blocks_by_line(&text("blkio", "blkio.throttle.io_service_bytes"));
            (field(&text("memory", "memory.oom_control"), "oom_kill"), blocks)
        };
        let hierarchy = if self.unified { "" } else { "memory" };
        let first = file(hierarchy, "cgroup.procs");
        let network =
            first.as_deref().and_then(|pids| pids.lines().next()).and_then(|pid| own.network_of(pid));
        let (network_rx_bytes, network_tx_bytes) = network.unwrap_or_default();
        let (cpu_percent, throttled_percent) = group.last.map_or((0.0, 0.0), |(before, then)| {
            let percent = share(cpu.nanos, before.nanos, now.duration_since(then));
            (percent, cpu.throttled_since(&before))
        });
        group.last = Some((cpu, now));
        let seconds = |nanos| Duration::from_nanos(nanos).as_secs_f64();
        Some(Usage {
            cpu_percent,
            throttled_percent,
            memory: memory.saturating_sub(cache),
            limit,
            pids: number("pids", "pids.current").unwrap_or(0),
            pids_limit: number("pids", "pids.max").unwrap_or(0),
            counters: InstanceCounters {
                cpu_seconds: seconds(cpu.nanos),
                throttled_seconds: seconds(cpu.throttled_nanos),
                oom_kills: oom_kills.unwrap_or(0),
                network_rx_bytes,
                network_tx_bytes,
                block_read_bytes,
                block_written_bytes,
            },
        })
    }
}

/// The text of a file of the kernel, whose length nobody knows before it is read: asking for it is two calls in vain.
fn read(path: &Path) -> Option<String> {
    let mut text = String::with_capacity(ROOM);
    File::open(path).ok()?.take(MOST).read_to_string(&mut text).ok()?;
    Some(text)
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

/// Bytes read and written in `8:0 rbytes=1 wbytes=2 …`.
fn blocks(text: &str) -> (u64, u64) {
    let sum = |name: &str| {
        let words = text.split_whitespace().filter_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
        words.fold(0, u64::saturating_add)
    };
    (sum("rbytes="), sum("wbytes="))
}

/// Bytes read and written in lines of `8:0 Read 1`.
fn blocks_by_line(text: &str) -> (u64, u64) {
    let sum = |name: &str| {
        let of = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            words.next().filter(|kind| *kind == name).and(words.next())?.parse::<u64>().ok()
        };
        text.lines().filter_map(of).fold(0, u64::saturating_add)
    };
    (sum("Read"), sum("Write"))
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
        let oom = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n";
        write(&one.join("memory/wl/deep").join(&id), &[("memory.oom_control", oom)]);
        let throttled = "nr_periods 10\nnr_throttled 5\nthrottled_time 3000000000\n";
        write(&one.join("cpu/wl/deep").join(&id), &[("cpu.stat", throttled)]);
        let blocks = "8:0 Read 100\n8:0 Write 7\n8:0 Total 107\n8:16 Read 11\nTotal 118\n";
        write(&one.join("blkio/wl/deep").join(&id), &[("blkio.throttle.io_service_bytes", blocks)]);
        write(&one.join("memory/wl/deep").join(&id), &memory);
        write(&one.join("cpuacct/wl/deep").join(&id), &[("cpuacct.usage", "1000000000\n")]);
        write(&one.join("pids/wl/deep").join(&id), &[("pids.current", "3\n"), ("pids.max", "max\n")]);
        write(&two, &[("cgroup.controllers", "cpu memory pids\n")]);
        let files = [
            ("memory.current", "5000\n"),
            ("memory.max", "9000\n"),
            ("memory.stat", "anon 1\ninactive_file 1000\n"),
            (
                "cpu.stat",
                "usage_usec 1000000\nuser_usec 1\nnr_periods 10\nnr_throttled 5\nthrottled_usec 3000000\n",
            ),
            ("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 1\n"),
            ("io.stat", "8:0 rbytes=100 wbytes=7 rios=1 wios=1\n8:16 rbytes=11\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
        ];
        write(&two.join("system.slice").join(format!("docker-{id}.scope")), &files);
        let own = proc::Namespace::own();
        for root in [one, two] {
            let mut groups = Groups::new(root.clone());
            groups.follow([id.clone()].iter());
            let begun = Instant::now();
            let usage = groups.measure(&id, &own, begun).unwrap();
            let counters = InstanceCounters {
                cpu_seconds: 1.0,
                throttled_seconds: 3.0,
                oom_kills: 2,
                block_read_bytes: 111,
                block_written_bytes: 7,
                ..InstanceCounters::default()
            };
            let want = Usage { memory: 4000, limit: 9000, pids: 3, counters, ..Usage::default() };
            assert_eq!(usage, want, "{}", root.display());
            assert!(groups.measure("other", &own, begun).is_none());
            groups.follow([].iter());
            assert!(groups.measure(&id, &own, begun).is_none(), "forgotten with its container");
        }
        let (before, after) = (Cpu::default(), Cpu { periods: 10, throttled: 5, ..Cpu::default() });
        assert_eq!(after.throttled_since(&before), 50.0);
        assert_eq!(before.throttled_since(&after), 0.0, "counters that fell are no share");
        assert!((share(2_000_000_000, 1_000_000_000, Duration::from_secs(2)) - 50.0).abs() < 0.01);
    }
}
