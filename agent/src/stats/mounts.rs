//! The fill of the file systems on disks of their own. A mount that hangs is asked aside: the last known fill stands, with
//! the time since which it does not answer.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::host::{DiskStats, HostStats, Silent};
use windlass_process::aside::Aside;

use crate::clock;

/// Time between two looks; they fill slowly.
const EVERY: Duration = Duration::from_secs(30);
/// The longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most of one host.
const MOST: usize = 32;
/// Images that are mounted read-only are always full.
const FULL: [&str; 3] = ["squashfs", "iso9660", "erofs"];

/// The known file systems.
#[derive(Debug)]
pub(super) struct Mounts {
    aside: Aside,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    asked: Option<Instant>,
    disks: Vec<DiskStats>,
    silent: Option<Silent>,
}

impl Default for Mounts {
    fn default() -> Self {
        Self { aside: Aside::new("file systems", 1), known: Mutex::default() }
    }
}

impl Mounts {
    /// Asks all of them, if it is time.
    pub(super) async fn look(&self) {
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.asked.is_some_and(|at| at.elapsed() < EVERY) {
                return;
            }
            known.asked = Some(Instant::now());
        }
        let answer = self.aside.call("file systems", PATIENCE, measure).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(disks) => (known.disks, known.silent) = (disks, None),
            Err(error) if known.silent.is_none() => {
                let what = "file systems".to_owned();
                known.silent = Some(Silent { what, since: clock::now(), why: error.to_string() });
            }
            Err(_) => {}
        }
    }

    /// Adds what is known.
    pub(super) fn fill(&self, stats: &mut HostStats) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        stats.disks.clone_from(&known.disks);
        stats.silent.extend(known.silent.clone());
    }
}

fn measure() -> Vec<DiskStats> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts(&text).into_iter().take(MOST).filter_map(space).collect()
}

fn space(mount: String) -> Option<DiskStats> {
    let seen = rustix::fs::statvfs(mount.as_str()).ok()?;
    let used = seen.f_blocks.saturating_sub(seen.f_bfree);
    Some(DiskStats {
        mount,
        used: used.saturating_mul(seen.f_frsize),
        total: used.saturating_add(seen.f_bavail).saturating_mul(seen.f_frsize),
        inodes_used: seen.f_files.saturating_sub(seen.f_ffree),
        inodes_total: seen.f_files,
    })
}

/// The mount point of each file system on a disk, the shortest path of each; the root, whatever it lies on.
fn mounts(text: &str) -> Vec<String> {
    let mut found: BTreeMap<&str, String> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(' ').skip(2);
        let (Some(device), Some(path)) = (words.next(), words.nth(1)) else { continue };
        let mut words = words.skip_while(|word| *word != "-").skip(1);
        let (Some(kind), Some(source)) = (words.next(), words.next()) else { continue };
        let path = unescape(path);
        let is_disk = source.starts_with("/dev/") || kind == "zfs";
        if (is_disk && !FULL.contains(&kind)) || path == "/" {
            let shortest = found.entry(device).or_insert_with(|| path.clone());
            if path.len() < shortest.len() {
                *shortest = path;
            }
        }
    }
    let mut paths: Vec<String> = found.into_values().collect();
    paths.sort();
    paths
}

/// A space in a path stands there as `\040`.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disk_is_told_once() {
        let text = "22 1 0:30 / / rw - overlay overlay rw\n\
                    25 22 8:1 /etc/hosts /etc/hosts rw shared:1 - ext4 /dev/sda1 rw\n\
                    26 22 8:1 / /data rw shared:1 - ext4 /dev/sda1 rw\n\
                    27 22 0:5 / /proc rw - proc proc rw\n\
                    28 22 7:1 / /snap/core ro - squashfs /dev/loop1 ro\n\
                    29 22 8:16 / /big\\040disk rw - xfs /dev/sdb rw\n\
                    30 22 0:44 / /mnt/nas rw - nfs4 nas:/export rw\nnonsense\n";
        assert_eq!(mounts(text), ["/", "/big disk", "/data"]);
    }

    #[tokio::test]
    async fn the_disks_of_this_machine_are_measured() {
        let mounts = Mounts::default();
        mounts.look().await;
        let mut stats = HostStats::default();
        mounts.fill(&mut stats);
        let root = stats.disks.iter().find(|disk| disk.mount == "/").unwrap();
        assert!(root.total > 0 && root.used <= root.total, "{root:?}");
        assert!(stats.silent.is_empty());
    }
}
