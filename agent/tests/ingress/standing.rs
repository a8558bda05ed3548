//! Take-overs under connections that stand: HTTPS kept alive, HTTP/2, tunnels, and calls of gRPC that go on.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{HeaderMap, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use windlass_core::traffic::{IngressReport, Name, Protocol, Routes};

use crate::http::{Client, Endpoint};
use crate::secure::{lay_down, settings};
use crate::world::{LONG, World, signed, table, until};

const WEB: &str = "web.example.com";
const RPC: &str = "rpc.example.com";
/// Clients of each protocol, and the time between two requests of one of them.
const CLIENTS: usize = 6;
const EVERY: Duration = Duration::from_millis(25);

/// An endpoint of gRPC that gives every message back, and then says that all is well.
async fn listen_rpc(tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                let status = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
                let back = request.into_body().with_trailers(std::future::ready(Some(Ok(status))));
                let response = Response::builder().header("content-type", "application/grpc");
                Ok::<_, Infallible>(response.body(back).unwrap())
            });
            open.spawn(async move {
                let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                drop(serving.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    address
}

/// A table of `web`, and of `rpc`, which speaks gRPC.
fn both(web: SocketAddr, rpc: SocketAddr) -> Routes {
    let mut routes = table(5, &[web]);
    let mut service = table(5, &[rpc]).services.remove(0);
    service.service = "rpc".parse().unwrap();
    let port = service.ports.get_mut("http").unwrap();
    port.protocol = Protocol::Grpc;
    let (service_name, port) = (service.service.clone(), "http".to_owned());
    routes.services.push(service);
    routes.names.push(Name { host: RPC.to_owned(), path: "/".to_owned(), service: service_name, port });
    routes.services.sort_by(|one, other| one.service.cmp(&other.service));
    routes.names.sort_by(|one, other| one.host.cmp(&other.host));
    routes
}

type Tls = TlsStream<TcpStream>;

/// Where the ingress serves HTTPS, and what its clients believe.
#[derive(Clone)]
struct Place {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    config_h2: Arc<ClientConfig>,
}

impl Place {
    async fn connect(&self, name: &'static str, config: &Arc<ClientConfig>) -> io::Result<Tls> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::clone(config)).connect(name.try_into().unwrap(), stream).await
    }

    async fn http1(&self) -> io::Result<Client<Tls>> {
        Ok(Client::over(self.connect(WEB, &self.config).await?))
    }

    async fn http2<B>(&self, name: &'static str) -> io::Result<(SendRequest<B>, JoinSet<()>)>
    where
        B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    {
        let stream = self.connect(name, &self.config_h2).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let mut task = JoinSet::new();
        task.spawn(async move { drop(connection.await) });
        Ok((sender, task))
    }
}

/// Asks again and again over connections that are kept until the ingress says that they end.
async fn ask_http1(place: Place, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> io::Result<()> {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = None;
    while !stop.load(Relaxed) {
        tick.tick().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => place.http1().await?,
        };
        let answer = connection.get(WEB, "/wait/20").await?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("{answer:?}")));
        }
        done.fetch_add(1, Relaxed);
        kept = (!answer.close).then_some(connection);
    }
    Ok(())
}

/// Whether a GOAWAY without an error answered: its streams have not been taken, and may be asked again
/// (RFC 9113, section 6.8). hyper meets it when it opens a stream beside the GOAWAY's arrival.
fn is_refused(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(|e| e.is_go_away() && e.is_remote() && e.reason() == Some(h2::Reason::NO_ERROR))
}

/// The same over HTTP/2: a request that a connection did not take any more goes over the next one.
async fn ask_http2(place: Place, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> io::Result<()> {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept: Option<(SendRequest<Empty<Bytes>>, JoinSet<()>)> = None;
    while !stop.load(Relaxed) {
        tick.tick().await;
        let (mut sender, task) = match kept.take().filter(|(sender, _)| !sender.is_closed()) {
            Some(connection) => connection,
            None => place.http2(WEB).await?,
        };
        let request = Request::get(format!("https://{WEB}/wait/20")).version(Version::HTTP_2);
        let request = request.body(Empty::new()).unwrap();
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => match error.take_message() {
                Some(_) => continue,
                None if is_refused(error.error()) => continue,
                None => return Err(io::Error::other(error.into_error())),
            },
        };
        let status = response.status();
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        if status != 200 || body != "one" {
            return Err(io::Error::other(format!("{status}: {body:?}")));
        }
        done.fetch_add(1, Relaxed);
        kept = Some((sender, task));
    }
    Ok(())
}

