//! The client of a request: the peer of its connection, or the one that a trusted proxy before the ingress tells of.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The addresses of proxies before the ingress (a load balancer of the provider, say) whose `X-Forwarded-*` headers are
/// believed. Nobody's are by default.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Believes proxies with an address in one of `networks`.
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether a proxy at `address` is believed.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        // A listener on `[::]` sees IPv4 clients with mapped addresses (RFC 4291, section 2.5.5.2).
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The listeners at which these proxies begin each connection with a header of the PROXY protocol, version 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Those of plain HTTP.
    pub http: bool,
    /// Those of HTTPS.
    pub https: bool,
}

/// The client of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The address of the client: the peer's own, or as trusted proxies say.
    pub(crate) client: IpAddr,
    /// Whether the client came over TLS, to here or to a trusted proxy.
    pub(crate) tls: bool,
    /// Whether the peer is a trusted proxy.
    pub(crate) is_proxied: bool,
}

impl Origin {
    /// The client as its own connection shows it.
    pub(crate) const fn direct(peer: IpAddr, tls: bool) -> Self {
        Self { client: peer, tls, is_proxied: false }
    }

    /// The client as `headers` tell, if `peer` is a trusted proxy.
    pub(crate) fn of(proxies: &TrustedProxies, peer: IpAddr, tls: bool, headers: &HeaderMap) -> Self {
        if !proxies.trusts(peer) {
            return Self::direct(peer, tls);
        }
        let tls = headers.get(FORWARDED_PROTO).and_then(protocol).unwrap_or(tls);
        Self { client: client(proxies, peer, headers), tls, is_proxied: true }
    }
}

/// Whether the protocol that a proxy names is HTTPS; `None` if it is no protocol.
fn protocol(value: &HeaderValue) -> Option<bool> {
    let is = |name: &[u8]| value.as_bytes().eq_ignore_ascii_case(name);
    if is(b"https") { Some(true) } else { is(b"http").then_some(false) }
}

/// The last address of `X-Forwarded-For` that is none of a trusted proxy: what stands before it, anybody may have written.
fn client(proxies: &TrustedProxies, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut client = peer;
    let lines = headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>();
    for line in lines.into_iter().rev() {
        let Ok(line) = line.to_str() else { return client };
        for entry in line.rsplit(',') {
            let Some(address) = address(entry.trim()) else { return client };
            client = address;
            if !proxies.trusts(address) {
                return client;
            }
        }
    }
    client
}

/// An address, which some proxies write with the port of the client.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(peer: &str, lines: &[(&'static str, &'static str)]) -> Origin {
        let proxies =
            TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Origin::of(&proxies, peer.parse().unwrap(), false, &headers)
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let seen =
            origin("192.0.2.1", &[("x-forwarded-for", "198.51.100.9"), ("x-forwarded-proto", "https")]);
        assert_eq!(seen, Origin::direct("192.0.2.1".parse().unwrap(), false));
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        type Case = (&'static [(&'static str, &'static str)], &'static str);
        let cases: [Case; 7] = [
            (&[("x-forwarded-for", "198.51.100.9")], "198.51.100.9"),
            (&[("x-forwarded-for", "6.6.6.6, 198.51.100.9, 10.1.1.1")], "198.51.100.9"),
            (&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.9")], "198.51.100.9"),
            (&[("x-forwarded-for", "198.51.100.9:4711")], "198.51.100.9"),
            (&[("x-forwarded-for", "[2001:db9::1]:80, [2001:db8::1]")], "2001:db9::1"),
            (&[("x-forwarded-for", "198.51.100.9, unknown")], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ];
        for (lines, client) in cases {
            assert_eq!(origin("10.0.0.1", lines).client, client.parse::<IpAddr>().unwrap(), "{lines:?}");
        }
        assert!(origin("::ffff:10.0.0.1", &[("x-forwarded-proto", "HTTPS")]).tls);
        assert!(!origin("10.0.0.1", &[("x-forwarded-proto", "gopher")]).tls);
    }
}
