//! The connections to one endpoint: HTTP/1 ones that are idle, the newest first, or one shared HTTP/2 connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exchange::Upload;
use crate::limits::Limits;

/// A connection that carries one request at a time.
pub(crate) struct Http1 {
    pub(crate) sender: http1::SendRequest<Upload>,
    /// It counts as one connection of its endpoint as long as it is open.
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// The connections to one endpoint.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Option<http2::SendRequest<Upload>>>,
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
                idle.clear(); // the others are older
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
        let mut idle = lock(&self.idle);
        if idle.len() < self.keep {
            idle.push(Idle { connection, since: now });
        }
    }

    /// The HTTP/2 connection, if it takes requests.
    pub(crate) fn shared(&self) -> Option<http2::SendRequest<Upload>> {
        lock(&self.shared).as_ref().filter(|sender| !sender.is_closed()).cloned()
    }

    /// From now on the HTTP/2 connection is this one.
    pub(crate) fn share(&self, sender: http2::SendRequest<Upload>) {
        *lock(&self.shared) = Some(sender);
    }

    /// Forgets the HTTP/2 connection: it takes no more requests.
    pub(crate) fn unshare(&self) {
        *lock(&self.shared) = None;
    }

    /// Closes what has been idle for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        let idle_for = self.idle_for;
        lock(&self.idle).retain(|idle| now.saturating_duration_since(idle.since) < idle_for);
    }

    /// Closes every idle connection.
    pub(crate) fn clear(&self) {
        lock(&self.idle).clear();
        self.unshare();
    }
}

/// Nothing is left half done when a thread panics with one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
