//! Traces of peers beside their calls: lines of the log, cut connections, entries of the audit log. All of them are bounded, and
//! the omitted ones are counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use windlass_core::Timestamp;
use windlass_core::quota::{Notices, Quotas, Rate};

use crate::metrics::{Dropped, Metrics};

/// Lines of one address or host, and of all together.
const LINES: Rate = Rate::new(8, Duration::from_secs(10));
const ALL_LINES: Rate = Rate::new(256, Duration::from_millis(500));
/// Refused calls of one address or member before its connection is cut.
const DENIED: Rate = Rate::new(256, Duration::from_secs(1));
/// Calls that write something down, of one identity and method: of an admin of the fleet, who may add thousands of hosts
/// with a script, and of all others.
const WRITES: [Rate; 2] =
    [Rate::new(6000, Duration::from_millis(250)), Rate::new(240, Duration::from_secs(1))];
/// Addresses, hosts and operators that are remembered.
const REMEMBERED: usize = 4096;
/// Time between two lines about omitted ones, and the number of them by name.
const TELL: Duration = Duration::from_secs(30);
const NAMED: usize = 8;

/// Allowances of peers. Clones share them.
#[derive(Clone)]
pub(crate) struct Peers {
    inner: Arc<Mutex<Inner>>,
    started: Instant,
    metrics: Metrics,
}

struct Inner {
    lines: Notices<String>,
    denied: Quotas<String>,
    writes: [Quotas<(String, String)>; 2],
}

impl Peers {
    /// Nobody has done anything yet.
    pub(crate) fn new(metrics: Metrics) -> Self {
        let inner = Inner {
            lines: Notices::new(LINES, ALL_LINES, REMEMBERED),
            denied: Quotas::new(DENIED, REMEMBERED),
            writes: WRITES.map(|rate| Quotas::new(rate, REMEMBERED)),
        };
        Self { inner: Arc::new(Mutex::new(inner)), started: Instant::now(), metrics }
    }

    /// Writes a line that `who` (an address, or a member's name) has caused, if it has not caused many.
    pub(crate) fn log_limited(&self, who: &str, write: impl FnOnce()) {
        let now = self.now();
        let told = self.lock().lines.note(&who.to_owned(), now);
        match told {
            Some(more) => {
                write();
                if more > 0 {
                    tracing::info!("and {more} more from {who}");
                }
            }
            None => self.metrics.dropped(Dropped::Line),
        }
    }

    /// `who` was refused a call. Whether it has been often enough for its connection to be cut.
    pub(crate) fn denied(&self, who: &str) -> bool {
        let now = self.now();
        let cut = self.lock().denied.take(&who.to_owned(), now).is_err();
        if cut {
            self.metrics.dropped(Dropped::Connection);
        }
        cut
    }

    /// Whether `who` may write something down with `method` once more.
    pub(crate) fn may_write(&self, who: &str, is_admin: bool, method: &str) -> bool {
        let (now, kind) = (self.now(), usize::from(!is_admin));
        let may = self.lock().writes[kind].take(&(who.to_owned(), method.to_owned()), now).is_ok();
        if !may {
            self.metrics.dropped(Dropped::Write);
        }
        may
    }

    /// Says from time to time what was left out, until `cancel`.
    pub(crate) async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(TELL) => self.log_rest(),
            }
        }
    }

    fn log_rest(&self) {
        let (by_name, others) = self.lock().lines.untold(NAMED);
        for (who, count) in by_name {
            tracing::info!("and {count} more from {who}");
        }
        if others > 0 {
            tracing::info!("and {others} more from others");
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_causes_few_lines_and_its_connection_ends() {
        let peers = Peers::new(Metrics::default());
        let mut lines = 0;
        (0..1000).for_each(|_| peers.log_limited("10.0.0.1", || lines += 1));
        assert!((8..12).contains(&lines), "{lines}");
        peers.log_limited("10.0.0.2", || lines += 100);
        assert!(lines > 100, "another one is heard");
        let cut = (0..400).filter(|_| peers.denied("10.0.0.1")).count();
        assert!((130..=144).contains(&cut), "{cut}");
        let wrote = (0..1000).filter(|_| peers.may_write("operator/bob", false, "Renew")).count();
        assert!((240..250).contains(&wrote), "{wrote}");
        assert!(peers.may_write("operator/bob", false, "Rollback"));
        assert!((0..5000).all(|_| peers.may_write("operator/alice", true, "CreateHostToken")));
        let text = peers.metrics.render(String::new());
        assert!(text.contains("windlass_dropped_total{what=\"line\"} 99"), "{text}");
    }
}
