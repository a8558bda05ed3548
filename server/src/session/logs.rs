//! Logs of a host, on their way to those who read them. An agent sends each answer over a connection of its own: what
//! arrives there waits until its reader has room, and the wait reaches the host. An agent of the version before sends
//! lines on its one stream, where nothing may wait: a reader that is too slow for that loses lines, which are counted.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use windlass_core::{HostId, ServiceId, Timestamp};
use windlass_process::merge::{Entry, Item};
use windlass_proto::pb::{self, LogNote};

use crate::coordinator::Coordinator;
use crate::grpc::status::stopping;

/// What the lines of one request of an old agent that nobody has read yet may take of our memory.
const UNREAD: usize = 4 << 20;
/// Most bytes of one message.
const MAX_PART: usize = 2 << 20;
/// How long an agent may take to say what its stream is about.
const FIRST: Duration = Duration::from_secs(10);
/// Last lines that an agent of a version before is asked for. More come as a burst of messages that are so small that
/// HTTP/2 ends its only connection.
const OLD_TAIL: u32 = 200;

/// What an operator's stream asks of a host.
#[derive(Debug, Clone)]
pub(crate) struct LogCommand {
    /// Of this service.
    pub service: ServiceId,
    /// Of these instances; all if empty.
    pub instances: Vec<String>,
    /// The last lines of each; all if absent.
    pub tail: Option<u32>,
    /// And those that come.
    pub follow: bool,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this one.
    pub until: Option<Timestamp>,
    /// Only of runs before the present one.
    pub previous: bool,
    /// Only of this release; of all if empty.
    pub release: String,
    /// What was read already.
    pub after: Vec<pb::LogPosition>,
    /// Where they go. When the other end is dropped, the host is told to stop.
    pub pieces: Arc<Pieces>,
}

/// The way of an answer to its reader. If it is dropped before the answer is complete, whatever the reason, the reader is
/// told that lines are missing: there is always room for that.
#[derive(Debug)]
pub(crate) struct Pieces {
    sender: mpsc::Sender<Item<LogPiece>>,
    last_word: Option<OwnedPermit<Item<LogPiece>>>,
    is_complete: AtomicBool,
}

impl Pieces {
    /// Over this channel, which must have room.
    pub(crate) fn new(sender: mpsc::Sender<Item<LogPiece>>) -> Arc<Self> {
        let last_word = sender.clone().try_reserve_owned().ok();
        Arc::new(Self { sender, last_word, is_complete: AtomicBool::new(false) })
    }

    /// Everything was sent, or it was said why not.
    fn complete(&self) {
        self.is_complete.store(true, Ordering::Relaxed);
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(last_word) = self.last_word.take().filter(|_| !*self.is_complete.get_mut()) {
            let why = "the host's connection was cut before its log was complete".to_owned();
            drop(last_word.send(Item::Entries(vec![LogPiece::missing(why, 0)])));
        }
    }
}

impl LogCommand {
    /// Whether an agent of the version before cannot do this.
    pub(super) fn needs_apart(&self) -> bool {
        self.since.is_some() || self.until.is_some() || self.previous || !self.release.is_empty()
    }

    /// Answers in the place of the host.
    pub(super) fn refuse(&self, why: &str) {
        self.pieces.complete();
        self.say(why);
    }

    fn say(&self, why: &str) {
        drop(self.pieces.sender.try_send(Item::Entries(vec![LogPiece::missing(why.to_owned(), 0)])));
    }

    pub(super) fn request(&self, request: u64, apart: bool) -> pb::LogRequest {
        let common = pb::LogRequest {
            request,
            instances: self.instances.clone(),
            service: self.service.to_string(),
            tail: self.tail.unwrap_or(0),
            follow: self.follow,
            ..pb::LogRequest::default()
        };
        if !apart {
            let is_again = !self.after.is_empty();
            let most = self.tail.unwrap_or(u32::MAX);
            if is_again || most > OLD_TAIL {
                self.say(
                    "its agent is of a version before: at most the last 200 lines of each instance, and \
                    none from while it was not connected; upgrade it",
                );
            }
            let tail = if is_again { 0 } else { most.min(OLD_TAIL) };
            return pb::LogRequest { tail, ..common };
        }
        pb::LogRequest {
            apart: true,
            since: self.since.map(Timestamp::as_millis),
            until: self.until.map(Timestamp::as_millis),
            previous: self.previous,
            release: self.release.clone(),
            all: self.tail.is_none(),
            after: self.after.clone(),
            ..common
        }
    }
}

