//! Endpoints and an ingress before them, on sockets of this machine.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::UPGRADE;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_core::traffic::{
    Endpoint, Name, PortSide, Protocol, ROUTES_VERSION, ReleaseShare, RoutedPort, RoutedService, Routes,
    Weight,
};
use windlass_core::{Counter, Digest, Span, Timestamp};
use windlass_ingress::counters::ReleaseSnapshot;
use windlass_ingress::{Ingress, Limits, Population, Settings};

/// Windows of the tests' own HTTP/2 peers: wide enough that h2 puts up with any number of one-byte frames.
pub(crate) const WINDOW: u32 = 64 * 1024 * 1024;
pub(crate) const STREAM: u32 = 64 * 1024;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// An ingress on a socket, with its tasks.
pub(crate) struct World {
    pub(crate) ingress: Ingress,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    /// Ends with the world.
    _tasks: JoinSet<()>,
}

pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl World {
    pub(crate) async fn start(limits: Limits) -> Self {
        Self::start_in(limits, Settings::default()).await
    }

    /// An ingress in these surroundings.
    pub(crate) async fn start_in(limits: Limits, settings: Settings) -> Self {
        let (ingress, stop, mut tasks) =
            (Ingress::with(limits, settings), CancellationToken::new(), JoinSet::new());
        let (listener, address) = listener().await;
        let (serving, keeping, ends) = (ingress.clone(), ingress.clone(), stop.clone());
        tasks.spawn(async move { serving.serve_plain(listener, ends).await });
        tasks.spawn(async move { keeping.keep_house(CancellationToken::new()).await });
        let probing = ingress.clone();
        tasks.spawn(async move { probing.probe(CancellationToken::new()).await });
        Self { ingress, address, stop, _tasks: tasks }
    }

    /// The counters of release `n` by weight.
    pub(crate) fn counters(&self, n: u8) -> ReleaseSnapshot {
        self.population(n, Population::Weighted)
    }

    pub(crate) fn population(&self, n: u8, population: Population) -> ReleaseSnapshot {
        let key = ("production/web".parse().unwrap(), Some(release(n)), population);
        self.ingress.counters().remove(&key).unwrap()
    }

    /// Sends a request as it stands, and answers with the head and the body of the response.
    pub(crate) async fn ask(&self, request: &str) -> (String, Vec<u8>) {
        let mut client = RawClient::connect(self.address).await;
        client.write(request).await;
        client.response().await
    }

    pub(crate) async fn get(&self, path: &str) -> (String, Vec<u8>) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: web.example\r\n\r\n")).await
    }
}

pub(crate) const fn release(n: u8) -> Digest {
    Digest::from_bytes([n; 32])
}

pub(crate) fn endpoint(address: SocketAddr, n: u8) -> Endpoint {
    Endpoint {
        host: "h1".parse().unwrap(),
        address: address.ip(),
        port: "http".to_owned(),
        number: address.port(),
        side: PortSide::A,
        release: release(n),
        draining: false,
        stands_by: None,
    }
}

/// A service `web` at `web.example` with one pool of these endpoints of release 1.
pub(crate) fn pool(seq: u64, endpoints: &[SocketAddr]) -> Routes {
    routes(seq, &[(1, None)], endpoints.iter().map(|address| endpoint(*address, 1)).collect())
}

pub(crate) fn routes(seq: u64, releases: &[(u8, Option<u16>)], endpoints: Vec<Endpoint>) -> Routes {
    let share = |(n, weight): &(u8, Option<u16>)| ReleaseShare {
        release: release(*n),
        counter: Counter(u64::from(*n)),
        weight: weight.map(|permille| Weight::try_from(permille).unwrap()),
    };
    Routes {
        version: ROUTES_VERSION,
        fleet: "fleet".parse().unwrap(),
        environment: "production".parse().unwrap(),
        epoch: 1,
        seq,
        issued_at: Timestamp::ZERO,
        names: vec![Name {
            host: "web.example".to_owned(),
            path: "/".to_owned(),
            service: "web".parse().unwrap(),
            port: "http".to_owned(),
        }],
        services: vec![RoutedService {
            service: "web".parse().unwrap(),
            ports: BTreeMap::from([(
                "http".to_owned(),
                RoutedPort { container: 80, protocol: Protocol::Http, probe: None },
            )]),
            releases: releases.iter().map(share).collect(),
            matches: Vec::new(),
            salt: "rollout-1".to_owned(),
            endpoints,
            hold: None,
            slow_start: None,
            drain: Span::from_secs(30),
        }],
    }
}

/// The same table for endpoints that speak another protocol.
pub(crate) fn speaking(mut routes: Routes, protocol: Protocol) -> Routes {
    routes.services[0].ports.get_mut("http").unwrap().protocol = protocol;
    routes
}

/// An endpoint that answers with its name; `/echo` with what it got, `/slow` after 300 ms, `/bytes` with 8 MiB,
/// `/status/500` with that status; an upgrade to `echo` with every byte.
pub(crate) async fn server(tasks: &mut JoinSet<()>, name: &'static str) -> SocketAddr {
    let (listener, address) = listener().await;
    serve_on(tasks, listener, name);
    address
}

