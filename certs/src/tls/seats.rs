//! Connections that are counted by where they come from, each with a token that cuts it.
//!
//! A newcomer always gets a seat: if its address has its share, or all are taken, the oldest of the address that holds
//! the most is cut for it. So a flood costs its own connections, and takes no more memory than all seats do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use windlass_core::quota::{Places, Source};

/// Seats of a listener. Clones share them.
#[derive(Debug, Clone)]
pub struct Seats {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    places: Places<Source>,
    cuts: HashMap<u64, CancellationToken>,
}

/// A connection's seat; dropping it makes room.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    source: Source,
    at: u64,
}

impl Seats {
    /// All free; at most `most`, and `share` of one source.
    pub fn new(most: usize, share: usize) -> Self {
        let inner = Inner { places: Places::new(most, share), cuts: HashMap::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// A seat for one more of `source`. `cut` is tripped when another one needs it more.
    pub fn enter(&self, source: Source, cut: CancellationToken) -> Seat {
        let (at, out) = {
            let mut inner = self.lock();
            let entered = inner.places.enter(&source);
            inner.cuts.insert(entered.at, cut);
            (entered.at, entered.out.and_then(|out| inner.cuts.remove(&out)))
        };
        // Outside the lock: a waker may drop its connection, which takes the lock.
        if let Some(out) = out {
            out.cancel();
        }
        Seat { seats: self.clone(), source, at }
    }

    /// Seats that are taken.
    pub fn open(&self) -> usize {
        self.lock().places.open()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The connection has shown something: those that have not are cut before it.
    pub fn greeted(&self) {
        self.seats.lock().places.greeted(&self.source, self.at);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.seats.lock();
        inner.places.leave(&self.source, self.at);
        inner.cuts.remove(&self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::of([10, 0, 0, last].into())
    }

    #[test]
    fn an_address_with_more_than_its_share_loses_its_oldest() {
        let seats = Seats::new(100, 2);
        let tokens: Vec<CancellationToken> = (0..5).map(|_| CancellationToken::new()).collect();
        let other = CancellationToken::new();
        let _other = seats.enter(source(2), other.clone());
        let held: Vec<Seat> = tokens.iter().map(|token| seats.enter(source(1), token.clone())).collect();
        let cut: Vec<bool> = tokens.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(cut, [true, true, true, false, false]);
        assert!(!other.is_cancelled());
        assert_eq!(seats.open(), 3);
        drop(held);
        let inner = seats.lock();
        assert_eq!((inner.places.keys(), inner.cuts.len()), (1, 1), "who left is forgotten");
    }

    #[test]
    fn when_all_seats_are_taken_the_fullest_address_gives_one() {
        let seats = Seats::new(4, 3);
        let flood: Vec<CancellationToken> = (0..3).map(|_| CancellationToken::new()).collect();
        let _flood: Vec<Seat> = flood.iter().map(|token| seats.enter(source(1), token.clone())).collect();
        let honest = CancellationToken::new();
        let _honest = seats.enter(source(2), honest.clone());
        let _newcomer = seats.enter(source(3), CancellationToken::new());
        assert!(flood[0].is_cancelled() && !honest.is_cancelled());
        assert_eq!(seats.open(), 4);
    }
}
