//! What the host has: the disk below the engine, and when it was booted.

use std::path::Path;

use sysinfo::{DiskRefreshKind, Disks};
use windlass_core::Timestamp;

/// Size and free bytes of the disk that holds `folder`; `None` if it is not known.
pub(super) fn disk(folder: &str) -> Option<(u64, u64)> {
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage()).ok()?;
    let holds = disks.iter().filter(|disk| Path::new(folder).starts_with(disk.mount_point()));
    let disk = holds.max_by_key(|disk| disk.mount_point().as_os_str().len())?;
    Some((disk.total_space(), disk.available_space()))
}

/// When the kernel started: whatever ended before was not its own fault.
pub(super) fn booted_at() -> Timestamp {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<i64>().ok());
    Timestamp::from_millis(seconds.unwrap_or(0).saturating_mul(1000))
}
