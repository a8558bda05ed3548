//! The choice of the events, among many like ones, that become a line.

use std::collections::BTreeMap;

use super::{Quotas, Rate};
use crate::Timestamp;

/// Tells the first events of each key, then some of them, and counts the others.
#[derive(Debug, Clone)]
pub struct Notices<K> {
    each: Quotas<K>,
    all: Quotas<()>,
    untold: BTreeMap<K, u64>,
    most: usize,
    /// Of keys beyond `most`.
    others: u64,
}

impl<K: Ord + Clone> Notices<K> {
    /// Each key tells at most `each`, all together `all`; `most` keys are remembered.
    pub const fn new(each: Rate, all: Rate, most: usize) -> Self {
        Self {
            each: Quotas::new(each, most),
            all: Quotas::new(all, 1),
            untold: BTreeMap::new(),
            most,
            others: 0,
        }
    }

    /// One more event of `key`: to be told if some, with how many of that key were not told before it.
    pub fn note(&mut self, key: &K, now: Timestamp) -> Option<u64> {
        if self.each.take(key, now).is_ok() && self.all.take(&(), now).is_ok() {
            return Some(self.untold.remove(key).unwrap_or(0));
        }
        if let Some(count) = self.untold.get_mut(key) {
            *count = count.saturating_add(1);
        } else if self.untold.len() < self.most {
            self.untold.insert(key.clone(), 1);
        } else {
            self.others = self.others.saturating_add(1);
        }
        None
    }

    /// The `most` keys of which most was not told, each with how much, and the sum of all others. Nothing is untold
    /// afterwards.
    pub fn untold(&mut self, most: usize) -> (Vec<(K, u64)>, u64) {
        let mut counts: Vec<(K, u64)> = std::mem::take(&mut self.untold).into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let rest = counts.split_off(most.min(counts.len()));
        let rest = rest.into_iter().map(|(_, count)| count).sum::<u64>();
        (counts, rest.saturating_add(std::mem::take(&mut self.others)))
    }
}
