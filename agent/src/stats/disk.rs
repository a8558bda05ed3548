//! The disk that holds the engine's data.

use std::path::Path;

use sysinfo::{DiskRefreshKind, Disks};

/// Where an engine keeps its data unless it is told otherwise.
pub const USUAL_ROOT: &str = "/var/lib/docker";

/// Size and free bytes of the disk that holds `folder`; `None` if it is not known.
pub fn of(folder: &str) -> Option<(u64, u64)> {
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage()).ok()?;
    let holds = disks.iter().filter(|disk| Path::new(folder).starts_with(disk.mount_point()));
    let disk = holds.max_by_key(|disk| disk.mount_point().as_os_str().len())?;
    Some((disk.total_space(), disk.available_space()))
}
