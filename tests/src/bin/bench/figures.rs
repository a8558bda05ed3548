//! Medians, ratios and what the kernel says of a process.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// One line about the machine.
pub(crate) fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!("machine: {cpus} processors, kernel {}, load {load} at the start", kernel.trim())
}

/// The middle value; of an even number, the lower of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// Prints both sides and the ratio of each pair.
pub(crate) fn print_pairs(name: &str, peer: &str, ours: &[f64], theirs: &[f64], goal: f64) {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    let range = |v: &[f64]| {
        let (low, high) = v.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
        format!("{low:.2} to {high:.2}")
    };
    println!(
        "{name}: windlass {:.2} s ({}), {peer} {:.2} s ({}), ratio {:.2} ({}), goal at most {goal:.2}, {} pairs",
        median(ours),
        range(ours),
        median(theirs),
        range(theirs),
        median(&ratios),
        range(&ratios),
        ratios.len(),
    );
}

/// Resident memory of a process in MB (10⁶ bytes).
pub(crate) fn resident_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}

/// Processor time a process has used, in seconds. `proc(5)`: fields 14 and 15 in ticks of 10 ms.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit_once(')').context("no name")?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}

/// Share of a core, in per cent, that `cpu` seconds are of `over`.
pub(crate) fn share(cpu: f64, over: Duration) -> f64 {
    100.0 * cpu / over.as_secs_f64()
}
