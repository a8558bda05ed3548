//! Connections without a certificate: whoever reaches the port may open them, so they are counted.
//!
//! Enrolling takes a second; who holds many at once is no host that joins. The oldest of one address go first, and
//! no flood takes more memory than the whole of them may.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Those that are open. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Strangers {
    most: usize,
    per_address: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    open: usize,
    by_address: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

/// A connection's place; dropping it makes room.
#[derive(Debug)]
pub(super) struct Place {
    strangers: Strangers,
    address: IpAddr,
    at: u64,
}

impl Strangers {
    /// Nobody yet; at most `most`, and `per_address` from one address.
    pub(super) fn new(most: usize, per_address: usize) -> Self {
        Self { most, per_address, inner: Arc::default() }
    }

    /// Makes room for one more from `address`, by cutting its oldest if it has its share. `None` if all places are
    /// taken: the newcomer has to try again.
    pub(super) fn enter(&self, address: IpAddr, token: CancellationToken) -> Option<Place> {
        let (at, oldest) = {
            let mut inner = self.lock();
            let shares = inner.by_address.get(&address).map_or(0, BTreeMap::len);
            let cuts_one = shares >= self.per_address;
            if inner.open >= self.most && !cuts_one {
                return None;
            }
            inner.next += 1;
            inner.open += 1;
            let at = inner.next;
            let of_address = inner.by_address.entry(address).or_default();
            let oldest = if cuts_one { of_address.pop_first() } else { None };
            of_address.insert(at, token);
            inner.open -= usize::from(oldest.is_some());
            (at, oldest)
        };
        // Outside the lock: a waker may drop its connection, which takes the lock.
        if let Some((_, oldest)) = oldest {
            oldest.cancel();
        }
        Some(Place { strangers: self.clone(), address, at })
    }

    #[cfg(test)]
    fn open(&self) -> usize {
        self.lock().open
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.strangers.lock();
        let Some(of_address) = inner.by_address.get_mut(&self.address) else { return };
        let was_open = of_address.remove(&self.at).is_some();
        if of_address.is_empty() {
            inner.by_address.remove(&self.address);
        }
        inner.open -= usize::from(was_open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn an_address_that_takes_more_than_its_share_loses_its_oldest_and_others_lose_nothing() {
        let strangers = Strangers::new(100, 2);
        let tokens: Vec<CancellationToken> = (0..5).map(|_| CancellationToken::new()).collect();
        let other = CancellationToken::new();
        let _other = strangers.enter(address(2), other.clone()).unwrap();
        let places: Vec<Place> =
            tokens.iter().map(|token| strangers.enter(address(1), token.clone()).unwrap()).collect();
        let cut: Vec<bool> = tokens.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(cut, [true, true, true, false, false]);
        assert!(!other.is_cancelled());
        assert_eq!(strangers.open(), 3);
        drop(places);
        assert_eq!(strangers.open(), 1);
        assert_eq!(strangers.lock().by_address.len(), 1, "an address that left is forgotten");
    }

    #[test]
    fn when_all_places_are_taken_a_newcomer_waits_until_one_is_free() {
        let strangers = Strangers::new(3, 2);
        let enter = |last| strangers.enter(address(last), CancellationToken::new());
        let first = enter(1).unwrap();
        let _others = [enter(2).unwrap(), enter(3).unwrap()];
        assert!(enter(4).is_none());
        assert!(enter(1).is_none(), "its own share does not help while there is no room");
        drop(first);
        let _back = enter(4).unwrap();
        assert_eq!(strangers.open(), 3);
    }
}
