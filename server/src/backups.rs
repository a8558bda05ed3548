//! The task that copies the store beside it: shortly after the start and every six hours or as configured, the newest
//! four are kept. They are what `windlass-server store import` restores when a disk went bad but not dead; copy them to
//! another machine for the rest.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use windlass_certs::files::{self, create_private_dir};
use windlass_core::Timestamp;

use crate::authority::Authority;
use crate::crash::Point;
use crate::ledger::{Ledger, WriteError};
use crate::store::Entry;
use crate::store::dump::{self, Sealer};

/// The first one comes after this, or after the interval if that is shorter.
const FIRST: Duration = Duration::from_secs(60);
const KEPT: usize = 4;
const PREFIX: &str = "store-";
/// Ending of a backup that is not whole yet.
const UNFINISHED: &str = "unfinished";

/// Until `cancel`. A backup that fails is logged, and tried again next time.
pub(crate) async fn run(
    data: PathBuf,
    every: Duration,
    ledger: Ledger,
    authority: Authority,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let mut wait = FIRST.min(every);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = sleep(wait) => wait = every,
        }
        let entries = match ledger.snapshot().await {
            Ok(entries) => entries,
            Err(WriteError::Stopping) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (folder, now) = (data.join("backups"), ledger.now());
        let sealer = authority.sealer(now);
        let written =
            tokio::task::spawn_blocking(move || write(&folder, entries, now, Some(&sealer))).await?;
        match written {
            Ok(path) => tracing::info!(path = %path.display(), "wrote a backup of the store"),
            Err(error) => tracing::error!(error = %format!("{error:#}"), "failed to back the store up"),
        }
    }
}

fn write(
    folder: &Path,
    entries: Vec<Entry>,
    now: Timestamp,
    sealer: Option<&Sealer>,
) -> anyhow::Result<PathBuf> {
    create_private_dir(folder)?;
    forget_unfinished(folder)?;
    let path = folder.join(format!("{PREFIX}{}.jsonl", now.as_millis()));
    // Under another name until it is whole.
    let unfinished = path.with_extension(UNFINISHED);
    Point::BackupBegun.pass();
    let mut out = BufWriter::new(files::begin_secret(&unfinished)?);
    dump::write(entries, &mut out, sealer)?;
    out.flush()?;
    Point::BackupWritten.pass();
    out.get_ref().sync_all()?;
    Point::BackupSynced.pass();
    fs::rename(&unfinished, &path)?;
    File::open(folder)?.sync_all()?;
    Point::BackupPlaced.pass();
    forget(folder)?;
    Point::BackupForgotten.pass();
    Ok(path)
}

/// The newest backup in `folder`, if there is one.
pub(crate) fn newest(folder: &Path) -> Option<PathBuf> {
    let mut names = names(folder).ok()?;
    names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "jsonl"));
    names.into_iter().max().map(|name| folder.join(name))
}

/// When a backup was written, and its size.
pub(crate) fn of(path: &Path) -> Option<(Timestamp, u64)> {
    let millis = path.file_stem()?.to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
    Some((Timestamp::from_millis(millis), fs::metadata(path).ok()?.len()))
}

/// Removes what a coordinator that died left of a backup: it is none.
fn forget_unfinished(folder: &Path) -> std::io::Result<()> {
    for name in names(folder)? {
        if Path::new(&name).extension().is_some_and(|extension| extension == UNFINISHED) {
            fs::remove_file(folder.join(name))?;
        }
    }
    Ok(())
}

/// Removes all but the newest.
fn forget(folder: &Path) -> std::io::Result<()> {
    let mut names = names(folder)?;
    // Milliseconds have 13 digits until the year 2286, so that the order of names is that of time.
    names.sort_unstable();
    let surplus = names.len().saturating_sub(KEPT);
    names.iter().take(surplus).try_for_each(|name| fs::remove_file(folder.join(name)))
}

fn names(folder: &Path) -> std::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn the_newest_four_are_kept_and_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..6 {
            fs::write(folder.path().join(format!("{PREFIX}100000000000{n}.jsonl")), "old").unwrap();
        }
        let entry = Entry { key: "a".to_owned(), value: b"1".to_vec(), revision: 1 };
        let path = write(folder.path(), vec![entry], crate::clock::Clock::system().now(), None).unwrap();
        assert_eq!(newest(folder.path()), Some(path.clone()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEPT);
        let mut input = std::io::BufReader::new(File::open(path).unwrap());
        assert_eq!(dump::import(&MemoryStore::new(), &mut input).await.unwrap(), 1);
    }

    #[test]
    fn one_that_a_crash_cut_off_counts_as_none_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["store-1000000000001.jsonl", "store-1000000000002.jsonl", "store-1000000000003.jsonl"] {
            fs::write(folder.path().join(name), "old").unwrap();
        }
        for name in ["store-1000000000004.unfinished", "store-1000000000005.unfinished"] {
            fs::write(folder.path().join(name), "half").unwrap();
        }
        write(folder.path(), Vec::new(), Timestamp::from_millis(1_000_000_000_006), None).unwrap();
        let left = names(folder.path()).unwrap();
        assert_eq!(left.len(), KEPT, "{left:?}");
        assert!(left.contains(&"store-1000000000001.jsonl".into()), "no whole one had to go: {left:?}");
    }
}