/// A line of a host, or what is said about its lines.
#[derive(Debug)]
pub(crate) struct LogPiece {
    /// The line; none if lines are missing.
    pub(crate) line: Option<pb::LogLine>,
    /// Why lines are missing.
    pub(crate) missing: String,
    nanos: i64,
    /// Its share of [`UNREAD`].
    _share: Option<Arc<OwnedSemaphorePermit>>,
}

impl LogPiece {
    fn line(line: pb::LogLine, share: Option<Arc<OwnedSemaphorePermit>>) -> Self {
        // An agent of the version before says milliseconds only.
        let nanos = if line.nanos > 0 { line.nanos } else { line.at.saturating_mul(1_000_000) };
        Self { line: Some(line), missing: String::new(), nanos, _share: share }
    }

    /// Lines are missing, after what was written at `nanos`.
    pub(crate) fn missing(why: String, nanos: i64) -> Self {
        Self { line: None, missing: why, nanos, _share: None }
    }
}

impl Entry for LogPiece {
    fn nanos(&self) -> i64 {
        self.nanos
    }

    fn size(&self) -> usize {
        self.line.as_ref().map_or(0, size) + self.missing.len() + size_of::<Self>()
    }
}

fn size(line: &pb::LogLine) -> usize {
    size_of::<pb::LogLine>() + line.instance.len() + line.text.len() + line.host.len()
}

/// Who waits for which answer. Only the host that was asked can answer.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    next: AtomicU64,
    open: Mutex<HashMap<(HostId, u64), Reader>>,
}

#[derive(Debug, Clone)]
struct Reader {
    pieces: Arc<Pieces>,
    unread: Arc<Semaphore>,
    lost: Arc<AtomicU64>,
}

impl Readers {
    fn open(&self) -> MutexGuard<'_, HashMap<(HostId, u64), Reader>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new request to `host`.
    pub(crate) fn start(&self, host: &HostId, pieces: Arc<Pieces>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (unread, lost) = (Arc::new(Semaphore::new(UNREAD)), Arc::default());
        self.open().insert((host.clone(), number), Reader { pieces, unread, lost });
        number
    }

    /// Takes the reader of a request out: one stream answers it.
    fn take(&self, host: &HostId, request: u64) -> Option<Arc<Pieces>> {
        self.open().remove(&(host.clone(), request)).map(|reader| reader.pieces)
    }

