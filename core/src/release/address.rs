//! Addresses, URLs and paths that a request may go to.

/// Bytes of an address that a check connects to, and of its name.
pub(crate) const MAX_ADDRESS: usize = 512;

/// Host and port of `host:port`; an IPv6 address stands in brackets. `None` if it is not written like that.
pub fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let (name, bracketed) = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => (inner, true),
        None => (host, false),
    };
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let fits = if bracketed {
        name.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !name.is_empty() && name.bytes().all(letter)
    };
    (fits && address.len() <= MAX_ADDRESS).then_some((name, port))
}

/// A URL that a check may ask: `http[s]://host[:port][/path]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url<'a> {
    /// Whether TLS is spoken.
    pub is_https: bool,
    /// The host, an IPv6 address without brackets.
    pub host: &'a str,
    /// The port, 80 or 443 if the URL names none.
    pub port: u16,
    /// Host and port as a request names them.
    pub authority: &'a str,
    /// Path and query.
    pub path: &'a str,
}

/// The parts of a URL. `None` if it is not one that a check may ask.
pub fn url(text: &str) -> Option<Url<'_>> {
    let (is_https, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (None, rest) => (true, rest?),
    };
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let path = if path.is_empty() { "/" } else { path };
    if text.len() > 2048 || !is_request_path(path) {
        return None;
    }
    let has_port = authority.rfind(':').is_some_and(|at| !authority[at..].contains(']'));
    let name = if has_port { authority.rsplit_once(':')?.0 } else { authority };
    let port = if has_port {
        host_and_port(authority)?.1
    } else if is_https {
        443
    } else {
        80
    };
    host_and_port(&format!("{name}:{port}"))?;
    let host = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    Some(Url { is_https, host, port, authority, path })
}

/// Returns whether `path` can stand in the first line of a request.
pub(crate) fn is_request_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 2048 && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_urls_are_read_in_one_way() {
        let table = [
            ("db:5432", Some(("db", 5432))),
            ("10.0.0.1:1", Some(("10.0.0.1", 1))),
            ("[::1]:6379", Some(("::1", 6379))),
            ("::1:6379", None),
            ("[db]:1", None),
            ("db", None),
            ("db:0", None),
            ("db:65536", None),
            (":80", None),
            ("d b:80", None),
            ("user@db:80", None),
        ];
        for (text, want) in table {
            assert_eq!(host_and_port(text), want, "{text}");
        }
        let urls = [
            ("http://a", Some(("a", 80, "/"))),
            ("http://a:81/x?y=1", Some(("a", 81, "/x?y=1"))),
            ("http://[::1]/", Some(("::1", 80, "/"))),
            ("http://[::1]:8/z", Some(("::1", 8, "/z"))),
            ("https://a/", Some(("a", 443, "/"))),
            ("https://[::1]:8443", Some(("::1", 8443, "/"))),
            ("ftp://a/", None),
            ("https://", None),
            ("http:///x", None),
            ("http://u:p@a/", None),
            ("http://a/b c", None),
            ("http://a/#b", None),
            ("http://a?x", None),
        ];
        for (text, want) in urls {
            let got = url(text);
            assert_eq!(got.as_ref().map(|url| (url.host, url.port, url.path)), want, "{text}");
            assert!(got.is_none_or(|url| url.is_https == text.starts_with("https")), "{text}");
        }
    }
}
