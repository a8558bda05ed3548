//! The engine's stream of events.

use futures_util::StreamExt;

use crate::runtime::{EngineEvent, RuntimeStream};

/// The next event; `None` when the stream ended or broke. Waits for ever without a stream.
pub(super) async fn next(events: &mut Option<RuntimeStream<EngineEvent>>) -> Option<EngineEvent> {
    match events {
        Some(events) => match events.next().await {
            Some(Ok(event)) => Some(event),
            Some(Err(error)) => {
                tracing::debug!(%error, "the event stream broke");
                None
            }
            None => None,
        },
        None => std::future::pending().await,
    }
}

/// An event that has come already.
pub(super) fn ready(events: &mut Option<RuntimeStream<EngineEvent>>) -> Option<Option<EngineEvent>> {
    futures_util::FutureExt::now_or_never(next(events))
}
