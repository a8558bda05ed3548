//! The task that tries to write again after a write has failed (a full disk, as a rule), so that the host goes on by
//! itself as soon as there is room, and does not say for longer than that that there is none.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Journal;

/// Time between two tries.
const EVERY: Duration = Duration::from_secs(2);

/// Works until it is cancelled.
pub async fn run(journal: Journal, cancel: CancellationToken) -> anyhow::Result<()> {
    let mut trouble = journal.trouble();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            troubled = trouble.wait_for(Option::is_some) => drop(troubled?),
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        // A failure is said by the journal itself.
        if journal.rewrite().await.is_ok() {
            tracing::info!("the journal can be written again");
        }
    }
}
