//! The disk that holds the engine's data.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use windlass_core::host::Silent;
use windlass_process::aside::{Aside, Unanswered};

use crate::clock;

/// The usual folder of an engine's data.
const USUAL_ROOT: &str = "/var/lib/docker";

/// The longest time that a caller which cannot await waits for the engine's disk.
const PATIENCE: Duration = Duration::from_millis(300);

/// Disks that are asked at a time.
static DISKS: LazyLock<Aside> = LazyLock::new(|| Aside::new("disk", 4));
/// The disk of the engine's data. A fact of the machine.
static ENGINE: Mutex<Known> = Mutex::new(Known { root: String::new(), space: None, silent: None });

/// The known state of the disk.
#[derive(Debug, Default)]
struct Known {
    /// The folder of the engine's data, as it said last; empty before.
    root: String,
    space: Option<Space>,
    silent: Option<Silent>,
}

/// Space on a disk, in bytes, as `df` counts it: what is reserved for root is neither used nor free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// In use.
    pub used: u64,
    /// Bytes that may still be written.
    pub free: u64,
    /// Which disk it is.
    pub disk: u64,
}

impl Space {
    /// From counts of blocks, each of `size` bytes: all, free, free for everybody.
    const fn of_blocks(size: u64, all: u64, free: u64, available: u64) -> Self {
        let used = all.saturating_sub(free).saturating_mul(size);
        Self { used, free: available.saturating_mul(size), disk: 0 }
    }

    /// Bytes that can be used in all.
    pub const fn total(self) -> u64 {
        self.used.saturating_add(self.free)
    }
}

/// Remembers where the engine says that it keeps its data.
pub fn found_at(root: &str) {
    let mut known = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    if known.root != root {
        *known = Known { root: root.to_owned(), ..Known::default() };
    }
}

/// Space on the disk that holds the engine's data as it was last told; `None` if it is not known.
pub fn engine() -> Option<Space> {
    ENGINE.lock().unwrap_or_else(PoisonError::into_inner).space
}

/// Since when that disk has not answered, if it does not.
pub fn silent() -> Option<Silent> {
    ENGINE.lock().unwrap_or_else(PoisonError::into_inner).silent.clone()
}

/// Asks that disk. One that does not answer is waited for once, for a moment; while it hangs it is not asked again.
pub fn look() {
    let root = ENGINE.lock().unwrap_or_else(PoisonError::into_inner).root.clone();
    let path = PathBuf::from(if root.is_empty() { USUAL_ROOT } else { &root });
    let name = path.to_string_lossy().into_owned();
    let space = DISKS.call_here(&name, PATIENCE, move || measure(&path));
    let mut known = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    if known.root != root {
        return; // it has moved meanwhile
    }
    match space {
        Ok(space) => (known.space, known.silent) = (space, None),
        Err(error) if known.silent.is_none() => {
            tracing::warn!(root, %error, "the disk of the engine's data does not say how full it is");
            let what = "disk of the engine's data".to_owned();
            known.silent = Some(Silent { what, since: clock::now(), why: error.to_string() });
        }
        Err(_) => {}
    }
}

/// Space on the disk that holds `folder`. Where the folder cannot be seen, as in a container, the nearest one
/// above it answers: a container's own files lie on that disk too.
///
/// # Errors
/// The disk has not answered within `patience`: a mount whose server is gone never does.
pub async fn of(folder: PathBuf, patience: Duration) -> Result<Option<Space>, Unanswered> {
    let name = folder.to_string_lossy().into_owned();
    DISKS.call(&name, patience, move || measure(&folder)).await
}

fn measure(folder: &Path) -> Option<Space> {
    let seen = folder.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    Some(Space {
        disk: seen.f_fsid,
        ..Space::of_blocks(seen.f_frsize, seen.f_blocks, seen.f_bfree, seen.f_bavail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_not_used() {
        // 1000 blocks: 400 used, 250 reserved for root, 350 for everybody.
        let space = Space::of_blocks(4096, 1000, 600, 350);
        assert_eq!(space, Space { used: 400 * 4096, free: 350 * 4096, disk: 0 });
        assert_eq!(space.used * 100 / space.total(), 53, "as df says, and not 65");
    }

    #[test]
    fn a_folder_that_is_not_there_is_on_the_disk_of_the_one_above() {
        let here = tempfile::tempdir().unwrap();
        let missing = measure(&here.path().join("not/there")).unwrap();
        let (total, above) = (missing.total(), measure(here.path()).unwrap().total());
        // Others write meanwhile; the size of the disk stays about the same.
        assert!(total > 0 && total.abs_diff(above) < above / 10, "{total} {above}");
    }
}
