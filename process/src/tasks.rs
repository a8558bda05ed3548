//! Supervision: every long-running task has a name, an owner and a way to be stopped.
//!
//! A task that ends, fails or panics while nobody asked it to takes the whole process down in order,
//! with its name in the error; whatever supervises the process starts it again (crash-only). Tasks that
//! expect failure handle it inside, with [`crate::Backoff`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The long-running tasks of one process.
///
/// Dropping it aborts what still runs; [`Tasks::run`] is the orderly way.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, Cow<'static, str>>,
    cancel: CancellationToken,
}

impl Tasks {
    /// An empty set with a fresh token.
    pub fn new() -> Self {
        Self::default()
    }

    /// The token that asks every task to stop. Give each task a clone before it is spawned.
    pub fn cancel(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Starts `task` under `name`. Its end before shutdown, good or bad, is the end of the process.
    pub fn spawn<F>(&mut self, name: impl Into<Cow<'static, str>>, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), name.into());
    }

    /// The number of tasks that have not ended.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether no task is left.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Waits for `shutdown` or for the first task to end, then cancels the others and gives them `grace`.
    ///
    /// The answer is an error exactly when a task ended without being asked to, or failed while stopping.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>, grace: Duration) -> anyhow::Result<()> {
        let cancel = self.cancel.clone();
        let mut outcome = tokio::select! {
            biased;
            () = shutdown => Ok(()),
            () = cancel.cancelled() => Ok(()), // a task may ask for the end of the process
            Some(ended) = self.set.join_next_with_id() => {
                let asked = cancel.is_cancelled();
                self.judge(ended).and_then(|name| {
                    if asked { Ok(()) } else { Err(anyhow::anyhow!("task `{name}` ended early")) }
                })
            }
        };
        self.cancel.cancel();
        let drained = timeout(grace, async {
            while let Some(ended) = self.set.join_next_with_id().await {
                if let Err(error) = self.judge(ended) {
                    tracing::warn!(error = %format!("{error:#}"), "a task failed while stopping");
                    outcome = std::mem::replace(&mut outcome, Ok(())).and(Err(error));
                }
            }
        });
        if drained.await.is_err() {
            let left: Vec<_> = self.names.values().map(Cow::as_ref).collect();
            tracing::warn!(tasks = left.join(", "), "tasks did not stop in time, aborting them");
        }
        outcome // dropping the JoinSet aborts what is left
    }

    /// Names the task that ended and turns its result into one with that name in it.
    fn judge(
        &mut self,
        ended: Result<(Id, anyhow::Result<()>), JoinError>,
    ) -> anyhow::Result<Cow<'static, str>> {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let name = self.names.remove(&id).unwrap_or(Cow::Borrowed("unnamed"));
        match ended {
            Ok((_, Ok(()))) => Ok(name),
            Ok((_, Err(error))) => Err(error.context(format!("task `{name}` failed"))),
            Err(error) => Err(anyhow::Error::new(error).context(format!("task `{name}` panicked"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_failing_task_stops_its_siblings_and_is_named() {
        let mut tasks = Tasks::new();
        let stopped = Arc::new(AtomicBool::new(false));
        let (cancel, flag) = (tasks.cancel(), stopped.clone());
        tasks.spawn("sibling", async move {
            cancel.cancelled().await;
            flag.store(true, Ordering::SeqCst);
            Ok(())
        });
        tasks.spawn("broken", ready(Err(anyhow::anyhow!("no disk"))));
        let error = tasks.run(pending(), GRACE).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "task `broken` failed: no disk");
        assert!(stopped.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_and_an_early_end_are_errors_with_a_name() {
        let mut tasks = Tasks::new();
        tasks.spawn("shaky", async { panic!("boom") });
        let error = tasks.run(pending(), GRACE).await.unwrap_err();
        assert!(format!("{error:#}").starts_with("task `shaky` panicked"), "{error:#}");

        let mut tasks = Tasks::new();
        tasks.spawn("brief", ready(Ok(())));
        let error = tasks.run(pending(), GRACE).await.unwrap_err();
        assert_eq!(error.to_string(), "task `brief` ended early");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_is_no_error_and_does_not_wait_for_ever() {
        let mut tasks = Tasks::new();
        tasks.spawn("deaf", pending());
        tasks.run(ready(()), GRACE).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_while_stopping_is_reported() {
        let mut tasks = Tasks::new();
        let cancel = tasks.cancel();
        tasks.spawn("store", async move {
            cancel.cancelled().await;
            Err(anyhow::anyhow!("flush failed"))
        });
        let error = tasks.run(ready(()), GRACE).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "task `store` failed: flush failed");
    }
}
