//! Admission to handshakes: places per address, rates per address, and places apart for addresses that have proven a certificate.
//!
//! | | strangers | proven addresses |
//! |---|---|---|
//! | places, all together | [`AcceptOptions::handshakes`] | [`AcceptOptions::proven_handshakes`] |
//! | of one address | [`AcceptOptions::handshakes_per_address`] | half of them |
//! | connections of one address | a burst, then so many a second | |
//! | hellos of one address | the same | ten times that |
//!
//! A silent connection costs a descriptor and a place that it loses to the next one; a hello costs processor time, so it
//! waits for its turn. At most a quarter of the places wait: a hello beyond them is turned away at once. Otherwise each newcomer
//! would take the place of one that has nearly waited enough, and of thousands of agents behind one address that all come back at
//! once, few would ever come in.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use windlass_core::Timestamp;
use windlass_core::quota::{Notices, Quotas, Rate, Source};

use super::options::AcceptOptions;
use super::seats::{Seat, Seats};

/// Connections of one stranger's address.
const CONNECTIONS: Rate = Rate::new(512, Duration::from_millis(10));
/// The time that one hello of a stranger's address stands for, and one of a proven address.
const HELLO_EVERY: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(2)];
/// The time that one hello of all strangers stands for: a third of a millisecond of it is processor time.
const HELLO_OF_ALL_EVERY: Duration = Duration::from_millis(2);
/// Addresses whose rates are remembered.
const ADDRESSES: usize = 8192;
/// Addresses that have proven a certificate. No connection outlives its certificate, and none of ours lives longer.
const PROVEN: usize = 16_384;
const LATELY: Duration = Duration::from_secs(31 * 24 * 3600);
/// Lines about handshakes, of one address and all together.
const LINES: [Rate; 2] = [Rate::new(4, Duration::from_secs(10)), Rate::new(64, Duration::from_secs(1))];

#[derive(Debug)]
pub(super) struct Admission {
    seats: [Seats; 2],
    inner: Mutex<Inner>,
    started: Instant,
}

#[derive(Debug)]
struct Inner {
    connections: Quotas<Source>,
    hellos: [Turns<Source>; 2],
    all_strangers: Turns<()>,
    proven: BTreeMap<Source, Timestamp>,
    lines: Notices<Source>,
}

/// Turns of hellos: a quarter of the places at once, and as many that wait for theirs. The other half is for hellos that are still to
/// come and handshakes that take their time.
#[derive(Debug)]
struct Turns<K> {
    quotas: Quotas<K>,
    patience: Duration,
}

impl<K: Ord + Clone> Turns<K> {
    fn new(places: usize, every: Duration, keys: usize) -> Self {
        let at_once = u32::try_from(places / 4).unwrap_or(u32::MAX).max(1);
        Self { quotas: Quotas::new(Rate::new(at_once, every), keys), patience: every.saturating_mul(at_once) }
    }

    /// How long a hello of `key` waits for its turn; `None` if those that wait are enough.
    fn reserve(&mut self, key: &K, now: Timestamp) -> Option<Duration> {
        self.quotas.reserve(key, now, self.patience)
    }
}

/// A connection that may shake hands until `cut` is tripped.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) source: Source,
    pub(super) cut: CancellationToken,
    proven: bool,
    seat: Seat,
}

impl Admission {
    pub(super) fn new(options: &AcceptOptions) -> Self {
        let shares = [options.handshakes_per_address, options.proven_handshakes.div_ceil(2)];
        let strangers = Seats::new(options.handshakes, shares[0]);
        let proven = Seats::new(options.proven_handshakes, shares[1]);
        let inner = Inner {
            connections: Quotas::new(CONNECTIONS, ADDRESSES),
            hellos: [0, 1].map(|kind| Turns::new(shares[kind], HELLO_EVERY[kind], ADDRESSES)),
            all_strangers: Turns::new(options.handshakes, HELLO_OF_ALL_EVERY, 1),
            proven: BTreeMap::new(),
            lines: Notices::new(LINES[0], LINES[1], 1024),
        };
        Self { seats: [strangers, proven], inner: Mutex::new(inner), started: Instant::now() }
    }

