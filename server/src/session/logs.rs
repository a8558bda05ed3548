//! Logs of a host, on their way to those who read them. An agent sends each answer over a connection of its own: what
//! arrives there waits until its reader has room, and the wait reaches the host. An agent of the version before sends
//! lines on its one stream, where nothing may wait: a reader that is too slow for that loses lines, which are counted.

mod calls;
mod readers;
mod receive;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use windlass_core::{ServiceId, Timestamp};
use windlass_process::merge::{Entry, Item};
use windlass_proto::pb;

pub(crate) use calls::Calls;
pub(crate) use readers::Readers;
pub(crate) use receive::receive;

/// Last lines that an agent of a version before is asked for. More come as a burst of messages that are so small that
/// HTTP/2 ends its only connection.
const OLD_TAIL: u32 = 200;

/// The lines that an operator's stream asks a host for.
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
    /// The positions up to which instances were read already.
    pub after: Vec<pb::LogPosition>,
    /// The receiver of the lines. When the other end is dropped, the host is told to stop.
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
    /// The reason for which lines are missing.
    pub(crate) missing: String,
    nanos: i64,
    /// Its share of what may wait for the reader.
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

#[cfg(test)]
mod tests;
