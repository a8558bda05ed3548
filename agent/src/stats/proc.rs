//! Counters of the kernel: processors, memory, load, network.

use std::fs;
use std::path::{Path, PathBuf};

use windlass_core::host::{CpuModes, HostCounters, Pressure, Stall};

/// Ticks of a second, as the kernel counts for programs on every platform that we run on.
const TICKS: f64 = 100.0;
/// Bytes of a sector in `/proc/diskstats`, whatever the disk's own are.
const SECTOR: u64 = 512;

/// Counters that only rise.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counters {
    busy: u64,
    all: u64,
    modes: Modes,
    received: u64,
    sent: u64,
}

/// Ticks of processors by what they did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Modes {
    user: u64,
    system: u64,
    iowait: u64,
    steal: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) available: u64,
    pub(super) swap_total: u64,
    pub(super) swap_free: u64,
}

impl Counters {
    /// Share of all processors in use since `before`, 0 to 100.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 52 bits")]
    pub(super) fn busy_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        let busy = self.busy.saturating_sub(before.busy).min(all);
        if all == 0 { 0.0 } else { busy as f64 / all as f64 * 100.0 }
    }

    /// The same by what they did.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 52 bits")]
    pub(super) fn modes_since(&self, before: &Self) -> CpuModes {
        let all = self.all.saturating_sub(before.all);
        let share = |now: u64, then: u64| match all {
            0 => 0.0,
            all => now.saturating_sub(then).min(all) as f64 / all as f64 * 100.0,
        };
        let (now, then) = (&self.modes, &before.modes);
        CpuModes {
            user: share(now.user, then.user),
            system: share(now.system, then.system),
            iowait: share(now.iowait, then.iowait),
            steal: share(now.steal, then.steal),
        }
    }

    /// The sums that are told.
    #[expect(clippy::cast_precision_loss, reason = "hundredths of seconds of years fit")]
    pub(super) fn sums(&self) -> HostCounters {
        let (disk_read_bytes, disk_written_bytes) = disks();
        HostCounters {
            cpu_seconds: self.busy as f64 / TICKS,
            network_rx_bytes: self.received,
            network_tx_bytes: self.sent,
            disk_read_bytes,
            disk_written_bytes,
            oom_kills: number_in(&fs::read_to_string("/proc/vmstat").unwrap_or_default(), "oom_kill"),
        }
    }

    /// Bytes received and sent per second since `before`.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 52 bits")]
    pub(super) fn network_since(&self, before: &Self, seconds: f64) -> (f64, f64) {
        let rate =
            |now: u64, then: u64| if seconds > 0.0 { now.saturating_sub(then) as f64 / seconds } else { 0.0 };
        (rate(self.received, before.received), rate(self.sent, before.sent))
    }
}

/// The counters now.
pub(super) fn counters() -> Counters {
    let mut counters = processors(&fs::read_to_string("/proc/stat").unwrap_or_default());
    (counters.received, counters.sent) = network(&fs::read_to_string("/proc/net/dev").unwrap_or_default());
    counters
}

/// The memory now.
pub(super) fn memory() -> Memory {
    parse_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

/// Load averages over 1, 5 and 15 minutes.
pub(super) fn load() -> [f64; 3] {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut averages = text.split_whitespace().map(|word| word.parse().unwrap_or(0.0));
    std::array::from_fn(|_| averages.next().unwrap_or(0.0))
}

/// The network namespace of this process.
#[derive(Debug)]
pub(super) struct Namespace(Option<PathBuf>);

impl Namespace {
    pub(super) fn own() -> Self {
        Self(namespace("self"))
    }

    /// Bytes that a process's network received and sent; `None` if that is the network of the host, or it has ended.
    pub(super) fn network_of(&self, pid: &str) -> Option<(u64, u64)> {
        let theirs = namespace(pid).filter(|theirs| Some(theirs) != self.0.as_ref());
        theirs
            .and_then(|_| fs::read_to_string(format!("/proc/{pid}/net/dev")).ok())
            .map(|text| network(&text))
    }
}

/// The name of a process's network namespace.
fn namespace(pid: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// The pressure on processors, memory and disks; `None` where the kernel does not tell.
pub(super) fn pressure() -> Option<Pressure> {
    let read = |name: &str| fs::read_to_string(format!("/proc/pressure/{name}")).ok();
    let (cpu, memory, io) = (read("cpu")?, read("memory")?, read("io")?);
    Some(Pressure { cpu: stall(&cpu), memory: stall(&memory), io: stall(&io) })
}

/// `some avg10=1.5 avg60=…`, `full avg10=…`.
fn stall(text: &str) -> Stall {
    let share = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind));
        let share =
            line.and_then(|line| line.split_whitespace().find_map(|word| word.strip_prefix("avg10=")));
        share.and_then(|share| share.parse::<f64>().ok()).filter(|share| share.is_finite()).unwrap_or(0.0)
    };
    Stall { some: share("some"), full: share("full") }
}

