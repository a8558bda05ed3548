//! The hosts to which a registry may lead us: by a redirect, or by the address at which it wants its users to log in.
//!
//! A registry answers whatever it likes. It must not get the password of another one, nor have this machine ask its
//! own services, or those of the cloud it runs in, in the registry's name.

use std::net::IpAddr;

use reqwest::{Url, redirect};

/// Redirects that are followed for one answer; a blob usually takes one, to the store behind the registry.
const REDIRECTS: usize = 5;

/// A redirect that is not followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("it redirects without end")]
    Endless,
    #[error("it redirects to `{0}`, an address of this machine or its network")]
    Inside(String),
}

/// The policy of redirects of a registry. Logins never go along: the HTTP client drops them when host or port
/// change.
pub(super) fn redirects() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        if attempt.previous().len() > REDIRECTS {
            return attempt.error(Refused::Endless);
        }
        let first = attempt.previous().first().and_then(Url::host_str).unwrap_or_default();
        let to = attempt.url().host_str().unwrap_or_default();
        if to != first && is_inside(to) {
            let to = to.to_owned();
            return attempt.error(Refused::Inside(to));
        }
        attempt.follow()
    })
}

/// Loopback, link-local (where clouds answer about credentials), unspecified and the like. Private networks are not
/// among them: the store behind a registry is often there.
fn is_inside(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    if bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost") {
        return true;
    }
    match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => {
            address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast()
        }
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_unspecified()
                || address.is_multicast()
        }
        Err(_) => false,
    }
}

/// `host` of a realm's URL; `None` if it is none that a login may go to.
pub(super) fn host_of(realm: &str) -> Option<String> {
    let url = Url::parse(realm).ok()?;
    let plain = url.username().is_empty() && url.password().is_none();
    plain.then(|| url.host_str().map(str::to_owned)).flatten()
}

/// Returns whether the login of `registry` may be shown to `host`: to the registry itself, at any port, and within its domain:
/// `registry.example.com` and `auth.example.com` belong to one owner.
pub(super) fn is_same_site(registry: &str, host: &str) -> bool {
    let own = host_of(&format!("https://{registry}/")).unwrap_or_default();
    if own.is_empty() || host.is_empty() {
        return false;
    }
    own == host || site(&own).is_some_and(|site| Some(site) == self::site(host))
}

/// The last labels of a name that one owner has: two, or three below `co.uk` and its like. Addresses have none.
fn site(host: &str) -> Option<&str> {
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    let dots: Vec<usize> = host.match_indices('.').map(|(at, _)| at).collect();
    if is_address || dots.is_empty() {
        return None;
    }
    let labels: Vec<&str> = host.rsplit('.').take(2).collect();
    // Country and a short second label: `co.uk`, `com.au`, `or.jp`.
    let shared = labels[0].len() == 2 && labels[1].len() <= 3;
    let keep = if shared { 3 } else { 2 };
    match dots.len() + 1 {
        count if count < keep => None,
        count if count == keep => Some(host),
        count => Some(&host[dots[count - keep - 1] + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_goes_to_its_registry_and_its_domain() {
        #[rustfmt::skip]
        let table = [
            ("docker.io", "auth.docker.io", true), ("ghcr.io", "ghcr.io", true), ("registry.gitlab.com", "gitlab.com", true),
            ("registry.example.co.uk", "auth.example.co.uk", true), ("registry.example.com:5000", "registry.example.com", true),
            ("127.0.0.1:5000", "127.0.0.1", true), ("localhost:5000", "localhost", true), ("[::1]:5000", "[::1]", true),
            ("registry.example.com", "evil.com", false), ("registry.example.com", "example.com.evil.com", false),
            ("registry.example.com", "evilexample.com", false), ("example.co.uk", "evil.co.uk", false),
            ("registry.example.com", "com", false), ("127.0.0.1:5000", "127.0.0.2", false), ("127.0.0.1:5000", "localhost", false),
            ("10.1.2.3:5000", "9.1.2.3", false), ("localhost:5000", "evil.localhost", false), ("registry", "other", false),
        ];
        for (registry, host, want) in table {
            assert_eq!(is_same_site(registry, host), want, "{registry} {host}");
        }
    }

    #[test]
    fn what_is_inside() {
        #[rustfmt::skip]
        let table = [
            ("127.0.0.1", true), ("127.9.9.9", true), ("localhost", true), ("LOCALHOST.", true), ("a.localhost", true), ("[::1]", true),
            ("169.254.169.254", true), ("[fe80::1]", true), ("[::ffff:127.0.0.1]", true), ("[::ffff:169.254.169.254]", true),
            ("0.0.0.0", true), ("[::]", true), ("255.255.255.255", true), ("224.0.0.1", true),
            ("10.0.0.1", false), ("192.168.0.1", false), ("storage.example.com", false), ("8.8.8.8", false), ("localhost.example.com", false),
        ];
        for (host, want) in table {
            assert_eq!(is_inside(host), want, "{host}");
        }
    }

    #[test]
    fn a_realm_has_one_host() {
        #[rustfmt::skip]
        let table = [
            ("https://auth.docker.io/token", Some("auth.docker.io")), ("http://127.0.0.1:5000/token", Some("127.0.0.1")),
            ("https://registry.example.com@evil.com/", None), ("https://u:p@evil.com/", None),
            ("https://registry.example.com\\@evil.com/", Some("registry.example.com")), ("/token", None), ("", None), ("data:x", None),
        ];
        for (realm, want) in table {
            assert_eq!(host_of(realm).as_deref(), want, "{realm}");
        }
    }
}
