//! Following one rollout. The newest view wins: a slow client misses steps and never the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use windlass_certs::identity::OperatorRole;
use windlass_core::RolloutId;
use windlass_core::time::Pace;
use windlass_core::view::RolloutView;
use windlass_proto::pb;

use super::rollouts::find;
use super::{Caller, Stream, answer};
use crate::coordinator::Coordinator;
use crate::ledger::Topic;
use crate::rollouts;

/// Changes of hosts and slots are shown at most this often; changes of the rollout itself as soon as the processor allows.
const CALM: Duration = Duration::from_millis(200);
/// The longest time without a look: a wait that ends by the clock, as a hold does, sends no topic.
const AGAIN: Duration = Duration::from_secs(2);
/// Between two looks lies a rest by the time that the last one took, and the view that was written: a rollout over thousands of
/// slots has other work to do.
const PACE: Pace = Pace { times: 4, most: AGAIN, costly: Duration::ZERO, every: Duration::ZERO };

struct Watch {
    coordinator: Arc<Coordinator>,
    topics: Receiver<Topic>,
    id: RolloutId,
    shown: Option<RolloutView>,
    calm_until: Instant,
    /// When the next look may begin.
    free_at: Instant,
    over: bool,
}

pub(super) fn rollout(
    coordinator: Arc<Coordinator>,
    caller: &Caller,
    text: &str,
) -> Result<Stream<pb::WatchRolloutResponse>, Status> {
    let topics = coordinator.ledger.signals().topics();
    let id = find(&coordinator, caller, text, OperatorRole::Viewer)?;
    let now = Instant::now();
    let watch = Watch { coordinator, topics, id, shown: None, calm_until: now, free_at: now, over: false };
    let views = stream::unfold(watch, |mut watch| async move {
        let view = watch.next().await?;
        watch.over |= view.is_err();
        Some((view.map(|view| pb::WatchRolloutResponse { view }), watch))
    });
    Ok(views.boxed())
}

impl Watch {
    /// The next view that differs from the last; `None` after a final or paused one.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        while !self.over {
            if let Some(view) = self.look()? {
                return Some(view);
            }
            self.wait().await?;
        }
        None
    }

    /// The view, if it differs from the last one shown, and the rest after it. `None`: the rollout is gone.
    fn look(&mut self) -> Option<Option<Result<Bytes, Status>>> {
        let begun = Instant::now();
        let shown = self.news();
        self.free_at = Instant::now() + PACE.rest(begun.elapsed());
        shown
    }

    fn news(&mut self) -> Option<Option<Result<Bytes, Status>>> {
        let (coordinator, id) = (&self.coordinator, &self.id);
        let view = coordinator
            .ledger
            .read(|state| rollouts::show(state, &coordinator.registry, id, coordinator.ledger.now()))?;
        self.over = view.outcome.is_some();
        // Time alone is no change.
        if let Some(shown) = &mut self.shown {
            shown.duration_ms = view.duration_ms;
            if *shown == view {
                return Some(None);
            }
        }
        self.calm_until = Instant::now() + CALM;
        let answer = answer::whole(&view, "`windlass rollout ls` tells how far it is");
        self.shown = Some(view);
        Some(Some(answer))
    }

    /// Until there may be something else to show.
    async fn wait(&mut self) -> Option<()> {
        let mut look_at = self.free_at.max(Instant::now() + AGAIN);
        loop {
            tokio::select! {
                biased;
                topic = self.topics.recv() => match topic {
                    Ok(Topic::Rollout(id, _)) if id == self.id => look_at = self.free_at,
                    Ok(Topic::Observed(_) | Topic::Service(_)) | Err(RecvError::Lagged(_)) => {
                        look_at = look_at.min(self.calm_until.max(self.free_at));
                    }
                    Ok(_) => {}
                    Err(RecvError::Closed) => return None,
                },
                () = sleep_until(look_at) => return Some(()),
            }
        }
    }
}
