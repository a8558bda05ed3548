//! Allowances of peers: by key, bounded in number, and a bound on the lines about them.
//!
//! A key is an address ([`Source`]), an identity, or an identity and a method. Who overspends is refused and forgotten
//! again when its allowance has refilled, so that a flood of keys takes no more memory than `most` of them.

mod notices;
mod places;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::Timestamp;

pub use notices::Notices;
pub use places::{Entered, Places};

/// The place of a peer: an IPv4 address, or the /64 network of an IPv6 address, which is what one host usually gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(IpAddr);

impl Source {
    /// Of an address. An IPv4 address that is written as IPv6 is the IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// At most `burst` at once, and one more after each `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// Time in which one unit comes back. At least a millisecond, the clock's step.
    pub every: Duration,
}

impl Rate {
    /// `burst` at once, and one more after each `every`.
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every }
    }

    fn whole(self) -> Duration {
        self.every.saturating_mul(self.burst)
    }
}

/// The longest time by which an allowance can be taken out ahead.
const LONGEST: Duration = Duration::from_secs(60);

/// One allowance: when it will be whole again.
#[derive(Debug, Clone, Copy, Default)]
struct Allowance(Timestamp);

impl Allowance {
    /// Takes one out, or answers how long to wait for the next. After a clock was set back an allowance is
    /// empty for a while, not for years.
    fn take(&mut self, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        let whole_at = self.0.max(now).min(now + rate.whole() + LONGEST);
        let missing = whole_at.since(now);
        let most = rate.whole().saturating_sub(rate.every);
        self.0 = whole_at;
        if missing > most {
            return Err(missing - most);
        }
        self.0 = whole_at + rate.every;
        Ok(())
    }
}

/// Allowances by key.
#[derive(Debug, Clone)]
pub struct Quotas<K> {
    rate: Rate,
    most: usize,
    of: BTreeMap<K, Allowance>,
    /// Shared by those who come while `most` others are remembered.
    rest: Allowance,
    swept: Timestamp,
}

impl<K: Ord + Clone> Quotas<K> {
    /// Everybody has `rate`; `most` keys are remembered, and others share one allowance until there is room.
    pub const fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, of: BTreeMap::new(), rest: Allowance(Timestamp::ZERO), swept: Timestamp::ZERO }
    }

    /// Takes one out of the allowance of `key`.
    ///
    /// # Errors
    /// Nothing is left; how long until there is.
    pub fn take(&mut self, key: &K, now: Timestamp) -> Result<(), Duration> {
        let rate = self.rate;
        if let Some(allowance) = self.of.get_mut(key) {
            return allowance.take(rate, now);
        }
        if self.of.len() >= self.most && !self.sweep(now) {
            return self.rest.take(rate, now);
        }
        self.of.entry(key.clone()).or_default().take(rate, now)
    }

    /// Takes one out ahead of its time, if it comes within `patience`: how long until it does.
    pub fn reserve(&mut self, key: &K, now: Timestamp, patience: Duration) -> Option<Duration> {
        match self.take(key, now) {
            Ok(()) => Some(Duration::ZERO),
            Err(wait) if wait <= patience => {
                let rate = self.rate;
                let allowance = self.of.get_mut(key).unwrap_or(&mut self.rest);
                allowance.0 = allowance.0 + rate.every;
                Some(wait)
            }
            Err(_) => None,
        }
    }

    /// Whether [`Quotas::take`] would answer yes for `key`.
    pub fn has(&self, key: &K, now: Timestamp) -> bool {
        self.of.get(key).is_none_or(|allowance| Allowance(allowance.0).take(self.rate, now).is_ok())
    }

    /// Keys that are remembered.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Forgets whose allowance is whole again; looks at all of them at most once per refill of one. Answers whether
    /// there is room.
    fn sweep(&mut self, now: Timestamp) -> bool {
        if now.since(self.swept) >= self.rate.every || now < self.swept {
            self.swept = now;
            let latest = now + self.rate.whole() + LONGEST;
            self.of.retain(|_, allowance| allowance.0 > now && allowance.0 <= latest);
        }
        self.of.len() < self.most
    }
}

/// Text that a peer chose, for a line of a log: control characters escaped, and cut to `most` bytes.
pub fn printable(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for escaped in text.chars().map(char::escape_debug) {
        let escaped: String = escaped.collect();
        if shown.len() + escaped.len() > most {
            while shown.len() + '…'.len_utf8() > most && shown.pop().is_some() {}
            shown.push('…');
            break;
        }
        shown.push_str(&escaped);
    }
    shown
}

#[cfg(test)]
mod tests;
