//! Watching a rollout until it ends, pauses, or time is up. A coordinator that restarts meanwhile is waited for: the
//! rollout is stored, and so is what comes of it.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use windlass_core::RolloutId;
use windlass_core::view::RolloutView;
use windlass_process::{Backoff, backoff};

use super::Progress;
use crate::client::{CallError, RolloutStream};
use crate::error::CtlError;
use crate::exit::Exit;
use crate::session::Session;

/// The interval of looks at the certificate's age.
const FRESH: Duration = Duration::from_secs(1);

/// The end of following.
#[derive(Debug)]
pub(crate) enum End {
    /// The rollout ended or paused.
    Final(Exit, Box<RolloutView>),
    /// Time is up.
    Timeout(Option<Box<RolloutView>>),
    /// Ctrl-C.
    Interrupted,
}

/// Follows a rollout.
pub(crate) async fn follow(
    rollout: &RolloutId,
    timeout: Duration,
    session: &mut Session,
    progress: &mut Progress,
) -> Result<End, CtlError> {
    let deadline = Instant::now() + timeout;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CtlError::Runtime)?;
    let mut watch = Watch::new(rollout.clone());
    loop {
        // Each branch only waits. Only a stream that is open is left for the look at the certificate: opening one
        // again every second would never finish on a slow line.
        let pause = if watch.is_open() { FRESH } else { Duration::MAX };
        let next = tokio::select! {
            biased;
            _ = interrupt.recv() => return Ok(End::Interrupted),
            () = sleep_until(deadline) => return Ok(End::Timeout(progress.last())),
            () = sleep(pause) => None,
            next = watch.next(session) => Some(next),
        };
        if next.is_none() || !watch.is_open() {
            // A renewal that fails while the coordinator is away is tried again, until time is up.
            if let Ok(Err(error)) = timeout_at(deadline, session.keep_fresh()).await {
                progress.lost(&error);
            }
        }
        match next {
            None => progress.tick(),
            Some(Ok(Some(view))) => {
                progress.show(&view);
                if let Some(exit) = Exit::of(view.state, view.changed) {
                    return Ok(End::Final(exit, Box::new(view)));
                }
            }
            Some(Ok(None)) => watch.lost(),
            Some(Err(error)) if error.is_temporary() => {
                progress.lost(&error);
                watch.lost();
            }
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

/// The stream, or the wait for the next one.
struct Watch {
    rollout: RolloutId,
    stream: Option<RolloutStream>,
    backoff: Backoff,
    not_before: Instant,
}

impl Watch {
    fn new(rollout: RolloutId) -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(3));
        Self { rollout, stream: None, backoff, not_before: Instant::now() }
    }

    const fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    async fn next(&mut self, session: &Session) -> Result<Option<RolloutView>, CallError> {
        if self.stream.is_none() {
            sleep_until(self.not_before).await;
            self.stream = Some(session.client().watch_rollout(self.rollout.as_str()).await?);
        }
        let Some(stream) = self.stream.as_mut() else { return Ok(None) };
        let view = stream.next().await?;
        if view.is_some() {
            self.backoff.reset();
        }
        Ok(view)
    }

    fn lost(&mut self) {
        self.stream = None;
        self.not_before = Instant::now() + self.backoff.next(backoff::random());
    }
}
