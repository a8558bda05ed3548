//! A load balancer before the ingress: it asks for its health, and tells of its clients.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use windlass_ingress::{Certificates, DrainTimes, Limits, ProxyProtocol, READY, Settings, TrustedProxies};

use crate::tls;
use crate::world::{RawClient, World, listener, pool, server};

/// An ingress that believes proxies on this machine, before a server.
async fn behind_a_balancer(tasks: &mut JoinSet<()>) -> World {
    let trusted_proxies = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let world = World::start_in(Limits::default(), Settings { trusted_proxies, ..Settings::default() }).await;
    world.ingress.take(pool(1, &[server(tasks, "one").await])).unwrap();
    world
}

#[tokio::test]
async fn health_checks_need_no_name_and_end_with_the_ingress() {
    let mut tasks = JoinSet::new();
    let world = World::start(Limits::default()).await;
    let old = format!("GET {READY} HTTP/1.0\r\n\r\n");
    assert!(world.ask(&old).await.0.starts_with("http/1.0 503"), "no table yet");
    world.ingress.take(pool(1, &[server(&mut tasks, "one").await])).unwrap();
    assert!(world.ask(&old).await.0.starts_with("http/1.0 200"));
    let head = format!("HEAD {READY} HTTP/1.1\r\nHost: 10.0.0.7\r\nConnection: close\r\n\r\n");
    assert!(world.ask(&head).await.0.starts_with("http/1.1 200"));
    let post = format!("POST {READY} HTTP/1.1\r\nHost: 10.0.0.7\r\nContent-Length: 0\r\n\r\n");
    assert!(world.ask(&post).await.0.starts_with("http/1.1 404"), "it is no other request's");

    // One with a body is a request like any other: its end is found where that of all is.
    let with_body = format!("GET {READY} HTTP/1.1\r\nHost: web.example\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(world.ask(&with_body).await.1, b"one");

    // It says so before it stops to take requests.
    world.ingress.leave();
    assert!(world.ask(&old).await.0.starts_with("http/1.0 503"));
    assert_eq!(world.get("/").await.1, b"one");
    assert_eq!(
        (world.counters(1).success, world.ingress.unrouted()),
        (2, 1),
        "health checks are not counted"
    );
}

#[tokio::test]
async fn a_successor_has_the_listeners_and_stays_healthy() {
    let mut tasks = JoinSet::new();
    let world = behind_a_balancer(&mut tasks).await;
    let check = format!("GET {READY} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut kept = RawClient::connect(world.address).await;
    kept.write(&check).await;
    assert!(kept.response().await.0.starts_with("http/1.1 200"));
    // The drain begins before the second check is sent.
    let (draining, again) = (world.ingress.drain(DrainTimes::default()), async {
        kept.write(&check).await;
        let head = kept.response().await.0;
        assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
    });
    world.stop.cancel();
    tokio::join!(draining, again);
}

#[tokio::test]
async fn a_trusted_balancer_tells_instances_of_its_client() {
    let mut tasks = JoinSet::new();
    let world = behind_a_balancer(&mut tasks).await;
    let request = "GET /echo HTTP/1.1\r\nHost: web.example\r\nX-Forwarded-For: 198.51.100.9\r\n\
                   X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\r\n";
    let body = String::from_utf8(world.ask(request).await.1).unwrap();
    for header in [
        r#""x-forwarded-for": "198.51.100.9, 127.0.0.1""#,
        r#""x-forwarded-proto": "https""#,
        r#""x-forwarded-port": "443""#,
        r#""x-forwarded-host": "web.example""#,
    ] {
        assert!(body.contains(header), "{header} is not in {body}");
    }
}

/// A header of the PROXY protocol, version 2, that tells of a client at 198.51.100.9, or of none.
fn announces(client: bool) -> Vec<u8> {
    let addresses = [198, 51, 100, 9, 127, 0, 0, 1, 0x12, 0x34, 0, 80];
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 + u8::from(client), 0x11, 0, 12], &addresses].concat()
}

