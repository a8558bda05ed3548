//! When this host was booted.

use windlass_core::Timestamp;

/// When the kernel started: whatever ended before was not its own fault.
pub(super) fn booted_at() -> Timestamp {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<i64>().ok());
    Timestamp::from_millis(seconds.unwrap_or(0).saturating_mul(1000))
}