    /// Passes on what came on the stream of an agent. `true`: nobody reads it any more.
    pub(crate) fn lines(&self, host: &HostId, lines: pb::LogLines) -> bool {
        let key = (host.clone(), lines.request);
        let Some(reader) = self.open().get(&key).cloned() else { return !lines.end };
        let mut last = 0;
        let mut pieces = Vec::new();
        if !lines.lines.is_empty() {
            let bytes: usize = lines.lines.iter().map(size).sum();
            let count = u64::try_from(lines.lines.len()).unwrap_or(u64::MAX);
            last = lines.lines.last().map_or(0, |line| line.at.saturating_mul(1_000_000));
            let share = u32::try_from(bytes)
                .ok()
                .and_then(|bytes| reader.unread.clone().try_acquire_many_owned(bytes).ok());
            match share {
                Some(share) => {
                    let share = Some(Arc::new(share));
                    let lost = reader.lost.swap(0, Ordering::Relaxed);
                    pieces
                        .extend((lost > 0).then(|| LogPiece::line(dropped(lost, lines.lines.first()), None)));
                    pieces.extend(lines.lines.into_iter().map(|line| LogPiece::line(line, share.clone())));
                }
                None => drop(reader.lost.fetch_add(count, Ordering::Relaxed)),
            }
        }
        if lines.end {
            let lost = reader.lost.swap(0, Ordering::Relaxed);
            pieces.extend((lost > 0).then(|| LogPiece::line(dropped(lost, None), None)));
            pieces.extend((!lines.error.is_empty()).then(|| LogPiece::missing(lines.error, last)));
        }
        let lost = u64::try_from(pieces.len()).unwrap_or(u64::MAX);
        if lines.end {
            reader.pieces.complete();
        }
        let is_gone = match reader.pieces.sender.try_send(Item::Entries(pieces)) {
            Ok(()) => {
                drop(reader.pieces.sender.try_send(Item::Current)); // what came is all there is to go by
                false
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                reader.lost.fetch_add(lost, Ordering::Relaxed);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => true,
        };
        if lines.end || is_gone {
            self.open().remove(&key);
        }
        is_gone && !lines.end
    }

    /// Requests of a stream whose reader is gone. Those that were answered are no concern of it any more.
    pub(crate) fn abandoned(&self, host: &HostId, asked: &mut BTreeSet<u64>) -> Vec<u64> {
        let mut open = self.open();
        let mut gone = Vec::new();
        asked.retain(|request| {
            let key = (host.clone(), *request);
            match open.get(&key).map(|reader| reader.pieces.sender.is_closed()) {
                Some(false) => true,
                Some(true) => {
                    open.remove(&key);
                    gone.push(*request);
                    false
                }
                None => false,
            }
        });
        gone
    }

    /// A host's stream ended: nothing will answer what was asked on it.
    pub(crate) fn forget(&self, host: &HostId, asked: &BTreeSet<u64>) {
        let mut open = self.open();
        asked.iter().for_each(|request| drop(open.remove(&(host.clone(), *request))));
    }
}

fn dropped(count: u64, before: Option<&pb::LogLine>) -> pb::LogLine {
    let at = before.map_or(0, |line| line.at);
    let instance = before.map(|line| line.instance.clone()).unwrap_or_default();
    let text = format!("{count} lines were dropped here: the reader was slower than the log");
    let note = LogNote::Dropped.into();
    pb::LogLine { at, instance, text, note, dropped: count, ..pb::LogLine::default() }
}

type Parts = BoxStream<'static, Result<pb::SendLogsResponse, Status>>;

/// Takes in the answer to a request, as fast as it is read. Ends with the answer, or when nobody reads.
pub(crate) fn receive(
    coordinator: Arc<Coordinator>,
    host: HostId,
    cut: CancellationToken,
    mut inbound: Streaming<pb::SendLogsRequest>,
) -> Parts {
    let receiving = async move {
        let first = timeout(FIRST, inbound.message()).await;
        let mut next = first.map_err(|_| Status::deadline_exceeded("nothing was sent within 10s"))??;
        let request = next.as_ref().map_or(0, |part| part.request);
        let Some(reader) = coordinator.readers.take(&host, request) else { return Ok(()) };
        let (mut last, mut is_current) = (0, false);
        while let Some(part) = next {
            let bytes: usize = part.lines.iter().map(size).sum();
            if bytes > MAX_PART {
                return Err(Status::resource_exhausted("more than 2 MiB of lines in one message"));
            }
            let mut pieces: Vec<LogPiece> =
                part.lines.into_iter().map(|line| LogPiece::line(line, None)).collect();
            last = pieces.iter().map(|piece| piece.nanos).fold(last, i64::max);
            pieces.extend((!part.error.is_empty()).then(|| LogPiece::missing(part.error, last)));
            let becomes_current = part.current && !is_current;
            is_current |= becomes_current;
            let passing = async {
                reader.sender.send(Item::Entries(pieces)).await.ok()?;
                if becomes_current {
                    reader.sender.send(Item::Current).await.ok()?;
                }
                Some(())
            };
            let passed = tokio::select! {
                biased;
                () = coordinator.stopping.cancelled() => return Err(stopping()),
                () = cut.cancelled() => return Err(Status::unauthenticated("the certificate counts no more")),
                passed = passing => passed,
            };
            if passed.is_none() || part.end {
                reader.complete();
                return Ok(());
            }
            next = tokio::select! {
                biased;
                () = coordinator.stopping.cancelled() => return Err(stopping()),
                () = cut.cancelled() => return Err(Status::unauthenticated("the certificate counts no more")),
                () = reader.sender.closed() => return Ok(()),
                next = inbound.message() => next?,
            };
        }
        Ok(())
    };
    stream::once(receiving)
        .filter_map(|done: Result<(), Status>| std::future::ready(done.err().map(Err)))
        .boxed()
}

#[cfg(test)]
mod tests;
