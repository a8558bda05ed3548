//! The coordinator's streams.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::{Status, Streaming};
use windlass_core::Timestamp;
use windlass_core::view::{EventView, RolloutView, ScreenView, Wanted};
use windlass_process::merge::Position;
use windlass_proto::{json, limits, pb};

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

/// A part of the fleet, and when it was so by the coordinator's clock; none if it is as before.
pub(crate) type FleetStream = Stream<pb::WatchFleetResponse, (Option<ScreenView>, Timestamp)>;

/// Events, each with where to go on after it.
pub(crate) type EventStream = Stream<pb::StreamEventsResponse, EventItem>;

/// A query of events.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventQuery {
    /// Past events to begin with.
    pub(crate) tail: u32,
    /// The stream goes on with what comes.
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
    /// The event.
    pub(crate) event: Option<EventView>,
    /// The number of the one after it.
    pub(crate) next: u64,
    /// Events before it that are kept no more.
    pub(crate) missed: u64,
}

/// A query of the lines of a service.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogQuery {
    /// `environment/service`.
    pub(crate) service: String,
    /// Only this instance, if not empty.
    pub(crate) instance: String,
    /// Last lines of each; all if absent.
    pub(crate) tail: Option<u32>,
    /// The stream goes on with what comes.
    pub(crate) follow: bool,
    /// From this moment on.
    pub(crate) since: Option<Timestamp>,
    /// Before this one.
    pub(crate) until: Option<Timestamp>,
    /// Only runs before the present ones.
    pub(crate) previous: bool,
    /// Only of this release, if not empty.
    pub(crate) release: String,
    /// The position in each instance's log.
    pub(crate) after: BTreeMap<String, Position>,
}

/// Lines of a service.
pub(crate) type LogStream = Stream<pb::StreamLogsResponse, LogChunk>;

/// Some lines.
pub(crate) struct LogChunk {
    /// The lines.
    pub(crate) lines: Vec<LogLine>,
    /// A host whose lines are missing, and why.
    pub(crate) missing: Option<(String, String)>,
}

/// One line that a container wrote, or a note in its place.
pub(crate) struct LogLine {
    /// When, by the host's clock.
    pub(crate) at: Timestamp,
    /// The same in Unix nanoseconds; 0 if the coordinator does not say.
    pub(crate) nanos: i64,
    /// The host.
    pub(crate) host: String,
    /// The instance.
    pub(crate) instance: String,
    /// It was written to stderr.
    pub(crate) is_stderr: bool,
    /// Without the line's end.
    pub(crate) text: String,
    /// It was longer than 1 MiB.
    pub(crate) is_cut: bool,
    /// It is no line of a container.
    pub(crate) note: Option<LogNote>,
    /// Lines that are missing here.
    pub(crate) dropped: u64,
}

/// A note between lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogNote {
    /// An instance joins.
    Started,
    /// Its process ended.
    Ended,
    /// Lines are missing.
    Dropped,
}

/// Part of the audit log.
pub(crate) enum AuditItem {
    /// An entry, the exact bytes that are hashed.
    Entry(Vec<u8>),
    /// The envelope of a checkpoint.
    Checkpoint(Vec<u8>),
    /// The newest receipt of a host, and the key it is said to be signed with.
    Witness {
        /// Its name.
        host: String,
        /// The envelope.
        receipt: Vec<u8>,
        /// The key, raw.
        key: Vec<u8>,
        /// The envelope of the checkpoint that it keeps; empty of an older host.
        checkpoint: Vec<u8>,
    },
}

impl Client {
    /// A part of the fleet, every so often, until the lease of the stream ends.
    pub(crate) async fn fleet(&mut self, wanted: &Wanted, every: Duration) -> Result<FleetStream, CallError> {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let request = pb::WatchFleetRequest {
            board: wanted.board.name().to_owned(),
            filter: wanted.filter.clone(),
            sort: number(wanted.sort),
            descending: wanted.descending,
            from: number(wanted.from),
            limit: number(wanted.limit),
            environment: wanted.environment.as_ref().map(ToString::to_string).unwrap_or_default(),
            interval_ms: u32::try_from(every.as_millis()).unwrap_or(u32::MAX),
            lease_ms: 0,
        };
        let answer = self.control.watch_fleet(request).await;
        open("watch the fleet", answer, |item| {
            let screen = (!item.view.is_empty()).then(|| super::names::decode(&item.view)).transpose()?;
            Ok((screen, Timestamp::from_millis(item.at)))
        })
    }

    /// A rollout at every change, until it ends or pauses.
    pub(crate) async fn watch_rollout(&mut self, rollout: &str) -> Result<RolloutStream, CallError> {
        let request = pb::WatchRolloutRequest { rollout: rollout.to_owned() };
        let answer = self.control.watch_rollout(request).await;
        open("watch the rollout", answer, |item| Ok(super::names::decode(&item.view)?))
    }

    /// The lines of a service.
    pub(crate) async fn logs(&mut self, query: &LogQuery) -> Result<LogStream, CallError> {
        let after = query.after.iter().map(|(instance, Position { nanos, older })| pb::LogPosition {
            instance: instance.clone(),
            nanos: *nanos,
            older: *older,
        });
        let request = pb::StreamLogsRequest {
            service: query.service.clone(),
            instance: query.instance.clone(),
            tail: query.tail.unwrap_or(limits::MAX_LOG_TAIL),
            follow: query.follow,
            since: query.since.map(Timestamp::as_millis),
            until: query.until.map(Timestamp::as_millis),
            previous: query.previous,
            release: query.release.clone(),
            all: query.tail.is_none(),
            after: after.collect(),
            merged: true,
        };
        open("read the logs", self.control.stream_logs(request).await, |item| Ok(chunk(item)))
    }

    /// Events of the fleet.
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

    /// The audit log from an entry on.
    pub(crate) async fn audit(
        &mut self,
        from: u64,
    ) -> Result<Stream<pb::StreamAuditResponse, Option<AuditItem>>, CallError> {
        let answer = self.control.stream_audit(pb::StreamAuditRequest { from }).await;
        open("read the audit log", answer, |item| {
            use pb::stream_audit_response::Item;
            Ok(item.item.map(|item| match item {
                Item::Entry(bytes) => AuditItem::Entry(bytes.to_vec()),
                Item::Checkpoint(bytes) => AuditItem::Checkpoint(bytes.to_vec()),
                Item::Witness(witness) => AuditItem::Witness {
                    host: witness.host,
                    receipt: witness.receipt.to_vec(),
                    key: witness.key.to_vec(),
                    checkpoint: witness.checkpoint.to_vec(),
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
    let of = item.host;
    let lines = item.lines.into_iter().map(|line| LogLine {
        at: Timestamp::from_millis(line.at),
        nanos: line.nanos,
        host: if line.host.is_empty() { of.clone() } else { line.host.clone() },
        is_stderr: line.stderr,
        is_cut: line.cut,
        note: match line.note() {
            pb::LogNote::Unspecified => None,
            pb::LogNote::Started => Some(LogNote::Started),
            pb::LogNote::Ended => Some(LogNote::Ended),
            pb::LogNote::Dropped => Some(LogNote::Dropped),
        },
        dropped: line.dropped,
        instance: line.instance,
        text: line.text,
    });
    let lines = lines.collect();
    LogChunk { lines, missing: (!item.missing.is_empty()).then_some((of, item.missing)) }
}