/// A call that goes on.
struct Call {
    say: mpsc::Sender<Bytes>,
    heard: Incoming,
    _connection: JoinSet<()>,
}

impl Call {
    async fn begin(place: &Place) -> Self {
        let (say, said) = mpsc::channel::<Bytes>(1);
        let frames = ReceiverStream::new(said);
        let frames = tokio_stream::StreamExt::map(frames, |bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        let body: BoxBody<Bytes, Infallible> = StreamBody::new(frames).boxed();
        let (mut sender, connection) = place.http2(RPC).await.unwrap();
        let request = Request::post(format!("https://{RPC}/pkg.Service/Echo")).version(Version::HTTP_2);
        let request = request.header("te", "trailers").header("content-type", "application/grpc");
        let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        Self { say, heard: response.into_body(), _connection: connection }
    }

    async fn echo(&mut self, text: &'static str) {
        self.say.send(Bytes::from_static(text.as_bytes())).await.unwrap();
        let frame = timeout(LONG, self.heard.frame()).await.expect("it comes back");
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), text);
    }

    /// Ends it; the status has to come.
    async fn end(self) {
        let Self { say, heard, _connection } = self;
        drop(say);
        let whole = timeout(LONG, heard.collect()).await.expect("it ends").unwrap();
        assert_eq!(whole.trailers().and_then(|trailers| trailers.get("grpc-status")).unwrap(), "0");
    }
}

fn serving(report: &IngressReport) -> bool {
    report.listens.iter().any(|listen| listen.name == "https") && !report.tables.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_goes_on_over_two_take_overs() {
    let world = World::new();
    let mut tasks = JoinSet::new();
    let (web, rpc) = (Endpoint::listen("one").await, listen_rpc(&mut tasks).await);
    let certs = world.folder.join("certs");
    std::fs::create_dir(&certs).unwrap();
    let believed = lay_down(&certs, &[WEB, RPC]);
    let routes = both(web.address, rpc);
    let mut agent = world.agent(vec![signed(&routes, &world.keys.0.dispatch)]);
    let start = || {
        let secure = ["--https", "127.0.0.1:0", "--certs", certs.to_str().unwrap()];
        world.start(&[&secure[..], &["--drain", "60s", "--drain-tunnels", "60s"]].concat())
    };
    let mut ingress = start();
    let mut report = agent.report("the first serves", serving).await;
    let address = agent.at("https").await;
    let place = Place { address, config: settings(&believed, &[]), config_h2: settings(&believed, &[b"h2"]) };

    let stop = Arc::<AtomicBool>::default();
    let (over1, over2) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(ask_http1(place.clone(), stop.clone(), over1.clone()));
        clients.spawn(ask_http2(place.clone(), stop.clone(), over2.clone()));
    }
    let flow = async |what: &str| {
        let before = [over1.load(Relaxed), over2.load(Relaxed)];
        let more = || over1.load(Relaxed) > before[0] + 200 && over2.load(Relaxed) > before[1] + 200;
        until(what, more).await;
    };
    flow("requests flow").await;

    let (mut tunnels, mut calls, mut before) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        // One of each stands at the process that is about to hand over.
        let mut tunnel = place.http1().await.unwrap();
        tunnel.upgrade(WEB).await.unwrap();
        tunnels.push(tunnel);
        calls.push(Call::begin(&place).await);
        let successor = start();
        let known = report.process;
        report = agent.report("the successor serves", |r| serving(r) && r.process != known).await;
        agent.report("the one before ends", |r| r.process == known && r.ending).await;
        assert!(report.listens.iter().any(|listen| listen.address == address), "the same socket");
        before.push(std::mem::replace(&mut ingress, successor));
        flow("requests flow to the successor").await;
        for tunnel in &mut tunnels {
            tunnel.echo("ping").await.unwrap();
        }
        for call in &mut calls {
            call.echo("ping").await;
        }
    }
    stop.store(true, Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap().unwrap();
    }
    println!(
        "{} requests over HTTP/1.1, {} over HTTP/2, none failed",
        over1.load(Relaxed),
        over2.load(Relaxed)
    );
    assert!(before.iter_mut().all(|process| !process.has_ended()), "they wait for what stands");
    for call in calls {
        call.end().await;
    }
    drop(tunnels);
    for process in &mut before {
        assert!(process.end().await, "it ended well, with the last that stood");
    }
}
