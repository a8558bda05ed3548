//! The task that copies newest observations into the store, behind and in batches. What it has not copied at a
//! crash is sent again: an agent reports everything on every new stream.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::ledger::{Change, Ledger, WriteBatch, WriteError};
use crate::registry::Registry;

/// A host whose part a rollout changes reports several times within a few seconds, and only the newest report is kept.
const EVERY: Duration = Duration::from_secs(2);
/// Observations of one transaction: few large ones cost less, and a decision waits for one of them at most.
const BATCH: usize = 256;

/// Until `cancel`, and once more then.
pub(crate) async fn run(ledger: Ledger, registry: Registry, cancel: CancellationToken) -> anyhow::Result<()> {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stop = tokio::select! {
            biased;
            () = cancel.cancelled() => true,
            _ = tick.tick() => false,
        };
        match copy(&ledger, &registry).await {
            Ok(()) => {}
            Err(WriteError::Stopping) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if stop {
            return Ok(());
        }
    }
}

/// Copies what is newer now than what is stored. Reports that come meanwhile wait for the next time.
pub(crate) async fn copy(ledger: &Ledger, registry: &Registry) -> Result<(), WriteError> {
    // All at once: looking for a few of them passes the same thousands of hosts again and again.
    for some in registry.take_unstored().chunks(BATCH) {
        let some = some.to_vec();
        let store = move |batch: &mut WriteBatch<'_>| {
            some.into_iter().for_each(|(host, seen)| batch.change(Change::Observation(host, seen)));
        };
        ledger.write(store).await?;
    }
    Ok(())
}