    /// A place for a connection, unless its address opens too many.
    pub(super) fn admit(&self, source: Source) -> Option<Admitted> {
        let now = self.now();
        let proven = {
            let mut inner = self.lock();
            let proven = inner.proven.get(&source).is_some_and(|at| now.since(*at) < LATELY);
            if !proven {
                inner.connections.take(&source, now).ok()?;
            }
            proven
        };
        let cut = CancellationToken::new();
        let seat = self.seats[usize::from(proven)].enter(source, cut.clone());
        Some(Admitted { source, cut, proven, seat })
    }

    /// It has said hello: how long it has to wait before it is answered; `None` if too long.
    pub(super) fn greeted(&self, admitted: &Admitted) -> Option<Duration> {
        admitted.seat.greeted();
        let (now, kind) = (self.now(), usize::from(admitted.proven));
        let mut inner = self.lock();
        let own = inner.hellos[kind].reserve(&admitted.source, now)?;
        let all = if admitted.proven { Duration::ZERO } else { inner.all_strangers.reserve(&(), now)? };
        Some(own.max(all))
    }

    /// A certificate was proven from this address.
    pub(super) fn prove(&self, source: Source) {
        let now = self.now();
        let proven = &mut self.lock().proven;
        if proven.len() >= PROVEN && !proven.contains_key(&source) {
            let oldest = proven.iter().min_by_key(|(_, at)| **at).map(|(source, _)| *source);
            oldest.and_then(|oldest| proven.remove(&oldest));
        }
        proven.insert(source, now);
    }

    /// Whether a line about `source` is written, and how many were not before it.
    pub(super) fn line_due(&self, source: Source) -> Option<u64> {
        let now = self.now();
        self.lock().lines.note(&source, now)
    }

    /// Since the start, so that a clock that is set changes nothing.
    fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::of([10, 0, 0, last].into())
    }

    #[test]
    fn a_stranger_has_a_share_and_a_proven_address_has_its_own() {
        let options = AcceptOptions {
            handshakes: 4,
            handshakes_per_address: 2,
            proven_handshakes: 4,
            ..AcceptOptions::default()
        };
        let admission = Admission::new(&options);
        admission.prove(source(9));
        let member = admission.admit(source(9)).unwrap();
        let flood: Vec<_> = (0..100).map(|n| admission.admit(source(n % 8)).unwrap()).collect();
        assert!(!member.cut.is_cancelled(), "whatever strangers do");
        assert_eq!(flood.iter().filter(|one| !one.cut.is_cancelled()).count(), 4);
        assert_eq!(admission.seats[0].open(), 4);
    }

    #[test]
    fn an_address_that_opens_too_many_is_turned_away() {
        let admission = Admission::new(&AcceptOptions::default());
        let let_in = (0..2000).filter(|_| admission.admit(source(1)).is_some()).count();
        assert!((512..1000).contains(&let_in), "{let_in}");
        assert!(admission.admit(source(2)).is_some());
    }

    #[test]
    fn hellos_wait_for_their_turn_and_not_for_long() {
        let options = AcceptOptions::default();
        let admission = Admission::new(&options);
        let one = admission.admit(source(1)).unwrap();
        let waits: Vec<_> = (0..2000).map(|_| admission.greeted(&one)).collect();
        assert_eq!(waits[0], Some(Duration::ZERO));
        let answered = waits.iter().flatten().count();
        assert!((120..options.handshakes_per_address).contains(&answered), "{answered}");
        assert!(waits.iter().flatten().all(|wait| *wait <= Duration::from_millis(1280)));
    }

    #[test]
    fn newcomers_take_no_place_of_one_that_waits_for_its_turn() {
        let admission = Admission::new(&AcceptOptions::default());
        admission.prove(source(9));
        let newcomers = (0..5000).filter_map(|_| {
            let admitted = admission.admit(source(9))?;
            admission.greeted(&admitted).map(|_| admitted)
        });
        let waiting: Vec<_> = newcomers.collect();
        assert!((512..1024).contains(&waiting.len()), "{}", waiting.len());
        assert!(waiting.iter().all(|one| !one.cut.is_cancelled()));
    }

    #[test]
    fn proven_addresses_are_bounded_and_the_oldest_go() {
        let admission = Admission::new(&AcceptOptions::default());
        for n in 0..u32::try_from(PROVEN).unwrap() + 100 {
            admission.prove(Source::of(std::net::Ipv4Addr::from_bits(n).into()));
        }
        assert_eq!(admission.lock().proven.len(), PROVEN);
    }
}
