//! The inner network of an environment on a host: containers that call services by name are in it, and the ingress of the host
//! answers at its gateway.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::id::{EnvironmentId, FleetId, HostId, ServiceName};

/// Inner networks of one host.
pub const MAX_NETWORKS: usize = 64;
/// Names that are called on one inner network.
pub const MAX_CALLED: usize = 512;
/// Bits of the prefix of an inner network.
pub const SUBNET_BITS: u8 = 24;

/// The range that inner networks are drawn from where the host's policy says nothing.
pub const DEFAULT_RANGE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 210, 0, 0), 16);

/// An inner network as an ingress is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InnerNetwork {
    /// The environment whose services are called there.
    pub environment: EnvironmentId,
    /// Its addresses. The first one is the gateway, at which the ingress answers.
    pub subnet: Ipv4Net,
    /// The services that containers of it call by name.
    pub uses: BTreeSet<ServiceName>,
}

impl InnerNetwork {
    /// The address at which the ingress answers.
    pub fn gateway(&self) -> Ipv4Addr {
        gateway(self.subnet)
    }
}

/// The first address of a network.
pub fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network()).saturating_add(1))
}

/// The engine's name of an inner network. Dots cannot stand in names, so two environments never meet in one.
pub fn engine_name(fleet: &FleetId, host: &HostId, environment: &EnvironmentId) -> String {
    format!("windlass.{fleet}.{host}.{environment}")
}

/// Returns whether networks overlap.
pub fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// The first network of `range` that overlaps with none of `taken`.
pub fn draw(range: Ipv4Net, taken: &BTreeSet<Ipv4Net>) -> Option<Ipv4Net> {
    let mut subnets = range.subnets(SUBNET_BITS).ok()?;
    subnets.find(|subnet| !taken.iter().any(|other| overlap(*subnet, *other)))
}

/// Returns whether inner networks may be drawn from a range: it has room for one, and stands for addresses that are not public.
pub fn is_range(range: Ipv4Net) -> bool {
    let private = |address: Ipv4Addr| {
        let shared = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);
        address.is_private() || shared.contains(&address)
    };
    (8..=SUBNET_BITS).contains(&range.prefix_len())
        && range.addr() == range.network()
        && private(range.network())
        && private(range.broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_free_network_is_drawn() {
        let taken = |texts: &[&str]| texts.iter().map(|text| net(text)).collect::<BTreeSet<_>>();
        let range = net("10.210.0.0/16");
        let cases: [(&[&str], Option<&str>); 5] = [
            (&[], Some("10.210.0.0/24")),
            (&["10.210.0.0/24", "10.210.1.128/25"], Some("10.210.2.0/24")),
            (&["10.210.0.0/17"], Some("10.210.128.0/24")),
            (&["10.0.0.0/8"], None),
            (&["192.168.0.0/16"], Some("10.210.0.0/24")),
        ];
        for (others, drawn) in cases {
            assert_eq!(draw(range, &taken(others)), drawn.map(net), "{others:?}");
        }
        assert_eq!(draw(net("10.210.7.0/24"), &taken(&[])), Some(net("10.210.7.0/24")));
        assert_eq!(gateway(net("10.210.7.0/24")), Ipv4Addr::new(10, 210, 7, 1));
    }

    #[test]
    fn a_range_is_private_and_has_room() {
        for good in ["10.0.0.0/8", "10.210.0.0/16", "172.16.0.0/12", "192.168.4.0/24", "100.64.0.0/10"] {
            assert!(is_range(net(good)), "{good}");
        }
        for bad in ["10.210.0.0/25", "0.0.0.0/0", "8.8.0.0/16", "172.0.0.0/8", "10.210.0.1/16", "127.0.0.0/8"]
        {
            assert!(!is_range(net(bad)), "{bad}");
        }
    }
}
