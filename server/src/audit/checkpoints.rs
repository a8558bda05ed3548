//! The task that signs checkpoints: every 60 s or 256 entries, and once more when the coordinator stops.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use windlass_core::audit::Checkpoint;

use crate::authority::Authority;
use crate::crash::Point;
use crate::ledger::{Change, Ledger, Topic, WriteBatch, WriteError};

const EVERY: Duration = Duration::from_secs(60);
const ENTRIES: u64 = 256;

/// Anchors the audit log.
pub(crate) struct Checkpoints {
    ledger: Ledger,
    authority: Authority,
    /// Tripped when this task has ended: nothing needs the writer after the last checkpoint.
    last_write: CancellationToken,
}

impl Checkpoints {
    /// For this ledger, with this key. `last_write` is tripped when it has ended.
    pub(crate) const fn new(ledger: Ledger, authority: Authority, last_write: CancellationToken) -> Self {
        Self { ledger, authority, last_write }
    }

    /// Until `cancel`; then a last one.
    pub(crate) async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        let _last_write = self.last_write.clone().drop_guard();
        let mut topics = self.ledger.signals().topics();
        let mut due = Instant::now() + EVERY;
        loop {
            let stop = tokio::select! {
                biased;
                () = cancel.cancelled() => true,
                () = sleep_until(due) => false,
                topic = topics.recv() => match topic {
                    Ok(Topic::Audit) | Err(RecvError::Lagged(_)) if self.open() >= ENTRIES => false,
                    Ok(_) | Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return Ok(()),
                },
            };
            match self.sign().await {
                Ok(()) => {}
                Err(WriteError::Stopping) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if stop {
                return Ok(());
            }
            due = Instant::now() + EVERY;
        }
    }

    fn open(&self) -> u64 {
        open(&self.ledger)
    }

    async fn sign(&self) -> Result<(), WriteError> {
        anchor(&self.ledger, &self.authority).await
    }
}

/// Entries that no checkpoint covers.
fn open(ledger: &Ledger) -> u64 {
    ledger.read(|state| state.head.size - state.checkpoint.as_ref().map_or(0, |(size, _)| *size))
}

/// Signs a checkpoint over what none covers yet, if there is anything.
pub(crate) async fn anchor(ledger: &Ledger, authority: &Authority) -> Result<(), WriteError> {
    if open(ledger) == 0 {
        return Ok(());
    }
    let authority = authority.clone();
    Point::CheckpointBefore.pass();
    ledger.write(move |batch| checkpoint(batch, &authority)).await?;
    Point::CheckpointAfter.pass();
    Ok(())
}

fn checkpoint(batch: &mut WriteBatch<'_>, authority: &Authority) {
    let head = batch.state.head;
    let checkpoint = Checkpoint {
        version: 1,
        fleet: batch.state.fleet.clone(),
        size: head.size,
        head: head.hash,
        segment: batch.state.segment(),
        at: batch.now,
    };
    let payload = serde_json::to_vec(&checkpoint).expect("a checkpoint has only string keys, so it is JSON");
    let envelope = authority.sign_checkpoint(payload);
    batch.change(Change::Checkpoint(head.size, envelope.to_bytes()));
}
