//! This process, from `/proc/self`.

use std::fmt;
use std::fs;

use super::out::{Out, count, number};

/// Ticks of a second, as the kernel counts for programs on every platform that we run on.
const TICKS: f64 = 100.0;

pub(super) fn write(out: &mut Out<'_>) -> fmt::Result {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program may have spaces and brackets: what counts stands behind the last one.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<u64> = rest.split_whitespace().skip(1).map(|word| word.parse().unwrap_or(0)).collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or(0);
    let ticks = number(field(10).saturating_add(field(11)));
    let none: [(&str, &str); 0] = [];
    out.counter("process_cpu_seconds", "Processor time of this process", [(none, ticks / TICKS)])?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    out.one("process_resident_memory_bytes", "Memory of this process", kib(&status, "VmRSS"))?;
    out.one("process_virtual_memory_bytes", "Address space of this process", kib(&status, "VmSize"))?;
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    out.one("process_open_fds", "Descriptors that are open", count(open))?;
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    out.one("process_max_fds", "Descriptors that may be open", most.map_or(f64::INFINITY, number))?;
    let booted = fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = booted.lines().find_map(|line| line.strip_prefix("btime ")?.parse().ok()).unwrap_or(0);
    let started = number(booted) + number(field(18)) / TICKS;
    out.one("process_start_time_seconds", "When this process started, since the epoch", started)
}

fn kib(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
    number(kib.saturating_mul(1024))
}
