//! The end of an ingress process, in steps: clients are told first, then idle connections close, then requests, then tunnels.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Times of the steps of a drain, from its beginning.
#[derive(Debug, Clone, Copy)]
pub struct DrainTimes {
    /// Until idle HTTP/1 connections close. Their clients have had answers with `Connection: close` until then.
    pub idle: Duration,
    /// Until requests under way are cut.
    pub requests: Duration,
    /// Until tunnels are cut.
    pub tunnels: Duration,
}

impl DrainTimes {
    /// Until everything was cut.
    pub(crate) fn whole(&self) -> Duration {
        self.idle.max(self.requests).max(self.tunnels)
    }
}

impl Default for DrainTimes {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            requests: Duration::from_secs(60),
            tunnels: Duration::from_secs(600),
        }
    }
}

/// A step of an end, which comes once.
#[derive(Debug, Default)]
pub(crate) struct Step {
    token: CancellationToken,
    has_come: AtomicBool,
}

impl Step {
    pub(crate) fn take(&self) {
        self.has_come.store(true, Release);
        self.token.cancel();
    }

    pub(crate) fn has_come(&self) -> bool {
        self.has_come.load(Acquire)
    }

    /// Waits until it has come. Every connection waits for the same step: asking again costs no lock.
    pub(crate) fn reached(&self) -> Reached<'_> {
        Reached { step: self, token: self.token.cancelled(), waker: None }
    }
}

pin_project_lite::pin_project! {
    /// A wait for a step.
    pub(crate) struct Reached<'s> {
        step: &'s Step,
        #[pin]
        token: WaitForCancellationFuture<'s>,
        // The task that the token knows.
        waker: Option<Waker>,
    }
}

impl Future for Reached<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.step.has_come() {
            return Poll::Ready(());
        }
        if this.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        *this.waker = Some(cx.waker().clone());
        this.token.poll(cx)
    }
}

/// The steps of the end of a process.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// The process ends, and no successor has its listeners.
    pub(crate) leaves: Step,
    pub(crate) begun: Step,
    pub(crate) close_idle: Step,
    pub(crate) cut_requests: Step,
    pub(crate) cut_tunnels: Step,
}

impl Drain {
    /// Goes through the steps.
    pub(crate) async fn run(&self, times: DrainTimes) {
        let begun = tokio::time::Instant::now();
        self.begun.take();
        for (after, step) in [
            (times.idle, &self.close_idle),
            (times.requests.max(times.idle), &self.cut_requests),
            (times.whole(), &self.cut_tunnels),
        ] {
            tokio::time::sleep_until(begun + after).await;
            step.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn everybody_hears_of_a_step_whatever_task_asks() {
        let step = Arc::new(Step::default());
        let mut first = Box::pin(step.reached());
        // Asked by two tasks, one after the other: the last one is woken.
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut first).await.is_err());
        let (also, mut second) = (Arc::clone(&step), tokio::task::JoinSet::new());
        second.spawn(async move { also.reached().await });
        let taken = async {
            tokio::task::yield_now().await;
            step.take();
        };
        tokio::join!(first, taken);
        second.join_next().await.unwrap().unwrap();
        step.reached().await;
        assert!(step.has_come());
    }
}
