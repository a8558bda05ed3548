//! Looking up rising keys: thousands of hosts one after the other, each beside the one before.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;

/// Keys that are passed one by one before the map is searched anew, so that a few hosts of a large fleet cost a few searches.
const NEAR: usize = 8;

/// A place in a map, which only moves forwards.
#[derive(Debug)]
pub(crate) struct InOrder<'a, K, V> {
    map: &'a BTreeMap<K, V>,
    rest: Peekable<Range<'a, K, V>>,
}

impl<'a, K: Ord, V> InOrder<'a, K, V> {
    /// At the beginning of `map`.
    pub(crate) fn new(map: &'a BTreeMap<K, V>) -> Self {
        Self { map, rest: map.range::<K, _>(..).peekable() }
    }

    /// The value of `key`, which is above every key that was asked for before.
    pub(crate) fn get(&mut self, key: &K) -> Option<&'a V> {
        for _ in 0..NEAR {
            if self.rest.next_if(|(next, _)| *next < key).is_none() {
                return self.found(key);
            }
        }
        self.rest = self.map.range(key..).peekable();
        self.found(key)
    }

    fn found(&mut self, key: &K) -> Option<&'a V> {
        self.rest.next_if(|(next, _)| *next == key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rising_keys_find_what_a_search_finds() {
        let map: BTreeMap<u32, u32> = (0..200).filter(|n| n % 3 != 0).map(|n| (n, n + 1)).collect();
        for step in [1, 2, 5, 11, 40, 150] {
            let mut walk = InOrder::new(&map);
            for key in (0..300).step_by(step) {
                assert_eq!(walk.get(&key), map.get(&key), "{key} by {step}");
            }
        }
        assert_eq!(InOrder::new(&BTreeMap::<u32, u32>::new()).get(&7), None);
    }
}
