//! The pace at which a peer is listened to: HTTP/2 frames and bytes, over all connections of one identity or one address.
//!
//! Each frame costs processor time whatever it says: pings and settings are answered, streams are opened and reset. Who
//! sends more than its pace is not cut but read later, so that TCP slows it down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use windlass_core::quota::Source;

use crate::identity::Identity;

/// A second's worth of frames of one member (an agent that sends all it may: a few hundred), and of one stranger's
/// address, and of all strangers.
const MEMBER: Allowed = Allowed { frames: 4000, bytes_per_frame: 8192 };
const STRANGER: Allowed = Allowed { frames: 1000, bytes_per_frame: 512 };
const STRANGERS: Allowed = Allowed { frames: 6000, bytes_per_frame: 512 };
/// Seconds' worth that may come at once.
const BURST: u64 = 4;
/// The longest wait of a peer that is far ahead of its pace.
const LONGEST: Duration = Duration::from_secs(60);
/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`.
const PREFACE: u64 = 24;
const HEAD: usize = 9;

#[derive(Debug, Clone, Copy)]
struct Allowed {
    frames: u64,
    bytes_per_frame: u64,
}

/// The pace spent over several connections.
#[derive(Debug)]
pub(super) struct Pace {
    allowed: Allowed,
    /// When nothing of it will be spent.
    whole_at: Mutex<Instant>,
    /// Spent as well.
    with: Option<Arc<Pace>>,
}

impl Pace {
    fn new(allowed: Allowed, with: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { allowed, whole_at: Mutex::new(Instant::now()), with })
    }

    /// Some frames and bytes have come: how long not to listen.
    pub(super) fn spend(&self, frames: u64, bytes: u64, now: Instant) -> Duration {
        let cost = frames + bytes / self.allowed.bytes_per_frame;
        let takes = Duration::from_secs(1).mul_f64(cost as f64 / self.allowed.frames as f64);
        let wait = {
            let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
            *whole_at = ((*whole_at).max(now) + takes).min(now + LONGEST);
            (*whole_at - now).saturating_sub(Duration::from_secs(BURST))
        };
        self.with.as_ref().map_or(wait, |with| wait.max(with.spend(frames, bytes, now)))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Member(Identity),
    Stranger(Source),
}

/// The paces of those who are connected.
#[derive(Debug)]
pub(super) struct Paces {
    strangers: Arc<Pace>,
    of: Mutex<HashMap<Who, Weak<Pace>>>,
}

impl Default for Paces {
    fn default() -> Self {
        Self { strangers: Pace::new(STRANGERS, None), of: Mutex::default() }
    }
}

impl Paces {
    /// The pace of another connection.
    pub(super) fn of(&self, identity: Option<&Identity>, source: Source) -> Arc<Pace> {
        let who = identity.map_or(Who::Stranger(source), |identity| Who::Member(identity.clone()));
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pace) = of.get(&who).and_then(Weak::upgrade) {
            return pace;
        }
        if of.len().is_power_of_two() {
            of.retain(|_, pace| pace.strong_count() > 0); // when their number has doubled, which is rarely
        }
        let pace = match who {
            Who::Member(_) => Pace::new(MEMBER, None),
            Who::Stranger(_) => Pace::new(STRANGER, Some(self.strangers.clone())),
        };
        of.insert(who, Arc::downgrade(&pace));
        pace
    }
}

/// Counts the frames of a connection as they come.
#[derive(Debug)]
pub(super) struct Frames {
    /// Of the frame that is read: its head, and what is left of its payload.
    head: [u8; HEAD],
    have: usize,
    left: u64,
}

impl Frames {
    pub(super) const fn new() -> Self {
        Self { head: [0; HEAD], have: 0, left: PREFACE }
    }

    /// The number of frames that begin in `bytes`.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while !bytes.is_empty() {
            let skip = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            bytes = &bytes[skip..];
            self.left -= skip as u64;
            if self.left > 0 {
                break;
            }
            let take = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            bytes = &bytes[take..];
            if self.have == HEAD {
                let [a, b, c, ..] = self.head;
                self.left = u64::from(u32::from_be_bytes([0, a, b, c]));
                self.have = 0;
                count += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_the_bytes_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for payload in [0_u8, 8, 200, 0, 1] {
            bytes.extend([0, 0, payload, 6, 0, 0, 0, 0, 0]);
            bytes.extend(vec![0xff; usize::from(payload)]);
        }
        for piece in [1, 2, 7, 9, 1000] {
            let mut frames = Frames::new();
            let count: u64 = bytes.chunks(piece).map(|piece| frames.count(piece)).sum();
            assert_eq!(count, 5, "pieces of {piece}");
        }
    }

    #[test]
    fn who_sends_too_much_is_listened_to_later_and_others_are_not() {
        let (paces, now) = (Paces::default(), Instant::now());
        let source = |last| Source::of([10, 0, 0, last].into());
        let (one, again, other) =
            (paces.of(None, source(1)), paces.of(None, source(1)), paces.of(None, source(2)));
        assert_eq!(one.spend(3900, 0, now), Duration::ZERO);
        assert!(again.spend(1000, 0, now) >= Duration::from_millis(900), "one pace over all its connections");
        assert_eq!(other.spend(10, 0, now), Duration::ZERO);
        let after = now + Duration::from_secs(5);
        assert_eq!(one.spend(10, 0, after), Duration::ZERO);
        assert!(one.spend(0, 4 << 20, after) > Duration::ZERO, "bytes count too");
        drop((one, again, other));
        (0..=200).for_each(|last| drop(paces.of(None, source(last))));
        assert!(paces.of.lock().unwrap().len() < 5, "who left is forgotten");
    }
}
