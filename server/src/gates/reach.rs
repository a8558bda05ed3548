//! The addresses that the coordinator may ask for a gate.
//!
//! A question is signed by an operator, and still it makes the coordinator send a request from where it stands. So it goes to
//! public addresses, and to those others that `gates.allow` of `server.toml` names. Addresses at which a cloud hands out
//! credentials are never asked.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use windlass_core::traffic::is_of_a_host;

/// Networks that `gates.allow` may name.
const MOST: usize = 64;

/// Networks that may be asked beside public addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// Text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworksError {
    /// One of them is none.
    Malformed,
    /// There are too many.
    TooMany,
}

impl NetworksError {
    /// The bounds.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Malformed => "must be networks like `10.0.0.0/8` or `fd00::/8`",
            Self::TooMany => "must have at most 64 entries",
        }
    }
}

impl Networks {
    /// Reads them.
    ///
    /// # Errors
    /// One is none, or there are too many.
    pub fn read(texts: &[String]) -> Result<Self, NetworksError> {
        if texts.len() > MOST {
            return Err(NetworksError::TooMany);
        }
        let networks = texts.iter().map(|text| text.parse().map_err(|_| NetworksError::Malformed));
        networks.collect::<Result<_, _>>().map(Self)
    }

    /// Checks that an address may be asked.
    ///
    /// # Errors
    /// The reason against it, and the next step.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), String> {
        let address = address.to_canonical();
        if !is_of_a_host(address) {
            return Err(format!("{address} is an address that is never asked: it may hand out credentials"));
        }
        if is_public(address) || self.0.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        Err(format!("{address} is not public; `gates.allow` in server.toml names networks that may be asked"))
    }

    /// Those of the addresses that may be asked.
    ///
    /// # Errors
    /// None of them may; why the first one may not.
    pub(super) fn of(&self, addresses: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, String> {
        let mut refused = "the name has no address".to_owned();
        let mut first = true;
        let mut good = Vec::new();
        for address in addresses.take(MOST) {
            match self.check(address.ip()) {
                Ok(()) => good.push(address),
                Err(why) if first => (refused, first) = (why, false),
                Err(_) => {}
            }
        }
        if good.is_empty() { Err(refused) } else { Ok(good) }
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let special =
                a == 0 || a >= 240 || (a, b, c) == (192, 0, 0) || (a == 198 && (18..20).contains(&b));
            !(v4.is_private() || v4.is_loopback() || v4.is_documentation() || shared || special)
        }
        // Global unicast, without addresses that carry one of version 4.
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            (0x2000..0x4000).contains(&first) && first != 0x2002 && (first, second) != (0x2001, 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks::read(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn private_addresses_are_asked_only_where_that_is_allowed() {
        let (none, some) = (
            networks(&[]),
            networks(&[
                "10.0.0.0/8",
                "127.0.0.1/32",
                "fd00::/8",
                "169.254.0.0/16",
                "64:ff9b::/96",
                "2002::/16",
            ]),
        );
        #[rustfmt::skip]
        let table = [
            ("93.184.215.14", true, true), ("2606:2800::1", true, true),
            ("10.1.2.3", false, true), ("127.0.0.1", false, true), ("127.0.0.2", false, false),
            ("::ffff:10.1.2.3", false, true), ("::ffff:127.0.0.2", false, false), ("::1", false, false),
            ("192.168.1.1", false, false), ("172.16.0.1", false, false), ("100.64.0.1", false, false),
            ("fd12::1", false, true), ("fc00::1", false, false), ("0.0.0.0", false, false), ("::", false, false),
            ("2002:0a01:0203::1", false, true), ("2001:0:1::1", false, false), ("198.18.0.1", false, false),
            // Never, whatever is allowed.
            ("169.254.169.254", false, false), ("::ffff:169.254.169.254", false, false), ("fe80::1", false, false),
            ("64:ff9b::a9fe:a9fe", false, false), ("2002:a9fe:a9fe::1", false, false),
            ("fd00:ec2::254", false, false), ("168.63.129.16", false, false), ("224.0.0.1", false, false),
        ];
        for (address, without, with) in table {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!(none.check(ip).is_ok(), without, "{address} with nothing allowed");
            assert_eq!(some.check(ip).is_ok(), with, "{address} with some allowed");
        }
    }

    #[test]
    fn networks_are_read_or_refused() {
        assert_eq!(Networks::read(&["10.0.0.1".to_owned()]), Err(NetworksError::Malformed));
        assert_eq!(Networks::read(&vec!["10.0.0.0/8".to_owned(); 65]), Err(NetworksError::TooMany));
    }

    #[test]
    fn a_name_with_one_good_address_is_asked_there() {
        let to = |text: &str| text.parse::<SocketAddr>().unwrap();
        let got = networks(&[]).of([to("10.0.0.1:1"), to("93.184.215.14:1")].into_iter());
        assert_eq!(got.unwrap(), [to("93.184.215.14:1")]);
        assert!(networks(&[]).of([to("10.0.0.1:1")].into_iter()).unwrap_err().contains("gates.allow"));
        assert!(networks(&[]).of(std::iter::empty()).unwrap_err().contains("no address"));
    }
}
