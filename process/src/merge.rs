//! Entries of several sources, merged by their time. Reads a source only while there is room for what it sends, so that
//! a slow reader slows the sources down; [`Merge::wants`] is where that is decided.
//!
//! A source first sends its past, in order, and then says that it is current. Nothing is passed on before every source
//! has shown its next entry or is current; from then on an entry waits [`HOLD`] for older ones of the others.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Time that an entry waits for older ones of sources that are current.
pub const HOLD: Duration = Duration::from_millis(250);
/// The longest time that everybody waits for a silent source before it is current.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of all sources together that wait for others. Each has an equal share.
const ROOM: usize = 1 << 20;

/// Something with a place in time.
pub trait Entry {
    /// The time, in nanoseconds since 1970.
    fn nanos(&self) -> i64;
    /// The memory it takes.
    fn size(&self) -> usize;
}

/// The position up to which a source was read. Its entries are not always in order: a line of a container's one stream may be noted
/// before an older one of the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The newest time that was read, in nanoseconds since 1970.
    pub nanos: i64,
    /// Entries after the one of that time that are not newer.
    pub older: u32,
}

impl Position {
    /// An entry of this time was read.
    pub const fn read(&mut self, nanos: i64) {
        if nanos > self.nanos {
            *self = Self { nanos, older: 0 };
        } else {
            self.older = self.older.saturating_add(1);
        }
    }
}

/// A message of a source. Its end is the end of its channel.
#[derive(Debug)]
pub enum Item<T> {
    /// Entries, the oldest first.
    Entries(Vec<T>),
    /// The past is complete.
    Current,
}

#[derive(Debug)]
struct Source<T> {
    queue: VecDeque<(Instant, T)>,
    bytes: usize,
    is_current: bool,
    is_open: bool,
    heard: Instant,
}

/// Which entry comes next. Pure.
#[derive(Debug)]
pub struct Merge<K, T> {
    sources: BTreeMap<K, Source<T>>,
}

/// The next thing to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<K, T> {
    /// This entry of this source comes next.
    Entry(K, T),
    /// Nothing before this moment, unless a source sends something.
    Wait(Option<Instant>),
    /// There are no sources, and nothing is left of them.
    End,
}

impl<K: Ord + Clone, T: Entry> Merge<K, T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { sources: BTreeMap::new() }
    }

    /// Adds a source, or opens it again.
    pub fn open(&mut self, key: K, now: Instant) {
        let fresh = Source { queue: VecDeque::new(), bytes: 0, is_current: false, is_open: true, heard: now };
        let source = self.sources.entry(key).or_insert(fresh);
        (source.is_open, source.is_current, source.heard) = (true, false, now);
    }

    /// Takes in what a source sent.
    pub fn take(&mut self, key: &K, item: Item<T>, now: Instant) {
        let Some(source) = self.sources.get_mut(key) else { return };
        source.heard = now;
        match item {
            Item::Current => source.is_current = true,
            Item::Entries(entries) => {
                source.bytes += entries.iter().map(Entry::size).sum::<usize>();
                source.queue.extend(entries.into_iter().map(|entry| (now, entry)));
            }
        }
    }

    /// A source ended; what it sent is still passed on.
    pub fn close(&mut self, key: &K) {
        if let Some(source) = self.sources.get_mut(key) {
            source.is_open = false;
        }
    }

    /// Returns whether there is room for what the source sends next.
    pub fn wants(&self, key: &K) -> bool {
        let share = ROOM / self.sources.len().max(1);
        self.sources
            .get(key)
            .is_some_and(|source| source.is_open && (source.queue.is_empty() || source.bytes < share))
    }

    /// Returns whether every source has ended, and nothing of them waits.
    pub fn is_empty(&self) -> bool {
        self.sources.values().all(|source| !source.is_open && source.queue.is_empty())
    }

    /// Returns whether every source has sent its past.
    pub fn is_current(&self) -> bool {
        self.sources.values().all(|source| !source.is_open || source.is_current)
    }

    /// The entry that comes next, if that is certain.
    pub fn next(&mut self, now: Instant) -> Next<K, T> {
        self.sources.retain(|_, source| source.is_open || !source.queue.is_empty());
        let heads = self.sources.iter().filter_map(|(key, source)| {
            source.queue.front().map(|(came, entry)| (entry.nanos(), key, *came))
        });
        let Some((_, key, came)) = heads.min_by_key(|(at, key, _)| (*at, (*key).clone())) else {
            return if self.sources.is_empty() { Next::End } else { Next::Wait(None) };
        };
        let silent = self.sources.values().filter(|source| source.is_open && source.queue.is_empty());
        let until =
            |source: &Source<T>| if source.is_current { came + HOLD } else { source.heard + PATIENCE };
        let ready_at = silent.map(until).max().filter(|at| *at > now);
        if ready_at.is_some() {
            return Next::Wait(ready_at);
        }
        let key = key.clone();
        let entry = self.sources.get_mut(&key).and_then(|source| {
            let (_, entry) = source.queue.pop_front()?;
            source.bytes = source.bytes.saturating_sub(entry.size());
            Some(entry)
        });
        entry.map_or(Next::Wait(None), |entry| Next::Entry(key, entry))
    }
}

impl<K: Ord + Clone, T: Entry> Default for Merge<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Channels, merged.
#[derive(Debug)]
pub struct Merged<K, T> {
    merge: Merge<K, T>,
    channels: BTreeMap<K, mpsc::Receiver<Item<T>>>,
}

impl<K: Ord + Clone, T: Entry> Merged<K, T> {
    /// No channel yet.
    pub const fn new() -> Self {
        Self { merge: Merge::new(), channels: BTreeMap::new() }
    }

    /// Adds a channel. One that had this key before must have ended.
    pub fn add(&mut self, key: K, channel: mpsc::Receiver<Item<T>>) {
        self.merge.open(key.clone(), Instant::now());
        self.channels.insert(key, channel);
    }

    /// Returns whether there is an open channel with this key.
    pub fn has(&self, key: &K) -> bool {
        self.channels.contains_key(key)
    }

    /// Returns whether there is nothing to be read, and never will be.
    pub fn is_empty(&self) -> bool {
        self.merge.is_empty()
    }

    /// Returns whether every channel has sent its past.
    pub fn is_current(&self) -> bool {
        self.merge.is_current()
    }

    /// The next entry; `None` when there is no channel any more. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(K, T)> {
        loop {
            let wait = match self.merge.next(Instant::now()) {
                Next::Entry(key, entry) => return Some((key, entry)),
                Next::End => return None,
                Next::Wait(until) => until,
            };
            tokio::select! {
                () = self.receive() => {}
                () = async { sleep_until(wait.unwrap_or_else(Instant::now)).await }, if wait.is_some() => {}
            }
        }
    }

    /// Takes in what one channel sends.
    async fn receive(&mut self) {
        let (merge, channels) = (&mut self.merge, &mut self.channels);
        poll_fn(|context| {
            let mut ended = None;
            for (key, channel) in channels.iter_mut().filter(|(key, _)| merge.wants(key)) {
                match channel.poll_recv(context) {
                    Poll::Ready(Some(item)) => {
                        merge.take(key, item, Instant::now());
                        return Poll::Ready(());
                    }
                    Poll::Ready(None) => {
                        ended = Some(key.clone());
                        break;
                    }
                    Poll::Pending => {}
                }
            }
            let Some(key) = ended else { return Poll::Pending };
            channels.remove(&key);
            merge.close(&key);
            Poll::Ready(())
        })
        .await;
    }
}

impl<K: Ord + Clone, T: Entry> Default for Merged<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
