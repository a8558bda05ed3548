//! The work of one HTTP/1 connection to an endpoint. A task of its own does it, or, while the connection carries a request without a
//! body, the task of that request: a request passes from one task to another and back otherwise, and its response once more.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// The way from a connection to the task that works on it, and the order to end.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    task: AtomicWaker,
    /// Something has happened on the connection since it was polled.
    has_news: AtomicBool,
    is_cut: AtomicBool,
}

impl Wire {
    /// Ends the connection, whatever is on its way over it.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Relaxed);
        self.tell();
    }

    fn tell(&self) {
        self.has_news.store(true, Release);
        self.task.wake();
    }
}

impl Wake for Wire {
    fn wake(self: Arc<Self>) {
        self.tell();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.tell();
    }
}

/// A connection that has to be polled. It ends when the connection has, or was cut.
pub(crate) struct Driver {
    /// `None` once it has ended.
    connection: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    wire: Arc<Wire>,
    waker: Waker,
}

impl Driver {
    pub(crate) fn new(wire: &Arc<Wire>, connection: impl Future<Output = ()> + Send + 'static) -> Self {
        let waker = Waker::from(Arc::clone(wire));
        Self { connection: Some(Box::pin(connection)), wire: Arc::clone(wire), waker }
    }

    /// Leaves the connection without a task: nothing that it does wakes the last one.
    pub(crate) fn rest(&self) {
        drop(self.wire.task.take());
    }

    /// Does what there is to do on a connection without a task: it may have ended. Answers whether it still stands.
    pub(crate) fn look(&mut self) -> bool {
        !self.wire.has_news.load(Acquire) || self.drive().is_pending()
    }

    fn drive(&mut self) -> Poll<()> {
        self.wire.has_news.store(false, Release);
        let Some(connection) = &mut self.connection else { return Poll::Ready(()) };
        let is_cut = self.wire.is_cut.load(Relaxed);
        // Its waker is the same for all tasks, so that it is not exchanged from request to request.
        if is_cut || connection.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready() {
            self.connection = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.wire.task.register(cx.waker());
        self.drive()
    }
}

/// Polls `part`, which only work on the connection brings forward, and does that work where `driver` is there. What `part` waits
/// for need not wake the task then.
pub(crate) fn poll_with<T>(
    driver: Option<&mut Driver>,
    cx: &mut Context<'_>,
    mut part: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let Some(driver) = driver else { return part(cx) };
    let mut quiet = Context::from_waker(Waker::noop());
    if let Poll::Ready(ready) = part(&mut quiet) {
        return Poll::Ready(ready);
    }
    match Pin::new(driver).poll(cx) {
        Poll::Pending => part(&mut quiet),
        Poll::Ready(()) => part(cx),
    }
}