/// One that passes bytes on announces their client, and no header of that client is believed.
#[tokio::test]
async fn a_balancer_of_connections_announces_its_clients() {
    let mut tasks = JoinSet::new();
    let (local, elsewhere) = ("127.0.0.0/8".parse().unwrap(), "192.0.2.0/24".parse().unwrap());
    let asks =
        "GET /echo HTTP/1.1\r\nHost: web.example\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n";
    let web = server(&mut tasks, "one").await;
    for (what, trusted, header, client) in [
        ("a client", local, announces(true), Some("198.51.100.9")),
        ("nobody", local, announces(false), Some("127.0.0.1")),
        ("no header", local, Vec::new(), None),
        ("no proxy", elsewhere, Vec::new(), Some("127.0.0.1")),
        ("a header of a stranger", elsewhere, announces(true), None),
    ] {
        let trusted_proxies = TrustedProxies::new(vec![trusted]);
        let proxy_protocol = ProxyProtocol { http: true, https: false };
        let settings = Settings { trusted_proxies, proxy_protocol, ..Settings::default() };
        let limits = Limits { detect: Duration::from_secs(2), ..Limits::default() };
        let world = World::start_in(limits, settings).await;
        world.ingress.take(pool(1, &[web])).unwrap();
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(&[&header[..], asks.as_bytes()].concat()).await.unwrap();
        let mut got = Vec::new();
        let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut got)).await.expect("it ends");
        let got = String::from_utf8(got).unwrap();
        let Some(client) = client else {
            assert!(!got.starts_with("HTTP/1.1 200"), "{what} is served: {got}");
            continue;
        };
        read.unwrap();
        assert!(got.contains(&format!(r#""x-forwarded-for": "{client}""#)), "{what}: {got}");
    }
}

/// The header comes before the handshake of TLS, and has a time.
#[tokio::test]
async fn a_balancer_announces_clients_of_https() {
    let mut tasks = JoinSet::new();
    let trusted_proxies = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let proxy_protocol = ProxyProtocol { http: false, https: true };
    let settings = Settings { trusted_proxies, proxy_protocol, ..Settings::default() };
    let limits = Limits { detect: Duration::from_secs(2), ..Limits::default() };
    let world = World::start_in(limits, settings).await;
    world.ingress.take(pool(1, &[server(&mut tasks, "one").await])).unwrap();
    assert_eq!(world.get("/").await.1, b"one", "the other listener has none");
    let (folder, mut roots) = (tempfile::tempdir().unwrap(), RootCertStore::empty());
    tls::certificate(folder.path(), &mut roots, "a", &["web.example"]);
    let certificates = Certificates::open(folder.path()).unwrap();
    let (listener, address) = listener().await;
    let ingress = world.ingress.clone();
    tasks.spawn(
        async move { ingress.serve_tls(listener, certificates, CancellationToken::new()).await.unwrap() },
    );
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&announces(true)).await.unwrap();
    let connector = TlsConnector::from(Arc::new(tls::client(&roots, &rustls::version::TLS13)));
    let mut stream = connector.connect("web.example".try_into().unwrap(), stream).await.unwrap();
    stream.write_all(b"GET /echo HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert!(got.contains(r#""x-forwarded-for": "198.51.100.9""#), "{got}");
    let end = timeout(Duration::from_secs(20), silent.read(&mut [0; 1])).await.expect("it is closed");
    assert!(!matches!(end, Ok(1..)), "nothing is said to it");
}

/// A redirect to HTTPS behind a balancer that ends TLS would go round in circles.
#[tokio::test]
async fn what_came_to_a_balancer_by_https_is_not_redirected() {
    let mut tasks = JoinSet::new();
    let mut world = behind_a_balancer(&mut tasks).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.address = listener.local_addr().unwrap();
    let ingress = world.ingress.clone();
    tasks.spawn(async move { ingress.serve_redirect(listener, 443, CancellationToken::new()).await });
    assert!(world.get("/").await.0.starts_with("http/1.1 308"));
    let secure = "GET / HTTP/1.1\r\nHost: web.example\r\nX-Forwarded-Proto: https\r\n\r\n";
    assert_eq!(world.ask(secure).await.1, b"one");
}
