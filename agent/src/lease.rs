//! The time for which an instance that may never run twice may run here without the coordinator.
//!
//! A lease is renewed by heartbeats that the coordinator *acknowledged*, as of the moment they were sent: what comes
//! from a coordinator that hears nothing of us renews nothing. It is measured since the boot of the host, suspension
//! included, by a clock that nobody sets. It is kept in a file, so that an agent that was restarted neither extends
//! it nor stops what may run; with another boot it is over.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_core::reconcile::Desired;

/// Heartbeats on their way that are remembered; the oldest goes first.
const IN_FLIGHT: usize = 32;
const MAX_LEN: u64 = 4096;

/// A sign of life of the coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// When, since the boot of this host: when the heartbeat that was acknowledged was sent.
    pub at: Duration,
    /// The newest plan it had for us then; `None` if nothing was acknowledged, which renews no lease.
    pub seq: Option<u64>,
}

/// Time since the boot of this host, suspension included; `None` if the kernel does not say.
pub fn uptime() -> Option<Duration> {
    let now = clock_gettime(ClockId::Boottime);
    Some(Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?))
}

fn boot() -> Option<String> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    BOOT.get_or_init(|| Some(read()?.trim().to_owned())).clone()
}

/// Keeps the newest contact for an agent after this one while anything exclusive may run. Beside the link, which does
/// not wait for a disk: a lease that is written late, or never, ends sooner for whoever reads it.
pub async fn keep(
    file: LeaseFile,
    mut contact: watch::Receiver<Option<Contact>>,
    desired: watch::Receiver<Arc<Desired>>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            changed = contact.changed() => changed?, // error: the link has gone
        }
        // An unacknowledged heartbeat renews no lease.
        let Some(Contact { at, seq: Some(_) }) = *contact.borrow_and_update() else { continue };
        if !desired.borrow().releases.values().any(|release| release.release.spec.exclusive) {
            continue;
        }
        let file = file.clone();
        let kept = tokio::task::spawn_blocking(move || file.keep(at)).await;
        if let Ok(Err(error)) = kept {
            // After a restart of this agent what it runs exclusively stops, and starts again once it is heard.
            tracing::warn!(%error, "the lease of exclusive instances could not be written");
        }
    }
}

/// Heartbeats of one stream, until they are acknowledged.
#[derive(Debug, Default)]
pub struct Beats {
    last: u64,
    in_flight: VecDeque<(u64, Duration)>,
}

impl Beats {
    /// Numbers the next one, which is sent not before `at`.
    pub fn next(&mut self, at: Option<Duration>) -> u64 {
        self.last += 1;
        self.in_flight.extend(at.map(|at| (self.last, at)));
        while self.in_flight.len() > IN_FLIGHT {
            self.in_flight.pop_front();
        }
        self.last
    }

    /// When the one that is acknowledged was sent, if it was sent on this stream.
    pub fn acknowledged(&mut self, number: u64) -> Option<Duration> {
        let (_, at) = self.in_flight.iter().copied().find(|(sent, _)| *sent == number)?;
        self.in_flight.retain(|(sent, _)| *sent > number);
        Some(at)
    }
}

/// The file in which a lease outlives its agent.
#[derive(Debug, Clone)]
pub struct LeaseFile(PathBuf);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    boot: String,
    at_ms: u64,
}

impl LeaseFile {
    /// In this file.
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Keeps a lease. Not synced: what a crash of the host loses is over with its boot anyway.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, at: Duration) -> std::io::Result<()> {
        let Some(boot) = boot() else { return Ok(()) };
        let written = Written { boot, at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX) };
        let beside = self.0.with_extension("tmp");
        std::fs::write(&beside, serde_json::to_vec(&written)?)?;
        std::fs::rename(beside, &self.0)
    }

    /// Loads the contact that an earlier agent kept in this boot. It does not tell which plan is the newest. A file that cannot be
    /// read is no lease.
    pub fn load(&self) -> Option<Contact> {
        let (at, boot) = (uptime()?, boot()?);
        read(&self.0, &boot).filter(|kept| *kept <= at).map(|at| Contact { at, seq: Some(u64::MAX) })
    }
}

fn read(path: &Path, boot: &str) -> Option<Duration> {
    let written: Written = serde_json::from_slice(&crate::data::read_bounded(path, MAX_LEN).ok()?).ok()?;
    (written.boot == boot).then(|| Duration::from_millis(written.at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_acknowledged_counts_and_as_of_when_it_was_sent() {
        let at = Duration::from_secs;
        let mut beats = Beats::default();
        let [one, two, three] = [1, 2, 3].map(|second| beats.next(Some(at(second))));
        assert_eq!(beats.acknowledged(two), Some(at(2)));
        assert_eq!(beats.acknowledged(one), None, "an older one says less");
        assert_eq!(beats.acknowledged(99), None, "that was never sent");
        assert_eq!(beats.acknowledged(three), Some(at(3)));
        assert_eq!(beats.acknowledged(three), None, "once");
        let unclear = beats.next(None);
        assert_eq!(beats.acknowledged(unclear), None, "without a clock there is no lease");
        let first = beats.next(Some(at(9)));
        assert!((0..1000).all(|_| beats.next(Some(at(10))) > first));
        assert_eq!(beats.acknowledged(first), None, "what is in flight is bounded");
    }

    #[test]
    fn a_lease_outlives_the_agent_and_not_the_boot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease.json");
        let file = LeaseFile::new(path.clone());
        assert_eq!(file.load(), None, "there is none");
        let now = uptime().unwrap();
        file.keep(now).unwrap();
        let loaded = file.load().unwrap();
        assert_eq!((loaded.at.as_millis(), loaded.seq), (now.as_millis(), Some(u64::MAX)));
        assert_eq!(read(&path, "another boot"), None);
        file.keep(now + Duration::from_secs(3600)).unwrap();
        assert_eq!(file.load(), None, "from a time to come: it is not believed");
        std::fs::write(&path, b"{\"boot\":").unwrap();
        assert_eq!(file.load(), None, "what cannot be read is no lease");
    }
}
