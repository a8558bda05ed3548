//! The addresses that an ingress leads requests to. A table is the coordinator's word; these few things about its endpoints an
//! ingress knows by itself, and a captured coordinator or host cannot talk it out of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::id::HostId;

use super::{Endpoint, Routes};

/// Reasons that are told of one table.
const MOST_TOLD: usize = 8;

/// The place from which an ingress leads requests on, and how far it may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Its host.
    #[serde(default)]
    pub host: Option<HostId>,
    /// The host's address, as it joined, if that is none to be looked up.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// Networks that endpoints are in, by the host's policy (`endpoint_networks`); any if absent.
    #[serde(default)]
    pub networks: Option<Vec<IpNet>>,
}

impl Reach {
    /// Checks that requests may go to an endpoint.
    ///
    /// # Errors
    /// The reason against it.
    pub fn check(&self, endpoint: &Endpoint) -> Result<(), String> {
        let address = endpoint.address.to_canonical();
        let is_mine = self.host.as_ref() == Some(&endpoint.host);
        if !is_of_a_host(address) {
            return Err(format!("{address} is no address of a host"));
        }
        if carried(address).is_loopback() && !is_mine {
            return Err(format!("{address} is this machine, and not host `{}`", endpoint.host));
        }
        if let Some(own) = self.address.filter(|own| is_mine && own.to_canonical() != address) {
            return Err(format!("{address} is not the address {own} of this host"));
        }
        let networks = self.networks.as_ref().filter(|_| !is_mine);
        if networks.is_some_and(|networks| !networks.iter().any(|network| network.contains(&address))) {
            return Err(format!("{address} is in none of `endpoint_networks` of the host's policy"));
        }
        Ok(())
    }

    /// Leaves endpoints out that requests may not go to, and the rest as it is. Answers with reasons, of a few.
    pub fn keep(&self, routes: &mut Routes) -> Vec<String> {
        let mut told = BTreeSet::new();
        for service in &mut routes.services {
            service.endpoints.retain(|endpoint| match self.check(endpoint) {
                Ok(()) => true,
                Err(why) => {
                    if told.len() < MOST_TOLD {
                        told.insert(format!("{}: {why}", service.service));
                    }
                    false
                }
            });
        }
        told.into_iter().collect()
    }
}

/// The address of version 4 that one of version 6 leads to: mapped, translated (NAT64, 64:ff9b::/96), by 6to4, or the old form.
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else { return address.to_canonical() };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b, c, d, e, f) {
        (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
        (0, 0, 0, 0, 0, 0) if g != 0 => v4(g, h),
        (0x2002, ..) => v4(b, c),
        _ => IpAddr::V6(v6),
    }
}

/// Whether a host may have an address: not one that means nobody or everybody, or at which a cloud hands out credentials.
pub fn is_of_a_host(address: IpAddr) -> bool {
    match carried(address) {
        IpAddr::V4(v4) => {
            !(v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_link_local()
                || v4 == Ipv4Addr::new(168, 63, 129, 16)
                || v4 == Ipv4Addr::new(100, 100, 100, 200)
                || v4 == Ipv4Addr::new(192, 0, 0, 192))
        }
        IpAddr::V6(v6) => {
            !(v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
                || v6 == Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::traffic::PortSide;

    fn endpoint(host: &str, address: &str) -> Endpoint {
        Endpoint {
            host: host.parse().unwrap(),
            address: address.parse().unwrap(),
            port: "http".to_owned(),
            number: 20_000,
            side: PortSide::A,
            release: Digest::of(b"r1"),
            draining: false,
            stands_by: None,
        }
    }

    #[test]
    fn an_ingress_leads_only_to_where_hosts_can_be() {
        let unknown = Reach::default();
        let mine = Reach { host: Some("edge".parse().unwrap()), ..Reach::default() };
        let at = Reach { address: Some("10.0.0.1".parse().unwrap()), ..mine.clone() };
        let alone = Reach { address: Some("127.0.0.1".parse().unwrap()), ..mine.clone() };
        let narrow = Reach { networks: Some(vec!["10.0.0.0/24".parse().unwrap()]), ..at.clone() };
        #[rustfmt::skip]
        let table = [
            (&unknown, "web-1", "10.0.0.2", true), (&unknown, "web-1", "93.184.215.14", true), (&unknown, "web-1", "fd00::2", true),
            // Nobody, everybody, and where clouds hand out credentials, whoever is said to be there.
            (&alone, "edge", "169.254.169.254", false), (&unknown, "web-1", "::ffff:169.254.169.254", false),
            (&unknown, "web-1", "fd00:ec2::254", false), (&unknown, "web-1", "0.0.0.0", false),
            (&unknown, "web-1", "64:ff9b::a9fe:a9fe", false), (&unknown, "web-1", "64:ff9b::a00:2", true),
            (&unknown, "web-1", "2002:a9fe:a9fe::1", false), (&unknown, "web-1", "2002:a00:2::1", true), (&unknown, "web-1", "::a9fe:a9fe", false), (&unknown, "web-1", "::", false),
            (&unknown, "web-1", "fe80::1", false), (&unknown, "web-1", "224.0.0.1", false), (&unknown, "web-1", "255.255.255.255", false),
            (&unknown, "web-1", "168.63.129.16", false), (&unknown, "web-1", "100.100.100.200", false),
            (&unknown, "web-1", "192.0.0.192", false), (&unknown, "web-1", "ff02::1", false), (&unknown, "web-1", "fd20:ce::254", false),
            // This machine is this host, at its own address.
            (&unknown, "web-1", "127.0.0.1", false), (&mine, "web-1", "127.0.0.1", false), (&mine, "web-1", "::1", false),
            (&mine, "web-1", "::ffff:127.0.0.1", false), (&mine, "web-1", "64:ff9b::7f00:1", false), (&mine, "edge", "127.0.0.1", true), (&alone, "edge", "127.0.0.1", true),
            (&at, "edge", "127.0.0.1", false), (&at, "edge", "10.0.0.1", true), (&at, "edge", "10.0.0.2", false), (&at, "web-1", "10.0.0.2", true),
            // No farther than policy says.
            (&narrow, "web-1", "10.0.0.2", true), (&narrow, "web-1", "10.0.1.2", false), (&narrow, "web-1", "93.184.215.14", false),
            (&narrow, "edge", "10.0.0.1", true),
        ];
        for (reach, host, address, want) in table {
            assert_eq!(reach.check(&endpoint(host, address)).is_ok(), want, "{reach:?}: {host} at {address}");
        }
    }
}
