//! The contents of an engine in memory, and the logs that are read of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windlass_core::Digest;
use windlass_core::reconcile::{Container, LocalImage};

use crate::runtime::{HostBinds, LogLine, Networks, PullError, RuntimeError};

/// The contents of an engine in memory, and how it is to behave.
#[derive(Debug, Default)]
pub struct World {
    /// It is away, so that nobody can connect.
    pub down: bool,
    /// It hangs, and answers nothing until it goes on.
    pub hung: bool,
    /// Containers over which it hangs, by instance, whoever inspects them.
    pub stuck: BTreeSet<String>,
    /// Its containers by id.
    pub containers: BTreeMap<String, Container>,
    /// Binds of its containers, and volumes that are binds; `is_up` is told from the container.
    pub binds: HostBinds,
    /// Folders of named volumes.
    pub folders: BTreeMap<String, PathBuf>,
    /// Its images.
    pub images: BTreeMap<Digest, LocalImage>,
    /// Its inner networks, and the addresses of its others.
    pub networks: Networks,
    /// It lets nobody list them.
    pub hides_networks: bool,
    /// Images that are held.
    pub held: BTreeSet<Digest>,
    /// Its orders, the oldest first: `launch production.web.0.r1.1`.
    pub journal: Vec<String>,
    /// Outcomes of the next pulls, the first first; success when empty.
    pub pulls: VecDeque<PullError>,
    /// Outcomes of the next starts.
    pub starts: VecDeque<RuntimeError>,
    /// Duration of a pull.
    pub pull_takes: Duration,
    /// Duration of a stop.
    pub stop_takes: Duration,
    /// The exit code of commands in containers.
    pub exec_code: i64,
    /// Commands in containers hang, and cannot be killed.
    pub exec_hangs: bool,
    /// The one that hung still runs.
    pub exec_runs: bool,
    /// Commands that were begun.
    pub execs: u32,
    /// The log of every container, a line in each nanosecond since 1970.
    pub log: Vec<String>,
    /// So many of the first lines are not kept any more.
    pub log_lost: usize,
    /// Streams of logs that are open.
    pub log_streams: usize,
    pub(super) serial: u64,
}

/// A log that is being read.
pub(super) struct LogStream {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) next: usize,
    pub(super) follow: bool,
}

impl LogStream {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next line, with the stream after it.
    pub(super) async fn next(mut self) -> Option<(Result<LogLine, RuntimeError>, Self)> {
        loop {
            let text = self.world().log.get(self.next).cloned();
            if let Some(text) = text {
                self.next += 1;
                let nanos = i64::try_from(self.next).unwrap_or(i64::MAX);
                return Some((Ok(LogLine { text, nanos, parts: 1, ..LogLine::default() }), self));
            }
            if !self.follow {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        self.world().log_streams -= 1;
    }
}
