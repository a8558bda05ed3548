//! The addresses on which ports are published.

use std::net::IpAddr;

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

#[cfg(test)]
mod tests {
    use super::*;

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
