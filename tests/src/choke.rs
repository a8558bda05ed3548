//! A wire that stops in the middle: passes connections on to an address, and after so many bytes passes nothing more
//! until it is cut or opened.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait;

/// The wire. Dropping it cuts it.
#[derive(Debug)]
pub struct Choke {
    shared: Arc<Shared>,
    address: String,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    /// Bytes that may still pass towards the caller.
    left: AtomicU64,
    /// Bytes that have passed.
    passed: AtomicU64,
    closed: Mutex<bool>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Choke {
    /// Listens on `address` and passes on what connects there to `target`, `bytes` of its answers in all.
    ///
    /// # Panics
    /// If the address is taken.
    #[track_caller]
    pub fn before(target: &str, address: &str, bytes: u64) -> Self {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            left: AtomicU64::new(bytes),
            passed: AtomicU64::new(0),
            closed: Mutex::new(false),
            streams: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if *serving.closed.lock().unwrap_or_else(PoisonError::into_inner) {
                    return;
                }
                Shared::pass(&serving, stream);
            }
        });
        Self { shared, address: address.to_owned(), thread: Some(thread) }
    }

    /// Waits until nothing more passes.
    #[track_caller]
    pub fn wait_until_stuck(&self, limit: Duration) {
        wait::until("the wire is stuck", limit, || match self.shared.left.load(Ordering::SeqCst) {
            0 => Ok(()),
            left => {
                Err(format!("{left} bytes may pass yet, {} have", self.shared.passed.load(Ordering::SeqCst)))
            }
        });
    }

    /// Cuts it: every connection ends, and new ones are refused.
    pub fn cut(mut self) {
        self.close();
    }

    fn close(&mut self) {
        *self.shared.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        for stream in self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both); // it may have ended by itself
        }
        let _ = TcpStream::connect(&self.address); // wakes the listener, which then ends
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Choke {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn pass(shared: &Arc<Self>, near: TcpStream) {
        let Ok(far) = TcpStream::connect(&shared.target) else {
            let _ = near.shutdown(Shutdown::Both);
            return;
        };
        let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
        {
            let mut streams = shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
            streams.extend(near.try_clone());
            streams.extend(far.try_clone());
        }
        std::thread::spawn(move || copy(near, far, |_| true));
        let counting = Arc::clone(shared);
        std::thread::spawn(move || copy(far_too, near_too, |bytes| counting.may_pass(bytes)));
    }

    /// Takes `bytes` from what may pass; false, for ever, once that is used up.
    fn may_pass(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.passed.fetch_add(bytes, Ordering::SeqCst);
        let take = |left: u64| Some(left.saturating_sub(bytes));
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        before.is_ok_and(|left| left > bytes)
    }
}

/// Copies until the end; holds the connection open and silent from where `may_pass` says no.
fn copy(mut from: TcpStream, mut to: TcpStream, may_pass: impl Fn(usize) -> bool) {
    let mut buffer = [0; 16 * 1024];
    let mut is_stuck = false;
    while let Ok(count) = from.read(&mut buffer) {
        is_stuck |= count > 0 && !may_pass(count);
        if count == 0 || (!is_stuck && to.write_all(&buffer[..count]).is_err()) {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both); // the other side may have gone first
}
