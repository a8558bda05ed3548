//! A timer that a task keeps over many short waits. Most waits end long before their time, so the timer of the runtime is left as it
//! was set, fires early, and is set anew only then.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

/// The timer of one task. Several waits of that task may share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alarm(Arc<Mutex<Option<Pin<Box<Sleep>>>>>);

impl Alarm {
    /// Ends at `deadline`.
    pub(crate) fn until(&self, deadline: Instant) -> Until {
        Until { alarm: self.clone(), deadline }
    }

    fn poll(&self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        if timer.deadline() > deadline.into() {
            timer.as_mut().reset(deadline.into());
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if tokio::time::Instant::now() >= deadline.into() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline.into());
        }
    }
}

/// A wait for a time.
#[derive(Debug)]
pub(crate) struct Until {
    alarm: Alarm,
    deadline: Instant,
}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.poll(self.deadline, cx)
    }
}

impl hyper::rt::Sleep for Until {}

impl hyper::rt::Timer for Alarm {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.until(hyper::rt::Timer::now(self) + duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.until(deadline))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_own_time() {
        let (alarm, began) = (Alarm::default(), Instant::now());
        let wait = |seconds| alarm.until((began + Duration::from_secs(seconds)).into());
        // Waits that are given up leave the timer as it was.
        for seconds in [60, 61, 10, 90] {
            assert!(timeout(Duration::from_millis(1), wait(seconds)).await.is_err());
        }
        wait(30).await;
        assert_eq!(began.elapsed().as_secs(), 30);
        wait(20).await;
        assert_eq!(began.elapsed().as_secs(), 30, "it has passed");
        wait(31).await;
        assert_eq!(began.elapsed().as_secs(), 31);
    }

    #[tokio::test(start_paused = true)]
    async fn two_waits_of_a_task_share_a_timer() {
        let (alarm, began) = (Alarm::default(), Instant::now());
        let ended = |wait: Duration| {
            let until = alarm.until((began + wait).into());
            async move {
                until.await;
                began.elapsed().as_secs()
            }
        };
        let ended = tokio::join!(ended(WAIT), ended(WAIT / 2), ended(WAIT * 2));
        assert_eq!(ended, (60, 30, 120));
    }
}
