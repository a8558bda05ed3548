//! Gates whose provider will not be asked, as far as that is known before a rollout begins.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;
use windlass_core::release::{GateAsk, Release};

use super::Networks;
use super::ask::literal;

/// Says which gates of a release name a provider that this coordinator does not ask: at an address in digits, or at `localhost`.
/// Other names are looked up when they are asked, and may have another address by then.
pub(crate) fn unreachable(networks: &Networks, release: &Release) -> Vec<String> {
    let gates = release.spec.gates.iter();
    let refused = gates.filter_map(|(name, gate)| {
        let (GateAsk::Prometheus { url, .. } | GateAsk::Http { url, .. }) = &gate.ask else { return None };
        let addresses = addresses(&Url::parse(url).ok()?).into_iter();
        // None as soon as one of them may be asked.
        let refusals: Option<Vec<_>> = addresses.map(|address| networks.check(address).err()).collect();
        let why = refusals?.into_iter().next()?;
        Some(format!("gate `{name}` gets no answer from this coordinator: {why}"))
    });
    refused.collect()
}

/// The addresses of a provider that are known without asking for them.
fn addresses(url: &Url) -> Vec<IpAddr> {
    match literal(url) {
        Some(address) => vec![address],
        None if url.host_str() == Some("localhost") => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_private_provider_is_told_of_before_it_is_asked() {
        let of = |url: &str, allowed: &[&str]| {
            let mut payload = windlass_testkit::release::payload(1, json!({}));
            payload["version"] = 4.into();
            payload["spec"]["gates"] = json!({ "errors": {
                "ask": { "prometheus": { "url": url, "query": "q", "timeout": "10s", "max": 1.0 } },
                "window": "20s", "passes": 2, "fails": 2 } });
            let release: Release = serde_json::from_value(payload).unwrap();
            let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
            unreachable(&Networks::read(&allowed).unwrap(), &release)
        };
        for url in
            ["http://10.0.0.9:9090", "https://127.0.0.1", "http://[fd00::9]:9090/p", "http://localhost:9090"]
        {
            let said = of(url, &[]);
            assert_eq!(said.len(), 1, "{url}: {said:?}");
            assert!(
                said[0].contains("gate `errors`") && said[0].contains("`gates.allow`"),
                "{url}: {said:?}"
            );
            assert!(of(url, &["10.0.0.0/8", "127.0.0.0/8", "fd00::/8"]).is_empty(), "{url}");
        }
        assert!(of("http://localhost:9090", &["::1/128"]).is_empty(), "one of its two addresses is asked");
        for url in ["http://93.184.215.14:9090", "https://prometheus.example.com", "no address"] {
            assert!(of(url, &[]).is_empty(), "{url}");
        }
    }
}