/// Bytes read from and written to all disks.
fn disks() -> (u64, u64) {
    let whole = |name: &str| Path::new("/sys/block").join(name).exists();
    sectors(&fs::read_to_string("/proc/diskstats").unwrap_or_default(), whole)
}

/// Sectors are counted by disk: a partition by its disk, another disk by itself.
fn sectors(text: &str, is_whole: impl Fn(&str) -> bool) -> (u64, u64) {
    let made_up = |name: &str| ["loop", "ram", "zram", "dm-", "md"].iter().any(|kind| name.starts_with(kind));
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words.get(index)?.parse::<u64>().ok();
        let name = words.get(2).filter(|name| !made_up(name) && is_whole(name));
        name.and_then(|_| Some((number(5)?, number(9)?)))
    };
    let sum = text
        .lines()
        .filter_map(line)
        .fold((0_u64, 0_u64), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)));
    (sum.0.saturating_mul(SECTOR), sum.1.saturating_mul(SECTOR))
}

/// The number behind `name` in lines of `name number`; 0 without one.
fn number_in(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// user, nice, system, idle, iowait, irq, softirq, steal; what guests use is in user already.
fn processors(text: &str) -> Counters {
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().take(8).map(|word| word.parse().unwrap_or(0)).collect();
    let all: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    let tick = |index: usize| ticks.get(index).copied().unwrap_or(0);
    let modes = Modes {
        user: tick(0).saturating_add(tick(1)),
        system: tick(2).saturating_add(tick(5)).saturating_add(tick(6)),
        iowait: tick(4),
        steal: tick(7),
    };
    Counters { busy: all.saturating_sub(idle), all, modes, ..Counters::default() }
}

/// Bytes over all interfaces but loopback and those of containers, whose bytes the real ones count again.
fn network(text: &str) -> (u64, u64) {
    let virtual_one =
        |name: &str| ["lo", "veth", "docker", "br-"].iter().any(|prefix| name.starts_with(prefix));
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let words: Vec<u64> = rest.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
        (!virtual_one(name.trim()))
            .then(|| (words.first().copied().unwrap_or(0), words.get(8).copied().unwrap_or(0)))
    };
    text.lines().filter_map(line).fold((0, 0), |sum, bytes| (sum.0 + bytes.0, sum.1 + bytes.1))
}

fn parse_memory(text: &str) -> Memory {
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let bytes = |name: &str| kib(name).saturating_mul(1024);
    Memory {
        total: bytes("MemTotal"),
        available: bytes("MemAvailable"),
        swap_total: bytes("SwapTotal"),
        swap_free: bytes("SwapFree"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        let before = processors("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\n");
        let after = processors("cpu  150 0 150 800 100 0 0 0 50 0\n");
        assert!((after.busy_since(&before) - 50.0).abs() < 0.01);
        assert_eq!(before.busy_since(&after), 0.0, "counters that fell are no share");
        let text = "Inter-|\n face |\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 1000 1 0 0 0 0 0 0 500 1\nveth1: 7 0 0 0 0 0 0 0 7 0\n";
        assert_eq!(network(text), (1000, 500));
        let modes = after.modes_since(&before);
        assert_eq!(modes, CpuModes { user: 25.0, system: 25.0, iowait: 0.0, steal: 0.0 });
        let text =
            "MemTotal: 2048 kB\nMemFree: 1 kB\nMemAvailable: 1024 kB\nSwapTotal: 4 kB\nSwapFree: 3 kB\n";
        let memory = parse_memory(text);
        let want = Memory { total: 2 << 20, available: 1 << 20, swap_total: 4096, swap_free: 3072 };
        assert_eq!(memory, want);
        assert_eq!(parse_memory("nonsense"), Memory::default());
        let text = "   8       0 sda 1 0 10 0 1 0 4 0 0 0 0\n   8       1 sda1 1 0 10 0 1 0 4 0 0 0 0\n   7 0 loop0 1 0 9 0 1 0 9 0\n";
        assert_eq!(sectors(text, |name| name == "sda" || name == "loop0"), (5120, 2048));
        let text = "some avg10=1.50 avg60=0.10 avg300=0.00 total=5\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(stall(text), Stall { some: 1.5, full: 0.25 });
        assert_eq!(stall("some avg10=NaN"), Stall::default());
        assert_eq!(number_in("oom_kill_x 4\noom_kill 3\n", "oom_kill"), 3);
    }
}
