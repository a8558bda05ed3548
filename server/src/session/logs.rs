//! Log requests of operators, multiplexed on a host's stream. Lossy: a reader that is slower than the log
//! misses lines, and nothing waits for it.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use windlass_core::ServiceId;
use windlass_proto::pb;

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
    /// Some lines.
    Lines(Vec<pb::LogLine>),
    /// No more; the reason if that is not the end of the log.
    End(Option<String>),
}

/// Requests under way on one stream.
#[derive(Debug, Default)]
pub(super) struct Requests {
    next: u64,
    open: BTreeMap<u64, mpsc::Sender<LogChunk>>,
}

impl Requests {
    /// A number for a new request.
    pub(super) fn start(&mut self, lines: mpsc::Sender<LogChunk>) -> u64 {
        self.next += 1;
        self.open.insert(self.next, lines);
        self.next
    }

    /// Passes lines on. `Some` is a request that nobody reads any more.
    pub(super) fn lines(&mut self, lines: pb::LogLines) -> Option<u64> {
        let request = lines.request;
        let Some(reader) = self.open.get(&request) else {
            return (!lines.end).then_some(request);
        };
        let gone = reader.is_closed();
        if !gone && !lines.lines.is_empty() {
            // Full: the reader is slow, and these lines are lost to it.
            drop(reader.try_send(LogChunk::Lines(lines.lines)));
        }
        if lines.end && !gone {
            let error = (!lines.error.is_empty()).then_some(lines.error);
            drop(reader.try_send(LogChunk::End(error)));
        }
        if lines.end || gone {
            self.open.remove(&request);
        }
        (gone && !lines.end).then_some(request)
    }

    /// Requests whose reader is gone.
    pub(super) fn abandoned(&mut self) -> Vec<u64> {
        let gone: Vec<u64> =
            self.open.iter().filter(|(_, reader)| reader.is_closed()).map(|(request, _)| *request).collect();
        gone.iter().for_each(|request| drop(self.open.remove(request)));
        gone
    }
}
