//! The addresses on which ports are published.

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};

/// The addresses on which the ports of a host are published that is reached at `address`: loopback only if that is its
/// address; else every address, those of IPv6 too if its own is one.
pub(crate) fn published_on(address: &str) -> &'static [&'static str] {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_loopback() => &["127.0.0.1"],
        Ok(IpAddr::V6(address)) if address.is_loopback() => &["::1"],
        Ok(IpAddr::V6(_)) => &["0.0.0.0", "::"],
        Err(_) if address == "localhost" => &["127.0.0.1"],
        Ok(IpAddr::V4(_)) | Err(_) => &["0.0.0.0"],
    }
}

/// The address at which this host reaches what it has published itself: that under which others reach it while an interface
/// has it, else loopback. An address may go while instances serve on, or be a router's, which does not lead back.
pub(crate) fn reached_at(address: &str) -> &str {
    let Ok(ip) = address.parse::<IpAddr>() else { return address };
    let is_gone = UdpSocket::bind((ip, 0)).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable);
    match published_on(address).last() {
        Some(&"0.0.0.0") if is_gone => "127.0.0.1",
        Some(&"::") if is_gone => "::1",
        Some(_) | None => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_the_host_has_lost_is_not_probed() {
        let table = [
            ("127.0.0.1", "127.0.0.1"),
            ("localhost", "localhost"),
            ("web-1.example.com", "web-1.example.com"),
            ("203.0.113.9", "127.0.0.1"),
            ("2001:db8::5", "::1"),
        ];
        for (address, want) in table {
            assert_eq!(reached_at(address), want, "{address}");
        }
    }

    #[test]
    fn ports_are_published_where_the_host_is_reached() {
        let table: [(&str, &[&str]); 7] = [
            ("127.0.0.1", &["127.0.0.1"]),
            ("localhost", &["127.0.0.1"]),
            ("::1", &["::1"]),
            ("10.0.0.5", &["0.0.0.0"]),
            ("web-1.example.com", &["0.0.0.0"]),
            ("2001:db8::5", &["0.0.0.0", "::"]),
            ("fd00::5", &["0.0.0.0", "::"]),
        ];
        for (address, want) in table {
            assert_eq!(published_on(address), want, "{address}");
        }
    }
}
