//! Requests that are refused before they are routed: their meaning could differ between us and an endpoint.

use hyper::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, Scheme};
use hyper::{HeaderMap, Method, Request, StatusCode, Version};

/// A request that is refused, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) &'static str);

const fn bad(why: &'static str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, why)
}

/// The host that a request is for, without its port and in lower case.
///
/// # Errors
/// It has too many headers, there is no host or more than one, the target names another one than `Host`, or the framing is ambiguous.
pub(crate) fn authority<B>(request: &Request<B>, most_headers: usize) -> Result<String, Refusal> {
    if request.headers().len() > most_headers {
        return Err(Refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers"));
    }
    if request.method() == Method::CONNECT {
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served here"));
    }
    let headers = request.headers();
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err(bad("both Content-Length and Transfer-Encoding"));
    }
    if !has_one_length(headers) {
        return Err(bad("Content-Length is not one number"));
    }
    if headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(Refusal(StatusCode::NOT_IMPLEMENTED, "a transfer coding other than chunked"));
    }
    let mut hosts = headers.get_all(HOST).iter();
    let header = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(bad("more than one Host")),
        (Some(host), None) => {
            let text = host.to_str().map_err(|_| bad("Host is no host name"))?;
            Some(text.parse::<Authority>().map_err(|_| bad("Host is no host name"))?)
        }
        (None, None) => None,
    };
    let target = request.uri().authority();
    // The port that a scheme implies (RFC 9110, section 4.2).
    let usual = if request.uri().scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let authority = match (&header, target) {
        (Some(header), Some(target)) if !same(header, target, usual) => {
            return Err(bad("the target names another host than Host does"));
        }
        (_, Some(target)) => target,
        (Some(header), None) => header,
        (None, None) if request.version() >= Version::HTTP_2 => return Err(bad("no :authority")),
        (None, None) => return Err(bad("no Host")),
    };
    if authority.as_str().contains('@') {
        return Err(bad("Host has a user name"));
    }
    Ok(authority.host().trim_end_matches('.').to_ascii_lowercase())
}

/// Whether the length of a body, if it is said, is one number. Over HTTP/2 the same one may come twice, and an endpoint of HTTP/1 would
/// get both.
fn has_one_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return true };
    !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit) && lengths.next().is_none()
}

/// Whether both name one host and one port.
fn same(one: &Authority, other: &Authority, usual: u16) -> bool {
    let port = |of: &Authority| of.port_u16().unwrap_or(usual);
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}
