//! The connections to one endpoint: HTTP/1 ones that are idle, the newest first, or HTTP/2 ones, each up to its limit of streams.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::exchange::Outgoing;
use crate::limits::Limits;

use super::driver::{Driver, Wire};

/// Streams of a connection until its endpoint says how many it allows: as RFC 9113 recommends at least.
const STREAMS: usize = 100;

/// A connection that carries one request at a time.
pub(crate) struct Http1 {
    pub(crate) sender: http1::SendRequest<Outgoing>,
    /// The work on it; `None` if a task of its own does it.
    pub(crate) driver: Option<Driver>,
    pub(crate) wire: Arc<Wire>,
    /// It counts as one connection of its endpoint as long as it is open.
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// One HTTP/2 connection, as long as it takes streams or has some. It counts as one connection of its endpoint.
#[derive(Debug)]
pub(crate) struct Streams {
    open: AtomicUsize,
    /// As many as the endpoint allows at once, by its newest word.
    most: AtomicUsize,
    /// An answer has come, and with it that word.
    known: AtomicBool,
    look: Notify,
    _permit: OwnedSemaphorePermit,
}

/// A stream of a connection; its place is free when this is dropped.
#[derive(Debug)]
pub(crate) struct Stream(Arc<Streams>);

impl Streams {
    /// Begins with the limit of the connection before.
    pub(crate) fn new(permit: OwnedSemaphorePermit, most: usize) -> Arc<Self> {
        let (open, most) = (AtomicUsize::new(0), AtomicUsize::new(most));
        Arc::new(Self { open, most, known: AtomicBool::new(false), look: Notify::new(), _permit: permit })
    }

    /// A stream was answered.
    pub(crate) fn answered(&self) {
        if !self.known.load(Relaxed) && !self.known.swap(true, Relaxed) {
            self.look.notify_one();
        }
    }

    /// A stream was refused, most likely as one too many: until the endpoint's word is read, there is no room.
    pub(crate) fn refused(&self) {
        self.most.store(self.open.load(Relaxed).saturating_sub(1), Relaxed);
        self.known.store(true, Relaxed);
        self.look.notify_one();
    }

    /// Waits until the endpoint's word on streams is to be looked at.
    pub(crate) async fn look(&self) {
        self.look.notified().await;
    }

    /// The endpoint allows so many streams, if it has said so yet. Answers whether it has.
    pub(crate) fn allow(&self, most: usize) -> bool {
        let known = self.known.load(Relaxed);
        if known {
            self.most.store(most, Relaxed);
        }
        known
    }

    fn has_room(&self) -> bool {
        self.open.load(Relaxed) < self.most.load(Relaxed)
    }
}

impl Stream {
    pub(crate) fn begin(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Relaxed);
        Self(Arc::clone(streams))
    }

    /// The connection that it is of.
    pub(crate) const fn streams(&self) -> &Arc<Streams> {
        &self.0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<Outgoing>,
    streams: Arc<Streams>,
    idle_since: Option<Instant>,
}

/// The connections to one endpoint.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Vec<Shared>>,
    /// Streams that the last connection allowed.
    pub(crate) streams: AtomicUsize,
    /// Held while a connection for streams is made, so that a crowd makes one.
    pub(crate) connecting: tokio::sync::Mutex<()>,
    pub(crate) connections: Arc<Semaphore>,
    keep: usize,
    idle_for: Duration,
}

struct Idle {
    connection: Http1,
    since: Instant,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").field("since", &self.since).finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            idle: Mutex::default(),
            shared: Mutex::default(),
            streams: AtomicUsize::new(STREAMS),
            connecting: tokio::sync::Mutex::default(),
            connections: Arc::new(Semaphore::new(limits.upstream_connections)),
            keep: limits.upstream_kept,
            idle_for: limits.upstream_idle,
        }
    }

    /// The connection that became idle last, if it is young enough to be still open on the other side.
    pub(crate) fn take(&self, now: Instant) -> Option<Http1> {
        let mut idle = lock(&self.idle);
        while let Some(Idle { connection, since }) = idle.pop() {
            if now.saturating_duration_since(since) >= self.idle_for {
                let old = std::mem::take(&mut *idle); // the others are older
                drop(idle); // closing them takes a while
                drop(old);
                return None;
            }
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose response has been read to its end.
    pub(crate) fn put(&self, connection: Http1, now: Instant) {
        if connection.sender.is_closed() {
            return;
        }
        if let Some(driver) = &connection.driver {
            driver.rest();
        }
        let mut idle = lock(&self.idle);
        if idle.len() < self.keep {
            idle.push(Idle { connection, since: now });
        }
    }

    /// A stream of the first connection that has room for one more.
    pub(crate) fn stream(&self) -> Option<(http2::SendRequest<Outgoing>, Stream)> {
        let mut shared = lock(&self.shared);
        shared.retain(|of| !of.sender.is_closed());
        let of = shared.iter().find(|of| of.streams.has_room())?;
        Some((of.sender.clone(), Stream::begin(&of.streams)))
    }

    /// Keeps a connection for further streams.
    pub(crate) fn share(&self, sender: http2::SendRequest<Outgoing>, streams: Arc<Streams>) {
        lock(&self.shared).push(Shared { sender, streams, idle_since: None });
    }

    /// Forgets a connection: it takes no more streams.
    pub(crate) fn forget(&self, streams: &Arc<Streams>) {
        lock(&self.shared).retain(|of| !Arc::ptr_eq(&of.streams, streams));
    }

    /// Closes what has been idle for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        let idle_for = self.idle_for;
        let old = {
            let mut idle = lock(&self.idle);
            // The oldest comes first.
            let young = idle.partition_point(|idle| now.saturating_duration_since(idle.since) >= idle_for);
            idle.drain(..young).collect::<Vec<_>>()
        };
        drop(old); // not under the lock: each is closed
        let mut shared = lock(&self.shared);
        shared.retain(|of| !of.sender.is_closed());
        let mut spare = shared.len().saturating_sub(1);
        shared.retain_mut(|of| {
            let idle = of.streams.open.load(Relaxed) == 0;
            of.idle_since = idle.then(|| of.idle_since.unwrap_or(now));
            let old = of.idle_since.is_some_and(|since| now.saturating_duration_since(since) >= idle_for);
            let keep = !old || spare == 0;
            spare -= usize::from(!keep);
            keep
        });
    }

    /// Closes every idle connection, and others when what they have ends.
    pub(crate) fn clear(&self) {
        let idle = std::mem::take(&mut *lock(&self.idle));
        drop(idle); // not under the lock
        lock(&self.shared).clear();
    }
}

/// Nothing is left half done when a thread panics with one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
