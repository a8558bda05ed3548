use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request, StatusCode, Version};

use crate::origin::Origin;

use super::*;

fn request(method: &str, uri: &str, version: Version, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri).version(version);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

#[test]
fn the_host_of_a_request_is_read_from_one_place() {
    let get =
        |uri: &str, version, headers: &[(&str, &str)]| authority(&request("GET", uri, version, headers), 100);
    assert_eq!(get("/", Version::HTTP_11, &[("host", "A.b:80")]).as_deref(), Ok("a.b"));
    assert_eq!(get("/", Version::HTTP_11, &[("host", "a.b.")]).as_deref(), Ok("a.b"));
    assert_eq!(get("http://a.b/x", Version::HTTP_11, &[("host", "a.b")]).as_deref(), Ok("a.b"));
    assert_eq!(get("https://a.b/x", Version::HTTP_2, &[]).as_deref(), Ok("a.b"));
}

#[test]
fn an_ambiguous_request_is_refused() {
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
    let cases: [Case<'_>; 7] = [
        ("GET", "/", &[]),
        ("GET", "/", &[("host", "a"), ("host", "a")]),
        ("GET", "/", &[("host", "a b")]),
        ("GET", "/", &[("host", "user@a")]),
        ("GET", "http://a/", &[("host", "b")]),
        ("GET", "http://a/", &[("host", "a:81")]),
        ("POST", "/", &[("host", "a"), ("content-length", "1"), ("transfer-encoding", "chunked")]),
    ];
    for (method, uri, headers) in cases {
        let answer = authority(&request(method, uri, Version::HTTP_11, headers), 100);
        assert_eq!(answer.map_err(|refusal| refusal.0), Err(StatusCode::BAD_REQUEST), "{uri} {headers:?}");
    }
    let connect = authority(&request("CONNECT", "a:80", Version::HTTP_11, &[]), 100);
    assert_eq!(connect.map_err(|refusal| refusal.0), Err(StatusCode::METHOD_NOT_ALLOWED));
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

static PEER: HeaderValue = HeaderValue::from_static("192.0.2.7");

const FROM: Forwarded<'static> = Forwarded {
    peer: &PEER,
    origin: Origin::direct(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), true),
    host: "a.b",
    id: 5,
};

#[test]
fn headers_of_one_connection_end_at_the_ingress() {
    let mut seen = headers(&[
        ("connection", "close, X-Secret"),
        ("x-secret", "1"),
        ("keep-alive", "1"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("proxy-authorization", "x"),
        ("accept", "*/*"),
    ]);
    request_headers(&mut seen, &FROM, false);
    let mut names: Vec<&str> = seen.keys().map(hyper::header::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"]);
}

#[test]
fn nobody_takes_host_or_length_off_a_request() {
    let mut seen = headers(&[
        ("connection", "Host, content-length, x-a"),
        ("host", "a.b"),
        ("content-length", "2"),
        ("x-a", "1"),
    ]);
    request_headers(&mut seen, &FROM, false);
    assert_eq!((seen["host"].as_bytes(), seen["content-length"].as_bytes()), (&b"a.b"[..], &b"2"[..]));
    assert!(!seen.contains_key("x-a") && !seen.contains_key("connection"));
}

#[test]
fn te_trailers_is_kept_for_http2() {
    let mut seen = headers(&[("te", "trailers")]);
    request_headers(&mut seen, &FROM, true);
    assert_eq!(seen["te"], "trailers");
}

#[test]
fn a_client_cannot_say_who_it_is() {
    let mut seen =
        headers(&[("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=x"), ("x-request-id", "mine")]);
    request_headers(&mut seen, &FROM, false);
    assert_eq!(seen.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), ["192.0.2.7"]);
    assert_eq!(
        (seen["x-forwarded-proto"].as_bytes(), seen["x-request-id"].as_bytes()),
        (&b"https"[..], &b"mine"[..])
    );
    assert!(!seen.contains_key("forwarded"));
    let mut seen = HeaderMap::new();
    request_headers(&mut seen, &Forwarded { id: 0x0123_4567_89ab_cdef, ..FROM }, false);
    assert_eq!(seen["x-request-id"], "0123456789abcdef");
}

#[test]
fn look_alikes_of_forwarded_headers_are_removed() {
    let mut seen = headers(&[
        ("x_forwarded_for", "10.0.0.1"),
        ("x-forwarded_proto", "gopher"),
        ("x_real_ip", "10.0.0.1"),
        ("my_own", "kept"),
    ]);
    request_headers(&mut seen, &FROM, false);
    let left: Vec<_> = seen.keys().map(|name| name.as_str()).filter(|name| name.contains('_')).collect();
    assert_eq!(left, ["my_own"]);
}

#[test]
fn a_trusted_proxy_tells_of_its_client() {
    let mut seen = headers(&[
        ("x-forwarded-for", "198.51.100.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=x"),
    ]);
    let origin = Origin { is_proxied: true, ..FROM.origin };
    request_headers(&mut seen, &Forwarded { origin, ..FROM }, false);
    assert_eq!(seen.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), ["198.51.100.9, 192.0.2.7"]);
    for (name, value) in [("proto", "https"), ("host", "shop.example"), ("port", "443")] {
        assert_eq!(seen[format!("x-forwarded-{name}")], value);
    }
    assert!(!seen.contains_key("forwarded"));
}

#[test]
fn cookies_are_found_and_joined() {
    let mut seen = headers(&[("cookie", "a=1; wl-b=00ff"), ("cookie", "c=3")]);
    assert_eq!((cookie_value(&seen, "c"), bucket_of(&seen)), (Some("3"), Some(255)));
    join_cookies(&mut seen);
    assert_eq!(seen.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; wl-b=00ff; c=3"]);
    assert_eq!(bucket_of(&headers(&[("cookie", "wl-b=zzzz")])), None);
    assert_eq!(bucket_of(&headers(&[("cookie", "wl-b=0fff0")])), None);
}
