//! A load balancer before the ingress: it asks for its health, and tells of its clients.

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_ingress::{DrainTimes, Limits, READY, Settings, TrustedProxies};

use crate::world::{RawClient, World, pool, server};

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
