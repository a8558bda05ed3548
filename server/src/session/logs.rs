//! Log requests of operators, multiplexed on a host's stream. Lossy: a reader that is slower than the log
//! misses lines, and nothing waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use windlass_core::ServiceId;
use windlass_proto::pb;

/// What the lines of one request that nobody has read yet may take of our memory, whatever a host sends at once.
const UNREAD: usize = 4 << 20;

/// What an operator's stream asks of a host.
#[derive(Debug)]
pub(crate) enum LogCommand {
    /// Read.
    Start {
        /// Of this service.
        service: ServiceId,
        /// Of these instances; all if empty.
        instances: Vec<String>,
        /// The last lines of each.
        tail: u32,
        /// And those that come.
        follow: bool,
        /// Where they go. When the other end is dropped, the host is told to stop.
        lines: mpsc::Sender<LogChunk>,
    },
}

/// Lines of a host, or the end of them.
#[derive(Debug)]
pub(crate) enum LogChunk {
    /// Some lines, and their share of [`UNREAD`] until they are read.
    Lines(Vec<pb::LogLine>, OwnedSemaphorePermit),
    /// No more; the reason if that is not the end of the log.
    End(Option<String>),
}

/// Requests under way on one stream.
#[derive(Debug, Default)]
pub(super) struct Requests {
    next: u64,
    open: BTreeMap<u64, Reader>,
}

#[derive(Debug)]
struct Reader {
    chunks: mpsc::Sender<LogChunk>,
    unread: Arc<Semaphore>,
}

impl Requests {
    /// A number for a new request.
    pub(super) fn start(&mut self, lines: mpsc::Sender<LogChunk>) -> u64 {
        self.next += 1;
        self.open.insert(self.next, Reader { chunks: lines, unread: Arc::new(Semaphore::new(UNREAD)) });
        self.next
    }

    /// Passes lines on. `Some` is a request that nobody reads any more.
    pub(super) fn lines(&mut self, lines: pb::LogLines) -> Option<u64> {
        let request = lines.request;
        let Some(reader) = self.open.get(&request) else {
            return (!lines.end).then_some(request);
        };
        let gone = reader.chunks.is_closed();
        if !gone && !lines.lines.is_empty() {
            // Full: the reader is slow, and these lines are lost to it.
            let size = u32::try_from(size(&lines.lines)).unwrap_or(u32::MAX);
            if let Ok(share) = reader.unread.clone().try_acquire_many_owned(size) {
                drop(reader.chunks.try_send(LogChunk::Lines(lines.lines, share)));
            }
        }
        if lines.end && !gone {
            let error = (!lines.error.is_empty()).then_some(lines.error);
            drop(reader.chunks.try_send(LogChunk::End(error)));
        }
        if lines.end || gone {
            self.open.remove(&request);
        }
        (gone && !lines.end).then_some(request)
    }

    /// Requests whose reader is gone.
    pub(super) fn abandoned(&mut self) -> Vec<u64> {
        let open = self.open.iter();
        let gone: Vec<u64> =
            open.filter(|(_, reader)| reader.chunks.is_closed()).map(|(request, _)| *request).collect();
        gone.iter().for_each(|request| drop(self.open.remove(request)));
        gone
    }
}

fn size(lines: &[pb::LogLine]) -> usize {
    lines.iter().map(|line| size_of::<pb::LogLine>() + line.instance.len() + line.text.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host may send messages of 8 MiB; times the length of the queue that would be gigabytes.
    #[test]
    fn what_nobody_reads_is_bounded_in_bytes() {
        let (sender, mut chunks) = mpsc::channel(256);
        let mut requests = Requests::default();
        let request = requests.start(sender);
        let message = |text: usize| {
            let line = pb::LogLine { text: "x".repeat(text), ..pb::LogLine::default() };
            pb::LogLines { request, lines: vec![line], end: false, error: String::new() }
        };
        assert_eq!(requests.lines(message(UNREAD + 1)), None);
        assert!(chunks.try_recv().is_err(), "one message may not take it all");
        for _ in 0..100 {
            requests.lines(message(1 << 20));
        }
        requests.lines(pb::LogLines { end: true, ..message(1) });
        let mut unread = 0;
        while let Ok(LogChunk::Lines(lines, _)) = chunks.try_recv() {
            unread += size(&lines);
        }
        assert!((3 << 20..=UNREAD).contains(&unread), "{unread}");
    }

    #[test]
    fn what_was_read_makes_room_again() {
        let (sender, mut chunks) = mpsc::channel(256);
        let mut requests = Requests::default();
        let request = requests.start(sender);
        for _ in 0..100 {
            let line = pb::LogLine { text: "x".repeat(1 << 20), ..pb::LogLine::default() };
            requests.lines(pb::LogLines { request, lines: vec![line], end: false, error: String::new() });
            assert!(matches!(chunks.try_recv(), Ok(LogChunk::Lines(..))));
        }
    }
}
