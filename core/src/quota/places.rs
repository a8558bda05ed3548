//! Places that many want: a newcomer always gets one, from the key that holds the most.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The holders of places. Each key has at most its share, all together at most `most`.
#[derive(Debug, Clone)]
pub struct Places<K> {
    most: usize,
    share: usize,
    next: u64,
    open: usize,
    of: BTreeMap<K, Held>,
    /// By how many they hold, of equals the one that holds its oldest longest: the last gives a place.
    fullest: BTreeSet<(usize, Reverse<u64>, K)>,
}

/// The places of one key: those that have shown nothing yet go before those that have.
#[derive(Debug, Clone, Default)]
struct Held {
    silent: BTreeSet<u64>,
    greeted: BTreeSet<u64>,
}

/// A place, and whose place it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// The newcomer's.
    pub at: u64,
    /// To be ended for it: the oldest of the key that has its share, or of the key that holds the most.
    pub out: Option<u64>,
}

impl Held {
    fn len(&self) -> usize {
        self.silent.len() + self.greeted.len()
    }

    fn oldest(&self) -> u64 {
        let of = |places: &BTreeSet<u64>| places.first().copied().unwrap_or(u64::MAX);
        of(&self.silent).min(of(&self.greeted))
    }

    fn pop(&mut self) -> Option<u64> {
        self.silent.pop_first().or_else(|| self.greeted.pop_first())
    }
}

impl<K: Ord + Clone> Places<K> {
    /// Nobody yet. Both numbers are at least one.
    pub const fn new(most: usize, share: usize) -> Self {
        let (most, share) = (if most == 0 { 1 } else { most }, if share == 0 { 1 } else { share });
        Self { most, share, next: 0, open: 0, of: BTreeMap::new(), fullest: BTreeSet::new() }
    }

    /// One more of `key`.
    pub fn enter(&mut self, key: &K) -> Entered {
        let out = if self.of.get(key).is_some_and(|held| held.len() >= self.share) {
            self.take_from(&key.clone())
        } else if self.open >= self.most {
            self.fullest.last().map(|(.., key)| key.clone()).and_then(|key| self.take_from(&key))
        } else {
            None
        };
        self.next += 1;
        let at = self.next;
        self.change(key, |held| held.silent.insert(at));
        self.open += 1;
        Entered { at, out }
    }

    /// It has shown something: its place goes after those that have not.
    pub fn greeted(&mut self, key: &K, at: u64) {
        if let Some(held) = self.of.get_mut(key)
            && held.silent.remove(&at)
        {
            held.greeted.insert(at);
        }
    }

    /// Frees a place. Nothing happens if somebody else got it.
    pub fn leave(&mut self, key: &K, at: u64) {
        let leaves = |held: &mut Held| held.silent.remove(&at) || held.greeted.remove(&at);
        if self.of.contains_key(key) && self.change(key, leaves) {
            self.open -= 1;
        }
    }

    /// Places that are taken.
    pub const fn open(&self) -> usize {
        self.open
    }

    /// Keys that have one.
    pub fn keys(&self) -> usize {
        self.of.len()
    }

    fn take_from(&mut self, key: &K) -> Option<u64> {
        let out = self.change(key, Held::pop);
        self.open -= usize::from(out.is_some());
        out
    }

    fn change<T>(&mut self, key: &K, edit: impl FnOnce(&mut Held) -> T) -> T {
        let held = self.of.entry(key.clone()).or_default();
        let before = (held.len(), Reverse(held.oldest()), key.clone());
        let changed = edit(held);
        let after = held.len();
        self.fullest.remove(&before);
        if after > 0 {
            self.fullest.insert((after, Reverse(held.oldest()), key.clone()));
        }
        if after == 0 {
            self.of.remove(key);
        }
        changed
    }
}
