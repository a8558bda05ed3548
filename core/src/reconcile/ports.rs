//! Ports of the host: each slot owns two per named port, one for each of its two instances.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::id::SlotId;

use super::input::{Desired, VerifiedRelease};
use super::memory::Memory;
use super::step::LaunchPort;

/// No port of the range is left.
#[derive(Debug)]
pub(super) struct RangeExhausted;

/// The ports for an instance of `release` on `side` of `slot`; draws and remembers those it lacks. All of them or
/// none: a slot that asks for more than there are must not take the last ones from the others.
pub(super) fn assign(
    desired: &Desired,
    memory: &mut Memory,
    slot: &SlotId,
    release: &VerifiedRelease,
    side: u8,
) -> Result<BTreeMap<String, LaunchPort>, RangeExhausted> {
    let before = memory.slot(slot).ports.clone();
    let drawn = draw_missing(desired, memory, slot, release, side);
    if drawn.is_err() {
        memory.slot(slot).ports = before;
    }
    drawn
}

fn draw_missing(
    desired: &Desired,
    memory: &mut Memory,
    slot: &SlotId,
    release: &VerifiedRelease,
    side: u8,
) -> Result<BTreeMap<String, LaunchPort>, RangeExhausted> {
    let mut ports = BTreeMap::new();
    for (name, port) in &release.release.spec.ports {
        let host = match port.host {
            Some(fixed) => fixed,
            None => owned(desired, memory, slot, name, side)?,
        };
        ports.insert(name.clone(), LaunchPort { container: port.container, host });
    }
    Ok(ports)
}

fn owned(
    desired: &Desired,
    memory: &mut Memory,
    slot: &SlotId,
    name: &str,
    side: u8,
) -> Result<u16, RangeExhausted> {
    let side = usize::from(side.min(1));
    let mut pair = memory.slot(slot).ports.get(name).copied().unwrap_or([0, 0]);
    if pair.contains(&0) {
        let mut used = in_use(desired, memory);
        for (index, port) in pair.iter_mut().enumerate().filter(|(_, port)| **port == 0) {
            *port = draw(desired, &used, &format!("{}/{slot}/{name}/{index}", desired.local.host))?;
            used.insert(*port);
        }
        memory.slot(slot).ports.insert(name.to_owned(), pair);
    }
    Ok(pair[side])
}

fn in_use(desired: &Desired, memory: &Memory) -> BTreeSet<u16> {
    let drawn = memory.slots.values().flat_map(|known| known.ports.values().flatten().copied());
    let fixed = desired.releases.values().flat_map(|release| fixed(release));
    let policy = desired.local.policy.host_ports.iter().copied();
    drawn.chain(fixed).chain(policy).chain(memory.volatile.taken_ports.iter().copied()).collect()
}

/// The fixed ports that a release asks for.
pub(super) fn fixed(release: &VerifiedRelease) -> impl Iterator<Item = u16> {
    release.release.spec.ports.values().filter_map(|port| port.host)
}

/// The first free port from a place in the range that the name decides: two agents with one range on one
/// machine then rarely meet.
fn draw(desired: &Desired, used: &BTreeSet<u16>, name: &str) -> Result<u16, RangeExhausted> {
    let (first, last) = desired.local.policy.port_range;
    let length = u32::from(last.saturating_sub(first)) + 1;
    let hash = Digest::of(name.as_bytes());
    let bytes = hash.as_bytes();
    let start = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) % length;
    (0..length)
        .map(|step| u32::from(first) + (start + step) % length)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| *port != 0 && !used.contains(port))
        .ok_or(RangeExhausted)
}
