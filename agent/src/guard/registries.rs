//! Which registries an engine asks in plain HTTP, by its own settings (`GET /info`).

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use windlass_certs::tls::lookup;

const LOOKUP: Duration = Duration::from_secs(5);

/// Whether the engine would ask `registry` (`host[:port]`) in plain HTTP, off loopback. A name counts by its addresses, as the
/// engine sees it.
pub(super) async fn is_plain(info: &Value, registry: &str) -> bool {
    let settings = &info["RegistryConfig"];
    let (host, port) = split(registry);
    let addresses: Vec<IpAddr> = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => match timeout(LOOKUP, lookup(&format!("{host}:{port}"))).await {
            Ok(Ok(found)) => found.iter().map(|address| address.ip()).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(), // then the engine does not find it either
        },
    };
    if !addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback) {
        return false;
    }
    let named = settings["IndexConfigs"][registry]["Secure"] == Value::Bool(false);
    let networks = settings["InsecureRegistryCIDRs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let within = |network: &Value| {
        network.as_str().is_some_and(|network| addresses.iter().any(|address| contains(network, *address)))
    };
    named || networks.iter().any(within)
}

fn split(registry: &str) -> (&str, u16) {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port))),
    };
    (host, port.and_then(|port| port.parse().ok()).unwrap_or(443))
}

/// Whether `network` (`10.0.0.0/8`) holds this address.
fn contains(network: &str, address: IpAddr) -> bool {
    let Some((base, bits)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(base) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(base), IpAddr::V6(address)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(base) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_is_what_the_engine_says() {
        let info = serde_json::json!({"RegistryConfig": {
            "InsecureRegistryCIDRs": ["10.217.0.0/24", "127.0.0.0/8", "fd00::/8"],
            "IndexConfigs": {
                "docker.io": {"Secure": true},
                "192.0.2.1:5000": {"Secure": false},
                "127.0.0.1:5000": {"Secure": false}
            }
        }});
        #[rustfmt::skip]
        let table = [
            ("10.217.0.1:5000", true), ("10.217.1.1:5000", false), ("10.217.0.1", true), ("192.0.2.1:5000", true),
            ("192.0.2.1:5001", false), ("127.0.0.1:5000", false), ("[::1]:5000", false), ("[fd00::1]:5000", true),
            ("[fe80::1]:5000", false),
        ];
        for (registry, want) in table {
            assert_eq!(is_plain(&info, registry).await, want, "{registry}");
        }
        assert!(!is_plain(&serde_json::json!([]), "10.217.0.1:5000").await);
    }

    #[test]
    fn networks() {
        assert!(contains("0.0.0.0/0", "8.8.8.8".parse().unwrap()));
        assert!(contains("10.0.0.1/32", "10.0.0.1".parse().unwrap()));
        for bad in ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/-1", "::/129"] {
            assert!(!contains(bad, "10.0.0.1".parse().unwrap()), "{bad}");
        }
    }
}
