//! Counters of the kernel: processors, memory, load, network.

use std::fs;

/// What only counts upwards.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counters {
    busy: u64,
    all: u64,
    received: u64,
    sent: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) available: u64,
}

impl Counters {
    /// Share of all processors in use since `before`, 0 to 100.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 52 bits")]
    pub(super) fn busy_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        let busy = self.busy.saturating_sub(before.busy).min(all);
        if all == 0 { 0.0 } else { busy as f64 / all as f64 * 100.0 }
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

/// user, nice, system, idle, iowait, irq, softirq, steal; what guests use is in user already.
fn processors(text: &str) -> Counters {
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().take(8).map(|word| word.parse().unwrap_or(0)).collect();
    let all: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Counters { busy: all.saturating_sub(idle), all, ..Counters::default() }
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
    Memory { total: kib("MemTotal") * 1024, available: kib("MemAvailable") * 1024 }
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
        let memory = parse_memory("MemTotal:       2048 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\n");
        assert_eq!(memory, Memory { total: 2 << 20, available: 1 << 20 });
        assert_eq!(parse_memory("nonsense"), Memory::default());
    }
}
