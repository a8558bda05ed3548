//! Calls of services by name, at the gateways of inner networks: here on loopback, where every 127.0.N.0/24 is a network.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_core::network::InnerNetwork;
use windlass_core::traffic::{Protocol, Routes};
use windlass_ingress::{Ingress, Limits};

use super::world::{pool, server, server_h2, speaking, text};

fn network(environment: &str, subnet: &str, uses: &[&str]) -> InnerNetwork {
    InnerNetwork {
        environment: environment.parse().unwrap(),
        subnet: subnet.parse().unwrap(),
        uses: uses.iter().map(|name| name.parse().unwrap()).collect(),
    }
}

/// The table of an environment, whose service `web` answers at `port` of its containers.
fn table(environment: &str, seq: u64, port: u16, endpoints: &[SocketAddr]) -> Routes {
    let mut routes = pool(seq, endpoints);
    routes.environment = environment.parse().unwrap();
    routes.names.clear();
    routes.services[0].ports.get_mut("http").unwrap().container = port;
    routes
}

/// The answer that a client at `from` gets from `to`; `None` if the connection ends without an answer.
async fn ask(from: &str, to: SocketAddr, host: &str) -> Option<(u16, String)> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await; // a reset is no answer either
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

#[tokio::test]
async fn a_name_leads_to_the_service_of_its_own_environment() {
    let (ingress, mut tasks) = (Ingress::new(Limits::default(), 1), JoinSet::new());
    let (one, two) = (server(&mut tasks, "one").await, server(&mut tasks, "two").await);
    let (first, second) = (listen("127.0.41.1:0").await, listen("127.0.42.1:0").await);
    let (port, other) = (first.1.port(), second.1.port());
    ingress.take(table("production", 1, port, &[one])).unwrap();
    ingress.take(table("staging", 1, other, &[two])).unwrap();
    assert!(ingress.inner_listens().is_empty(), "nothing calls");
    ingress.call(vec![
        network("production", "127.0.41.0/24", &["web", "later"]),
        network("staging", "127.0.42.0/24", &["web"]),
    ]);
    let listens: Vec<SocketAddr> = ingress.inner_listens().into_iter().map(SocketAddr::V4).collect();
    assert_eq!(listens, [first.1, second.1]);
    for (listener, _) in [first, second] {
        let ingress = ingress.clone();
        tasks.spawn(async move { ingress.serve_inner(listener, CancellationToken::new()).await });
    }
    let (production, staging) = (listens[0], listens[1]);
    let answered = |status, text: &str| Some((status, text.to_owned()));
    assert_eq!(ask("127.0.41.7", production, &format!("web:{port}")).await, answered(200, "one"));
    assert_eq!(ask("127.0.41.7", production, "WEB.").await, answered(200, "one"));
    assert_eq!(ask("127.0.42.7", staging, "web").await, answered(200, "two"));
    assert_eq!(
        ask("127.0.41.7", staging, "web").await,
        None,
        "a container of another environment is turned away"
    );
    let later = ask("127.0.41.7", production, "later").await.unwrap();
    assert_eq!(later.0, 503, "{}", later.1);
    let unknown = ask("127.0.41.7", production, "web.example").await.unwrap();
    assert_eq!(unknown.0, 404, "{}", unknown.1);

    // Nothing calls there any more.
    ingress.call(Vec::new());
    assert!(ingress.inner_listens().is_empty());
    assert_eq!(ask("127.0.41.7", production, "web").await, None);
}

#[tokio::test]
async fn a_listener_on_every_address_answers_at_gateways_too() {
    let (ingress, mut tasks) = (Ingress::new(Limits::default(), 1), JoinSet::new());
    let one = server(&mut tasks, "one").await;
    let (listener, at) = listen("0.0.0.0:0").await;
    let port = at.port();
    let mut routes = table("production", 1, port, &[one]);
    routes.names = pool(1, &[one]).names;
    ingress.take(routes).unwrap();
    ingress.call(vec![network("production", "127.0.43.0/24", &["web"])]);
    let serving = ingress.clone();
    tasks.spawn(async move { serving.serve_redirect(listener, 443, CancellationToken::new()).await });
    let at = |address: &str| -> SocketAddr { format!("{address}:{port}").parse().unwrap() };
    let inside = ask("127.0.43.7", at("127.0.43.1"), "web").await.unwrap();
    assert_eq!(inside, (200, "one".to_owned()), "and is not sent to HTTPS");
    assert_eq!(ask("127.0.44.7", at("127.0.43.1"), "web").await, None, "from outside the network");
    let outside = ask("127.0.0.1", at("127.0.0.1"), "web.example").await.unwrap();
    assert_eq!(outside.0, 308);
}

async fn listen(at: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn grpc_is_called_by_name_too() {
    let (ingress, mut tasks) = (Ingress::new(Limits::default(), 1), JoinSet::new());
    let echo = |request: hyper::Request<hyper::body::Incoming>| {
        let text_of = request.uri().to_string();
        hyper::Response::new(text(text_of))
    };
    let rpc = server_h2(&mut tasks, echo).await;
    let (listener, at) = listen("127.0.45.1:0").await;
    ingress.take(speaking(table("production", 1, at.port(), &[rpc]), Protocol::Grpc)).unwrap();
    ingress.call(vec![network("production", "127.0.45.0/24", &["web"])]);
    let serving = ingress.clone();
    tasks.spawn(async move { serving.serve_inner(listener, CancellationToken::new()).await });
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.45.9:0".parse().unwrap()).unwrap();
    let stream = socket.connect(at).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tasks.spawn(async move { drop(connection.await) });
    let uri = format!("http://web:{}/pkg.Service/Call", at.port());
    let request = hyper::Request::post(uri).body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).ends_with("/pkg.Service/Call"), "{body:?}");
}
