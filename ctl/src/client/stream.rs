//! The coordinator's streams.

use tonic::{Status, Streaming};
use windlass_core::view::{EventView, RolloutView};
use windlass_core::{ServiceId, Timestamp};
use windlass_proto::{json, pb};

use super::{CallError, Client};

/// A stream of the coordinator, item by item.
pub(crate) struct Stream<M, T> {
    inner: Streaming<M>,
    what: &'static str,
    read: fn(M) -> Result<T, Status>,
}

impl<M, T> Stream<M, T> {
    /// The next item; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, CallError> {
        let item = self.inner.message().await.and_then(|item| item.map(self.read).transpose());
        item.map_err(|status| CallError::new(self.what, status))
    }
}

/// A rollout at every change.
pub(crate) type RolloutStream = Stream<pb::WatchRolloutResponse, RolloutView>;

/// Events, each with where to go on after it.
pub(crate) type EventStream = Stream<pb::StreamEventsResponse, EventItem>;

/// Which events.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventQuery {
    /// Past events to begin with.
    pub(crate) tail: u32,
    /// Go on?
    pub(crate) follow: bool,
    /// The number of the first one wanted.
    pub(crate) from: Option<u64>,
    /// From this moment on.
    pub(crate) since: Option<Timestamp>,
    /// Only about this service, if not empty.
    pub(crate) service: String,
    /// Only about this host, if not empty.
    pub(crate) host: String,
    /// Only such kinds, if not empty.
    pub(crate) kind: String,
}

/// An event, or only where the stream stands.
pub(crate) struct EventItem {
    /// What happened.
    pub(crate) event: Option<EventView>,
    /// The number of the one after it.
    pub(crate) next: u64,
    /// Events before it that are kept no more.
    pub(crate) missed: u64,
}

/// Some lines of one host.
pub(crate) struct LogChunk {
    /// Which.
    pub(crate) host: String,
    /// The lines.
    pub(crate) lines: Vec<LogLine>,
    /// Why lines of this host are missing.
    pub(crate) missing: Option<String>,
}

/// One line that a container wrote.
pub(crate) struct LogLine {
    /// When, by the host's clock.
    pub(crate) at: Timestamp,
    /// Which instance.
    pub(crate) instance: String,
    /// To stderr?
    pub(crate) is_stderr: bool,
    /// Without the line's end.
    pub(crate) text: String,
}

/// Part of the audit log.
pub(crate) enum AuditItem {
    /// An entry, the exact bytes that are hashed.
    Entry(Vec<u8>),
    /// The envelope of a checkpoint.
    Checkpoint(Vec<u8>),
    /// The newest receipt of a host, and the key it is said to be signed with.
    Witness {
        /// Which.
        host: String,
        /// The envelope.
        receipt: Vec<u8>,
        /// The key, raw.
        key: Vec<u8>,
    },
}

impl Client {
    /// A rollout at every change, until it ends or pauses.
    pub(crate) async fn watch_rollout(&mut self, rollout: &str) -> Result<RolloutStream, CallError> {
        let request = pb::WatchRolloutRequest { rollout: rollout.to_owned() };
        let answer = self.control.watch_rollout(request).await;
        open("watch the rollout", answer, |item| Ok(json::decode("view", &item.view)?))
    }

    /// What the instances of a service write.
    pub(crate) async fn logs(
        &mut self,
        service: &ServiceId,
        instance: &str,
        tail: u32,
        follow: bool,
    ) -> Result<Stream<pb::StreamLogsResponse, LogChunk>, CallError> {
        let (service, instance) = (service.to_string(), instance.to_owned());
        let request = pb::StreamLogsRequest { service, instance, tail, follow };
        open("read the logs", self.control.stream_logs(request).await, |item| Ok(chunk(item)))
    }

    /// What happens in the fleet.
    pub(crate) async fn events(&mut self, query: &EventQuery) -> Result<EventStream, CallError> {
        let request = pb::StreamEventsRequest {
            tail: query.tail,
            follow: query.follow,
            from: query.from,
            since: query.since.filter(|_| query.from.is_none()).map(Timestamp::as_millis),
            service: query.service.clone(),
            host: query.host.clone(),
            kind: query.kind.clone(),
            positions: true,
        };
        let answer = self.control.stream_events(request).await;
        open("read the events", answer, |item| {
            let event = if item.view.is_empty() { None } else { Some(json::decode("view", &item.view)?) };
            Ok(EventItem { event, next: item.next, missed: item.missed })
        })
    }

    /// The whole audit log.
    pub(crate) async fn audit(
        &mut self,
    ) -> Result<Stream<pb::StreamAuditResponse, Option<AuditItem>>, CallError> {
        let answer = self.control.stream_audit(pb::StreamAuditRequest { from: 0 }).await;
        open("read the audit log", answer, |item| {
            use pb::stream_audit_response::Item;
            Ok(item.item.map(|item| match item {
                Item::Entry(bytes) => AuditItem::Entry(bytes.to_vec()),
                Item::Checkpoint(bytes) => AuditItem::Checkpoint(bytes.to_vec()),
                Item::Witness(witness) => AuditItem::Witness {
                    host: witness.host,
                    receipt: witness.receipt.to_vec(),
                    key: witness.key.to_vec(),
                },
            }))
        })
    }
}

fn open<M, T>(
    what: &'static str,
    answer: Result<tonic::Response<Streaming<M>>, Status>,
    read: fn(M) -> Result<T, Status>,
) -> Result<Stream<M, T>, CallError> {
    let inner = answer.map_err(|status| CallError::new(what, status))?.into_inner();
    Ok(Stream { inner, what, read })
}

fn chunk(item: pb::StreamLogsResponse) -> LogChunk {
    let lines = item.lines.into_iter().map(|line| LogLine {
        at: Timestamp::from_millis(line.at),
        instance: line.instance,
        is_stderr: line.stderr,
        text: line.text,
    });
    LogChunk {
        host: item.host,
        lines: lines.collect(),
        missing: Some(item.missing).filter(|missing| !missing.is_empty()),
    }
}
