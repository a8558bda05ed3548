//! Headers that belong to one connection end at the ingress; those that say who asked are made anew.

use hyper::HeaderMap;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

use crate::origin::{FORWARDED_FOR, FORWARDED_PROTO, Origin};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Headers about the client that a trusted proxy may have set.
static FORWARDED_BY_PROXY: [HeaderName; 5] =
    [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED_PORT, REAL_IP];

/// Headers that belong to one connection (RFC 9110, section 7.6.1, and those that precede it).
static OF_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    HTTP2_SETTINGS,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The cookie with a client's bucket.
const BUCKET: &str = "wl-b";

/// The client, as the endpoint is told.
pub(crate) struct Forwarded<'a> {
    pub(crate) origin: Origin,
    /// The address of its connection here, as text.
    pub(crate) peer: &'a HeaderValue,
    pub(crate) host: &'a str,
    /// Used if the request has no id.
    pub(crate) id: u64,
}

/// Changes the headers of a request for its endpoint.
pub(crate) fn request_headers(headers: &mut HeaderMap, from: &Forwarded<'_>, http2: bool) {
    let trailers = headers.get_all(TE).iter().any(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    strip(headers);
    if http2 && trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    remove_look_alikes(headers);
    headers.remove(FORWARDED);
    if !from.origin.is_proxied {
        remove(headers, &FORWARDED_BY_PROXY);
    }
    add_hop(headers, from.peer);
    let tls = from.origin.tls;
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if tls { "https" } else { "http" }));
    if !headers.contains_key(FORWARDED_HOST)
        && let Ok(host) = HeaderValue::from_str(from.host)
    {
        headers.insert(FORWARDED_HOST, host);
    }
    if !headers.contains_key(REQUEST_ID)
        && let Ok(id) = HeaderValue::from_bytes(&digits(from.id))
    {
        headers.insert(REQUEST_ID, id);
    }
}

/// The sixteen digits of a number in hexadecimal.
fn digits(number: u64) -> [u8; 16] {
    let bytes = number.to_be_bytes();
    let half = |at: usize| if at.is_multiple_of(2) { bytes[at / 2] >> 4 } else { bytes[at / 2] & 0xf };
    std::array::from_fn(|at| b"0123456789abcdef"[usize::from(half(at))])
}

/// Removes headers that many programs cannot tell from ours: CGI and its heirs read `X_Real_IP` as `X-Real-IP`
/// (RFC 3875, section 4.1.18).
fn remove_look_alikes(headers: &mut HeaderMap) {
    let is_ours = |name: &str| {
        let meant = name.replace('_', "-");
        FORWARDED_BY_PROXY.iter().chain([&FORWARDED, &REQUEST_ID]).any(|ours| *ours == meant.as_str())
    };
    let names = headers.keys().filter(|key| key.as_str().contains('_') && is_ours(key.as_str()));
    for name in names.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Adds the peer of this connection to the addresses that it has told of itself.
fn add_hop(headers: &mut HeaderMap, peer: &HeaderValue) {
    if !headers.contains_key(FORWARDED_FOR) {
        headers.insert(FORWARDED_FOR, peer.clone());
        return;
    }
    let mut hops: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    hops.push(peer.as_bytes());
    if let Ok(hops) = HeaderValue::from_bytes(&hops.join(&b", "[..])) {
        headers.insert(FORWARDED_FOR, hops);
    }
}

/// Changes the headers of a response for its client.
pub(crate) fn response_headers(headers: &mut HeaderMap) {
    // The coding decides where the body ends (RFC 9112, section 6.3), and a length beside it is a lie.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip(headers);
}

/// Removes what belongs to one connection: the names of RFC 9110, section 7.6.1, and those that `Connection` lists. The host that
/// was asked for and the length of the body are for everybody, whatever it says.
fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let listed: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
            .collect();
        for name in listed {
            headers.remove(name);
        }
    }
    remove(headers, &OF_CONNECTION);
}

/// Removes headers, most of which are rarely there.
fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    let found: Vec<&HeaderName> =
        names.iter().filter(|name| headers.keys().any(|key| key == *name)).collect();
    for name in found {
        headers.remove(name);
    }
}

/// Joins the cookie lines that HTTP/2 may have cut (RFC 9113, section 8.2.3) for HTTP/1.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// The value of a cookie of a request.
pub(crate) fn cookie_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then_some(value)
    })
}

/// The bucket of the client, if it has a cookie of ours.
pub(crate) fn bucket_of(headers: &HeaderMap) -> Option<u16> {
    let text = cookie_value(headers, BUCKET).filter(|text| text.len() == 4)?;
    u16::from_str_radix(text, 16).ok()
}
