//! The readers that wait for answers of hosts, by host and request.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc};
use windlass_core::HostId;
use windlass_process::merge::Item;
use windlass_proto::pb::{self, LogNote};

use super::{LogPiece, Pieces, size};

/// Most bytes of unread lines of one request, as an agent of the version before sends them.
pub(super) const UNREAD: usize = 4 << 20;

/// The readers of open requests. Only the host that was asked can answer.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    next: AtomicU64,
    open: Mutex<HashMap<(HostId, u64), Reader>>,
}

#[derive(Debug, Clone)]
pub(super) struct Reader {
    pieces: Arc<Pieces>,
    unread: Arc<Semaphore>,
    lost: Arc<AtomicU64>,
}

impl Readers {
    pub(super) fn open(&self) -> MutexGuard<'_, HashMap<(HostId, u64), Reader>> {
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
    pub(super) fn take(&self, host: &HostId, request: u64) -> Option<Arc<Pieces>> {
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
            let count = lines.lines.iter().map(weight).sum();
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
        let lost = pieces.iter().filter_map(|piece| piece.line.as_ref()).map(weight).sum();
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

/// The number of a container's lines that a line stands for.
fn weight(line: &pb::LogLine) -> u64 {
    if line.note == i32::from(LogNote::Unspecified) { 1 } else { line.dropped }
}

fn dropped(count: u64, before: Option<&pb::LogLine>) -> pb::LogLine {
    let at = before.map_or(0, |line| line.at);
    let instance = before.map(|line| line.instance.clone()).unwrap_or_default();
    let text = format!("{count} lines were dropped here: the reader was slower than the log");
    let note = LogNote::Dropped.into();
    pb::LogLine { at, instance, text, note, dropped: count, ..pb::LogLine::default() }
}
