//! The network between agents and the coordinator. A stream loses nothing in the middle: what is lost is lost with
//! everything after it, and both ends notice in the end. In bad weather messages also come twice, or overtake each
//! other, which no real stream does; nothing may depend on it. Plans alone come once, and after everything that was sent
//! before: an older one would take the place of the newest while what that names is being fetched, and nobody offers
//! it again on the same stream. Whoever sends an older plan later lies, and is [`crate::liar`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use windlass_core::Timestamp;
use windlass_proto::limits;

use crate::agent::Link;
use crate::context::Context;
use crate::event::{Down, Event, Up};
use crate::host::Host;

/// One direction of a stream.
type Way = (usize, u64, bool);

/// The network's memory of streams.
#[derive(Debug, Default)]
pub struct Streams {
    /// Nothing arrives here any more.
    broken: BTreeSet<Way>,
    /// When the last message arrives that is under way.
    last: BTreeMap<Way, Timestamp>,
}

/// Sends a message to the coordinator.
pub fn up(host: &Host, context: &mut Context, stream: u64, message: Up) {
    let index = host.index;
    let cut = host.cut_up;
    // Reports of an ingress say what was counted so far: those of one process come in order, as on any real stream.
    let in_order = matches!(message, Up::Ingress(_));
    for at in arrivals(context, (index, stream, true), cut, in_order) {
        context.queue.push(at, Event::Up(index, stream, message.clone()));
    }
}

/// Sends a message to an agent.
pub fn down(host: &Host, context: &mut Context, stream: u64, message: Down) {
    let index = host.index;
    let cut = host.cut_down;
    let is_plan = matches!(message, Down::Plan(_));
    for at in arrivals(context, (index, stream, false), cut, is_plan) {
        context.queue.push(at, Event::Down(index, stream, message.clone()));
    }
}

/// Somebody at the coordinator's end sends a plan which is not its newest. One that the agent has not taken yet gives way to
/// it, and is offered again on another stream only: this one ends with whoever was there.
pub fn slip_in(host: &Host, context: &mut Context, stream: u64, plan: Bytes) {
    context.queue.push(context.now, Event::Down(host.index, stream, Down::Plan(plan)));
    if host.agent.as_ref().and_then(|agent| agent.link.as_ref()).is_some_and(Link::has_offer) {
        let ends = context.dice.seconds(1, 30);
        context.queue.push(context.now + ends, Event::Silent(host.index, stream));
    }
}

/// Whether a message that was under way arrives, although the network may have been cut meanwhile.
pub fn arrives(host: &Host, context: &mut Context, stream: u64, is_up: bool) -> bool {
    let way = (host.index, stream, is_up);
    let cut = if is_up { host.cut_up } else { host.cut_down };
    if cut {
        lose(context, way);
    }
    !context.streams.broken.contains(&way)
}

/// When a message arrives: never, once, or more often.
fn arrivals(context: &mut Context, way: Way, cut: bool, in_order: bool) -> Vec<Timestamp> {
    if context.streams.broken.contains(&way) {
        return Vec::new();
    }
    if cut || (!context.is_calm && context.dice.below(1000) < context.weather.lost) {
        lose(context, way);
        return Vec::new();
    }
    let slow = context.weather.delay;
    let at = context.now + context.dice.millis(1, slow);
    let overtakes = context.weather.overtakes && !context.is_calm && !in_order;
    let last = context.streams.last.get(&way).copied().unwrap_or(Timestamp::ZERO);
    let at = if overtakes { at } else { at.max(last + Duration::from_millis(1)) };
    context.streams.last.insert(way, at.max(last));
    let twice = !context.is_calm && !in_order && context.dice.chance(context.weather.twice);
    let again = twice.then(|| at + context.dice.millis(1, 2 * slow));
    [Some(at), again].into_iter().flatten().collect()
}

/// Nothing arrives any more on a stream, in either direction, and nobody is told: the machine at one end is off.
pub fn goes_silent(context: &mut Context, host: usize, stream: u64) {
    lose(context, (host, stream, true));
    lose(context, (host, stream, false));
}

fn lose(context: &mut Context, way: Way) {
    if context.streams.broken.insert(way) {
        // A ping goes out after ten seconds and is waited for; a kernel that finds nobody there is faster.
        let most = millis(limits::KEEPALIVE + limits::KEEPALIVE_TIMEOUT);
        let least = if context.dice.chance(25) { 1000 } else { millis(limits::KEEPALIVE) };
        let noticed = context.now + context.dice.millis(least, most);
        context.queue.push(noticed, Event::Silent(way.0, way.1));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