/// The same on a socket that is there already.
pub(crate) fn serve_on(tasks: &mut JoinSet<()>, listener: TcpListener, name: &'static str) {
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let service = service_fn(move |request| answer(name, request));
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                let _ = serving.with_upgrades().await;
            });
        }
    });
}

/// The same over HTTP/2 without TLS.
pub(crate) async fn server_h2(
    tasks: &mut JoinSet<()>,
    respond: impl Fn(Request<Incoming>) -> Response<Body> + Send + Sync + 'static,
) -> SocketAddr {
    let (listener, address) = listener().await;
    let respond = Arc::new(respond);
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let respond = Arc::clone(&respond);
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let response = respond(request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let serving = http2::Builder::new(TokioExecutor::new())
                    .initial_connection_window_size(WINDOW)
                    .initial_stream_window_size(STREAM)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = serving.await;
            });
        }
    });
    address
}

/// The same with an answer that may take its time, and at most so many streams of a connection at once.
pub(crate) async fn server_h2_async<F>(
    tasks: &mut JoinSet<()>,
    streams: Option<u32>,
    respond: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (listener, address) = listener().await;
    let respond = Arc::new(respond);
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let respond = Arc::clone(&respond);
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let response = respond(request);
                    async move { Ok::<_, Infallible>(response.await) }
                });
                let serving = http2::Builder::new(TokioExecutor::new())
                    .max_concurrent_streams(streams)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = serving.await;
            });
        }
    });
    address
}

/// An endpoint that does with each connection what `each` says.
pub(crate) async fn raw_server<F>(
    tasks: &mut JoinSet<()>,
    each: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listener().await;
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(each(stream));
        }
    });
    address
}

pub(crate) fn text(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed()
}

async fn answer(name: &'static str, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.headers().contains_key(UPGRADE) {
        let on_upgrade = hyper::upgrade::on(&mut request);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(echo(on_upgrade));
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        let response = response.header("connection", "upgrade").header("upgrade", "echo");
        return Ok(response.body(text("")).unwrap());
    }
    let path = request.uri().path().to_owned();
    let body = match path.as_str() {
        "/echo" => {
            let head = format!("{:?} {}\n{:?}\n", request.version(), request.uri(), request.headers());
            let got = request
                .into_body()
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            [head.as_bytes(), &got].concat()
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            name.as_bytes().to_vec()
        }
        "/bytes" => vec![b'x'; 8 * 1024 * 1024],
        _ => name.as_bytes().to_vec(),
    };
    let status = path.strip_prefix("/status/").and_then(|code| code.parse().ok()).unwrap_or(200);
    let response =
        Response::builder().status(status).header("x-served-by", name).header("keep-alive", "timeout=5");
    Ok(response.body(text(body)).unwrap())
}

async fn echo(on_upgrade: hyper::upgrade::OnUpgrade) {
    let Ok(upgraded) = on_upgrade.await else { return };
    let (mut io, mut buffer) = (TokioIo::new(upgraded), [0; 4096]);
    while let Ok(count) = io.read(&mut buffer).await {
        if count == 0 || io.write_all(&buffer[..count]).await.is_err() || io.flush().await.is_err() {
            return;
        }
    }
}

/// A client that writes bytes and reads HTTP/1 responses.
pub(crate) struct RawClient {
    stream: TcpStream,
    pending: Vec<u8>,
}

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), pending: Vec::new() }
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Writes to a connection that may have ended.
    pub(crate) async fn try_write(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.write_all(text.as_bytes()).await
    }

    /// Reads more; answers with false at the end.
    pub(crate) async fn more(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut buffer));
        match read.await.expect("something comes within 20 s") {
            Ok(count) => {
                self.pending.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(_) => false,
        }
    }

    /// Writes without end until an answer comes; answers with its head.
    pub(crate) async fn flood_until_answered(self) -> String {
        let (mut read, mut write) = self.stream.into_split();
        let flood = async move {
            while write.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let answer = async move {
            let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
            while !got.windows(4).any(|four| four == b"\r\n\r\n") {
                match read.read(&mut buffer).await {
                    Ok(count @ 1..) => got.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
            }
            String::from_utf8_lossy(&got).to_ascii_lowercase()
        };
        tokio::select! {
            () = flood => unreachable!("it never ends"),
            head = tokio::time::timeout(Duration::from_secs(20), answer) => head.expect("an answer within 20 s"),
        }
    }

    /// The bytes that are there and belong to no response yet.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// One response with `Content-Length`; the body is what came if the connection ends before. Empty if nothing comes.
    pub(crate) async fn response(&mut self) -> (String, Vec<u8>) {
        let end = loop {
            if let Some(at) = self.pending.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return (
                    String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned(),
                    Vec::new(),
                );
            }
        };
        let head = String::from_utf8_lossy(&self.pending[..end]).to_ascii_lowercase();
        self.pending.drain(..end);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |text| text.trim().parse().unwrap());
        while self.pending.len() < length && self.more().await {}
        let body = self.pending.drain(..length.min(self.pending.len())).collect();
        (head, body)
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
