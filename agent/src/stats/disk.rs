//! The disk that holds the engine's data.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Where an engine keeps its data unless it is told otherwise.
const USUAL_ROOT: &str = "/var/lib/docker";

/// Where the engine keeps its data, as it said last; empty before. A fact of the machine, like its disks.
static ROOT: Mutex<String> = Mutex::new(String::new());

/// Space on a disk, in bytes, as `df` counts it: what is reserved for root is neither used nor free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// In use.
    pub used: u64,
    /// What may still be written.
    pub free: u64,
}

impl Space {
    /// From counts of blocks, each of `size` bytes: all, free, free for everybody.
    const fn of_blocks(size: u64, all: u64, free: u64, available: u64) -> Self {
        Self { used: all.saturating_sub(free).saturating_mul(size), free: available.saturating_mul(size) }
    }

    /// What can be used in all.
    pub const fn total(self) -> u64 {
        self.used.saturating_add(self.free)
    }
}

/// Remembers where the engine says that it keeps its data.
pub fn found_at(root: &str) {
    root.clone_into(&mut ROOT.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Space on the disk that holds the engine's data; `None` if it is not known.
pub fn engine() -> Option<Space> {
    let root = ROOT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    of(Path::new(if root.is_empty() { USUAL_ROOT } else { &root }))
}

/// Space on the disk that holds `folder`. Where the folder cannot be seen, as in a container, the nearest one
/// above it answers: a container's own files lie on that disk too.
fn of(folder: &Path) -> Option<Space> {
    let seen = folder.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    Some(Space::of_blocks(seen.f_frsize, seen.f_blocks, seen.f_bfree, seen.f_bavail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_not_used() {
        // 1000 blocks: 400 used, 250 reserved for root, 350 for everybody.
        let space = Space::of_blocks(4096, 1000, 600, 350);
        assert_eq!(space, Space { used: 400 * 4096, free: 350 * 4096 });
        assert_eq!(space.used * 100 / space.total(), 53, "as df says, and not 65");
    }

    #[test]
    fn a_folder_that_is_not_there_is_on_the_disk_of_the_one_above() {
        let here = tempfile::tempdir().unwrap();
        let missing = of(&here.path().join("not/there")).unwrap();
        let (total, above) = (missing.total(), of(here.path()).unwrap().total());
        // Others write meanwhile; the size of the disk stays about the same.
        assert!(total > 0 && total.abs_diff(above) < above / 10, "{total} {above}");
    }
}
