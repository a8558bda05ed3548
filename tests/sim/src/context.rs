//! The context of every event: time, chance, the queue, the releases, the checks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use windlass_core::Timestamp;

use crate::check::Checks;
use crate::dice::Dice;
use crate::event::Queue;
use crate::keys::BEGIN;
use crate::network::Streams;
use crate::shop::Shop;

/// In so many of a hundred worlds requests are led.
const ROUTED: u64 = 40;

/// The conditions of a simulation.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Most milliseconds that a message takes.
    pub delay: u64,
    /// So many of a hundred messages arrive twice.
    pub twice: u64,
    /// So many of a thousand messages are lost, and their stream with them.
    pub lost: u64,
    /// Messages of one stream overtake each other.
    pub overtakes: bool,
}

/// The context of every event.
pub struct Context {
    /// Now.
    pub now: Timestamp,
    /// Chance.
    pub dice: Dice,
    /// Chance of what befalls requests, apart, so that a world without ingresses runs as it would if there were none.
    pub traffic: Dice,
    /// Whether requests are led in this world.
    pub is_routed: bool,
    /// The future events.
    pub queue: Queue,
    /// Releases.
    pub shop: Shop,
    /// Invariants.
    pub checks: Checks,
    /// The network.
    pub weather: Weather,
    /// The network's memory.
    pub streams: Streams,
    /// Hosts that the coordinator does not let in.
    pub refused: BTreeSet<usize>,
    /// Every plan that was offered to a host, oldest first.
    pub plans: BTreeMap<usize, Vec<Bytes>>,
    /// Nothing breaks any more.
    pub is_calm: bool,
    /// Whether events are written down.
    pub trace: bool,
}

impl Context {
    /// At the beginning.
    pub fn new(seed: u64, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let weather = Weather {
            delay: *dice.pick(&[5, 50, 400, 3000]),
            twice: *dice.pick(&[0, 0, 5, 20]),
            lost: *dice.pick(&[0, 1, 3]),
            overtakes: dice.chance(30),
        };
        let mut traffic = Dice::new(seed ^ 0x0072_6f75_7465_7300);
        let is_routed = traffic.chance(ROUTED);
        Self {
            now: BEGIN,
            dice,
            traffic,
            is_routed,
            queue: Queue::default(),
            shop: Shop::default(),
            checks: Checks::default(),
            weather,
            streams: Streams::default(),
            refused: BTreeSet::new(),
            plans: BTreeMap::new(),
            is_calm: false,
            trace,
        }
    }

    /// Writes a line about what happens, if somebody reads it.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            let after = self.now.since(BEGIN);
            crate::say(&format!("{:>9.3}  {}", after.as_secs_f64(), line()));
        }
    }
}
