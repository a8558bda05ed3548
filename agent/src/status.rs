//! The file that a running agent leaves for `inventory` and `doctor`, so that neither needs a socket into the agent.
//! Lossy: a status that is lost is written again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_core::Timestamp;
use windlass_core::host::HostFacts;
use windlass_core::observation::{Observation, RefusalCode};

use crate::clock;
use crate::counters::Counters;
use crate::crash::Call;
use crate::gpu::{self, DeviceError};

/// Most often that it is written.
const LEAST: Duration = Duration::from_secs(1);
/// Least often that it is written.
const MOST: Duration = Duration::from_secs(30);
const MAX_LEN: u64 = 16 << 20;

/// The agent's knowledge of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When it was written.
    pub at: Timestamp,
    /// The agent's process.
    pub pid: u32,
    /// Which coordinator is connected; empty if none.
    pub coordinator: String,
    /// Facts about the host.
    pub facts: HostFacts,
    /// The last observation.
    pub observation: Observation,
    /// Refusals by rule since the agent started.
    pub refusals: BTreeMap<RefusalCode, u64>,
    /// The last error of each GPU that no program causes, for the agent after this one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gpu_errors: BTreeMap<String, DeviceError>,
}

/// The inputs of the task.
#[derive(Debug)]
pub struct Writer {
    /// The file.
    pub path: PathBuf,
    /// The last observation.
    pub report: watch::Receiver<Arc<Observation>>,
    /// Facts about the host.
    pub facts: watch::Receiver<Arc<HostFacts>>,
    /// The GPUs.
    pub gpus: watch::Receiver<gpu::Shared>,
    /// Which coordinator is connected.
    pub coordinator: watch::Receiver<String>,
    /// Refusals.
    pub counters: Counters,
    /// Asks the task to end.
    pub cancel: CancellationToken,
}

impl Status {
    /// Reads what the last agent wrote; `None` if none ever did, or it cannot be read.
    pub fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&crate::data::read_bounded(path, MAX_LEN).ok()?).ok()
    }
}

impl Writer {
    /// Works until it is cancelled.
    pub async fn run(mut self) -> anyhow::Result<()> {
        loop {
            let status = Status {
                at: clock::now(),
                pid: std::process::id(),
                coordinator: self.coordinator.borrow_and_update().clone(),
                facts: HostFacts::clone(&self.facts.borrow_and_update()),
                observation: Observation::clone(&self.report.borrow_and_update()),
                refusals: self.counters.snapshot(),
                gpu_errors: self.gpus.borrow_and_update().errors.clone(),
            };
            let path = self.path.clone();
            let write = move || Call::Status.around_now(|| write(&path, &status));
            let written = tokio::task::spawn_blocking(write).await;
            if let Ok(Err(error)) = written {
                tracing::debug!(%error, "the status file could not be written");
            }
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(LEAST) => {}
            }
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Ok(()),
                Ok(()) = self.report.changed() => {}
                Ok(()) = self.coordinator.changed() => {}
                () = self.counters.changed() => {}
                () = tokio::time::sleep(MOST) => {}
            }
        }
    }
}

/// Renamed into place, without fsync: a reader sees the old one or the new one, and after a crash neither matters.
fn write(path: &Path, status: &Status) -> std::io::Result<()> {
    let beside = path.with_extension("tmp");
    std::fs::write(&beside, serde_json::to_vec(status)?)?;
    std::fs::rename(beside, path)
}
