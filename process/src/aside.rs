//! Calls into what may hang for ever (a dead mount, a resolver, a driver), each on a thread of its own, so that neither
//! the runtime's thread nor its pool of threads for files waits for them.
//!
//! A call has a name, and of each name one runs at a time: what hangs is not called again, and takes one thread for as
//! long as it hangs. There are never more threads than places. Nothing can end a call that hangs: whoever waits for it
//! is told that it does, and goes on without.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

/// Stack of such a call; it only makes system calls.
const STACK: usize = 256 * 1024;

/// Places for calls of one kind.
#[derive(Debug)]
pub struct Aside {
    kind: &'static str,
    places: Arc<Semaphore>,
    /// Whose turn it is, by the name of the call.
    turns: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// A call that was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Not in time: it, or one before it that still hangs.
    #[error("no answer within {} ms", .0.as_millis())]
    InTime(Duration),
    /// There was no thread for it, or the call panicked.
    #[error("the call could not be made")]
    AtAll,
}

impl Aside {
    /// With so many places for calls of this kind, which names their threads.
    pub fn new(kind: &'static str, places: usize) -> Self {
        Self { kind, places: Arc::new(Semaphore::new(places)), turns: Mutex::default() }
    }

    /// The same for code that cannot await: this thread waits, so the deadline is a fraction of a second. What hangs
    /// already is not waited for again.
    pub fn call_here<T: Send + 'static>(
        &self,
        name: &str,
        deadline: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let late = |_| Unanswered::InTime(deadline);
        let turn = self.turn(name).try_acquire_owned().map_err(late)?;
        let place = self.places.clone().try_acquire_owned().map_err(late)?;
        let (tell, told) = mpsc::sync_channel(1);
        self.begin((turn, place), call, move |answer| drop(tell.send(answer)))?;
        told.recv_timeout(deadline).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => Unanswered::InTime(deadline),
            mpsc::RecvTimeoutError::Disconnected => Unanswered::AtAll,
        })
    }

    fn turn(&self, name: &str) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1); // the others are nobody's
        turns.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
    }

    fn begin<T>(
        &self,
        held: (OwnedSemaphorePermit, OwnedSemaphorePermit),
        call: impl FnOnce() -> T + Send + 'static,
        tell: impl FnOnce(T) + Send + 'static,
    ) -> Result<(), Unanswered> {
        let thread = std::thread::Builder::new().name(self.kind.to_owned()).stack_size(STACK);
        let begun = thread.spawn(move || {
            let held = held;
            let answer = call();
            drop(held);
            tell(answer); // whoever asked may have gone
        });
        begun.map(drop).map_err(|_| Unanswered::AtAll)
    }

    /// Calls, and waits for the answer until the deadline. A call that is late goes on and keeps its place.
    pub async fn call<T: Send + 'static>(
        &self,
        name: &str,
        deadline: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let turn = self.turn(name);
        let answered = timeout(deadline, async {
            let turn = turn.acquire_owned().await.map_err(|_| Unanswered::AtAll)?;
            let place = self.places.clone().acquire_owned().await.map_err(|_| Unanswered::AtAll)?;
            let (tell, told) = oneshot::channel();
            self.begin((turn, place), call, move |answer| drop(tell.send(answer)))?;
            told.await.map_err(|_| Unanswered::AtAll)
        });
        answered.await.unwrap_or(Err(Unanswered::InTime(deadline)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn what_hangs_is_not_called_again_and_holds_up_no_other() {
        let aside = Aside::new("test", 3);
        let (end, hang) = mpsc::channel::<()>();
        let hung = aside
            .call("dead", SOON, move || {
                let _ = hang.recv();
            })
            .await;
        assert_eq!(hung, Err(Unanswered::InTime(SOON)));
        for _ in 0..10 {
            let again = aside.call("dead", SOON, || panic!("it is not called while it hangs")).await;
            assert_eq!(again, Err(Unanswered::InTime(SOON)));
            assert_eq!(aside.places.available_permits(), 2, "it takes one place, however often it is asked");
        }
        assert_eq!(aside.call("other", LONG, || 7).await, Ok(7));
        drop(end);
        assert_eq!(aside.call("dead", LONG, || 8).await, Ok(8), "it answers again");
        assert_eq!(aside.call("shaky", LONG, || panic!("boom")).await, Err::<(), _>(Unanswered::AtAll));
        assert_eq!(aside.call("shaky", LONG, || 9).await, Ok(9), "a panic gives its place back");
    }

    #[test]
    fn code_that_cannot_await_waits_once_and_not_again() {
        let aside = Aside::new("test", 2);
        let (end, hang) = mpsc::channel::<()>();
        let hung = aside.call_here("dead", SOON, move || {
            let _ = hang.recv();
        });
        assert_eq!(hung, Err(Unanswered::InTime(SOON)));
        let begun = std::time::Instant::now();
        assert_eq!(aside.call_here("dead", LONG, || ()), Err(Unanswered::InTime(LONG)));
        assert!(begun.elapsed() < LONG / 2, "it hangs already");
        assert_eq!(aside.call_here("other", LONG, || 7), Ok(7));
        drop(end);
    }

    #[tokio::test]
    async fn there_are_never_more_threads_than_places() {
        let aside = Aside::new("test", 2);
        let mut ends = Vec::new();
        for name in ["one", "two"] {
            let (end, hang) = mpsc::channel::<()>();
            ends.push(end);
            assert!(
                aside
                    .call(name, SOON, move || {
                        let _ = hang.recv();
                    })
                    .await
                    .is_err()
            );
        }
        assert_eq!(aside.call("three", SOON, || 3).await, Err(Unanswered::InTime(SOON)));
        ends.pop();
        assert_eq!(aside.call("three", LONG, || 3).await, Ok(3));
        assert_eq!(aside.call("four", LONG, || 4).await, Ok(4));
        assert_eq!(aside.turns.lock().unwrap().len(), 2, "names of calls that ended are forgotten");
    }
}
