//! The state of each agent, for benches and tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;
use windlass_core::{Digest, Timestamp};

/// Between two looks at the board.
const EVERY: Duration = Duration::from_millis(10);

/// One line per agent. Clones share it.
#[derive(Debug, Clone)]
pub struct Board(Arc<Vec<Mutex<Look>>>);

/// The state of one agent.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// When the coordinator welcomed it on the stream that stands; `None` while none does.
    pub welcomed_at: Option<Instant>,
    /// When its first observation on that stream was acknowledged.
    pub reported_at: Option<Instant>,
    /// The newest plan it has accepted.
    pub seq: u64,
    /// When it accepted that.
    pub planned_at: Option<Instant>,
    /// When the coordinator decided that, by the clock of this machine.
    pub issued_at: Option<Timestamp>,
    /// Since when it holds a verified plan that names a release, and the release itself.
    pub held: BTreeMap<Digest, Instant>,
    /// Since when its plan says that a release is to run.
    pub running: BTreeMap<Digest, Instant>,
    /// Streams that were welcomed.
    pub streams: u32,
    /// The reason for which the last stream ended, or was never opened.
    pub ended: Option<String>,
    /// The coordinator's messages that an agent must refuse. None, ever.
    pub wrong: Vec<String>,
}

impl Board {
    /// For so many agents.
    pub(super) fn new(agents: usize) -> Self {
        Self(Arc::new((0..agents).map(|_| Mutex::default()).collect()))
    }

    /// Notes something about one agent.
    pub(super) fn note(&self, agent: usize, change: impl FnOnce(&mut Look)) {
        change(&mut self.0[agent].lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// One agent.
    pub fn look(&self, agent: usize) -> Look {
        self.0[agent].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something of each agent.
    pub fn each<T>(&self, what: impl Fn(&Look) -> T) -> Vec<T> {
        self.0.iter().map(|line| what(&line.lock().unwrap_or_else(PoisonError::into_inner))).collect()
    }

    /// The number of agents for which `so` holds.
    pub fn count(&self, so: impl Fn(&Look) -> bool) -> usize {
        self.each(so).into_iter().filter(|is| *is).count()
    }

    /// Waits until `enough` agents are `so`.
    pub async fn until(
        &self,
        what: &str,
        enough: usize,
        limit: Duration,
        so: impl Fn(&Look) -> bool,
    ) -> Result<()> {
        let begun = Instant::now();
        loop {
            let found = self.count(&so);
            if found >= enough {
                return Ok(());
            }
            if begun.elapsed() >= limit {
                let ends: Vec<_> =
                    self.each(|look| look.ended.clone()).into_iter().flatten().take(3).collect();
                bail!("{what}: {found} of {enough} within {limit:?}; streams ended like {ends:?}");
            }
            sleep(EVERY).await;
        }
    }

    /// The messages that any agent had to refuse.
    pub fn wrongs(&self) -> Vec<String> {
        self.each(|look| look.wrong.clone()).concat()
    }
}
