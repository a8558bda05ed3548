//! Releases that the agent of this host has restored by itself: requests go to the instance that answers, and not to the one that
//! the table still names.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use windlass_core::traffic::{Endpoint, Hold, MAX_HOLDS, RoutedService, Routes};
use windlass_core::{Digest, HostId, ServiceId};

/// The ports of restored releases on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    host: HostId,
    holds: Vec<Hold>,
    /// Its agent says these no more, and the table still leads to what failed: the next one is on its way.
    lapsing: Vec<Hold>,
}

impl Held {
    /// The newest word of the agent of `host`, after `before`.
    pub(crate) fn next(before: Option<&Self>, host: &HostId, mut holds: Vec<Hold>) -> Self {
        holds.truncate(MAX_HOLDS);
        let before = before.filter(|before| &before.host == host);
        let known = before.into_iter().flat_map(|before| before.holds.iter().chain(&before.lapsing));
        let same = |one: &Hold, other: &Hold| {
            (&one.service, &one.port, one.failed, one.instead_of)
                == (&other.service, &other.port, other.failed, other.instead_of)
        };
        let lapses = |hold: &&Hold| !holds.iter().any(|said| same(said, hold));
        let lapsing = known.filter(lapses).take(MAX_HOLDS - holds.len()).cloned().collect();
        Self { host: host.clone(), holds, lapsing }
    }

    /// All that requests are led by.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter().chain(&self.lapsing)
    }

    /// Forgets what is said no more, where these tables no longer lead to what failed.
    pub(crate) fn drop_obsolete<'a>(&mut self, tables: impl Iterator<Item = &'a Routes> + Clone) {
        let host = &self.host;
        let leads = |hold: &Hold| {
            let of = tables.clone().filter(|routes| routes.environment == hold.service.environment);
            let services = of.flat_map(|routes| &routes.services);
            let mut places =
                services.filter(|of| of.service == hold.service.name).flat_map(|of| &of.endpoints);
            places.any(|place| is_its(host, hold, place))
        };
        self.lapsing.retain(leads);
    }
}

/// Whether a hold is in the place of this endpoint.
fn is_its(host: &HostId, hold: &Hold, place: &Endpoint) -> bool {
    let same = hold.instead_of.is_none_or(|number| number == place.number);
    &place.host == host && place.port == hold.port && place.release == hold.failed && !place.draining && same
}

/// The endpoints of a service at `port`, and of those that this host has restored the release that failed. Only what the table
/// leads to on this host, and not beyond it, is led elsewhere.
pub(crate) fn places(
    held: Option<&Held>,
    id: &ServiceId,
    service: &RoutedService,
    port: &str,
) -> (Vec<Endpoint>, BTreeMap<SocketAddr, Digest>) {
    let mut places: Vec<Endpoint> =
        service.endpoints.iter().filter(|place| place.port == port).cloned().collect();
    let mut restored = BTreeMap::new();
    let Some(held) = held else { return (places, restored) };
    for hold in held.all().filter(|hold| &hold.service == id && hold.port == port) {
        let is_its = |place: &Endpoint| is_its(&held.host, hold, place);
        let Some(at) = places.iter().position(is_its) else { continue };
        let address = SocketAddr::new(places[at].address, hold.number);
        // The table may know it already, as one that drains.
        places.retain(|place| {
            (place.number, place.release, place.address) != (hold.number, hold.release, address.ip())
        });
        let Some(at) = places.iter().position(is_its) else { continue };
        let place = Endpoint { number: hold.number, release: hold.release, ..places[at].clone() };
        if hold.instead_of.is_some() {
            places[at] = place;
        } else {
            places.push(place);
        }
        restored.insert(address, hold.failed);
    }
    (places, restored)
}
