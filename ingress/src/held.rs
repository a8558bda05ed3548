//! Where the agent of this host has restored a release by itself: there requests go to what answers, and not to what the
//! table still names.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use windlass_core::traffic::{Endpoint, Hold, RoutedService};
use windlass_core::{Digest, HostId, ServiceId};

/// The ports of restored releases on this host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) host: HostId,
    pub(crate) holds: Vec<Hold>,
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
    for hold in held.holds.iter().filter(|hold| &hold.service == id && hold.port == port) {
        let is_its = |place: &Endpoint| {
            let same = hold.instead_of.is_none_or(|number| number == place.number);
            place.host == held.host && place.release == hold.failed && !place.draining && same
        };
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
