//! Medians, ratios and what the kernel says of a process.

use std::fs;
use std::time::Duration;

use anyhow::Result;
pub(crate) use windlass_tests::process::cpu_seconds;
use windlass_tests::process::resident_kib;

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

/// The value below which `share` (0 to 1) of the values are.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index"
)]
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).ceil() as usize).copied().unwrap_or(f64::NAN)
}

/// One row of `docs/benchmarks.md`: what, measured, beside what.
pub(crate) fn row(what: &str, measured: &str, beside: &str) {
    println!("| {what} | {measured} | {beside} |");
}

/// Median, smallest and largest of some seconds.
pub(crate) fn seconds(values: &[f64]) -> String {
    let (low, high) = (percentile(values, 0.0), percentile(values, 1.0));
    format!("{:.2} s ({low:.2} to {high:.2})", median(values))
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
#[expect(clippy::cast_precision_loss, reason = "some gigabytes at most")]
pub(crate) fn resident_mb(pid: u32) -> Result<f64> {
    Ok(resident_kib(pid)? as f64 * 1024.0 / 1e6)
}

/// Share of a core, in per cent, that `cpu` seconds are of `over`.
pub(crate) fn share(cpu: f64, over: Duration) -> f64 {
    100.0 * cpu / over.as_secs_f64()
}
