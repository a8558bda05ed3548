//! Answers without a certificate, on a listener of their own: metrics, targets for Prometheus and health. They change
//! nothing; hosts, services and instances are named as far as `metrics.detail` says.
//!
//! Anybody who reaches the port may ask, so all of it is bounded, and apart from what agents need: connections and their
//! descriptors (of one address a few; a newcomer gets the place of the oldest), how long a request's head may take and
//! a connection last, requests of one address. HTTP/1.1 only: there are no frames to flood with.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use windlass_certs::tls::{HandshakeStats, Seat, Seats};
use windlass_core::Timestamp;
use windlass_core::quota::{Quotas, Rate, Source};

use crate::coordinator::Coordinator;
use crate::discovery;
use crate::metrics::{Dropped, Metrics, classic};
use crate::scrape::{Place, gather};

/// Connections at a time, and of one address.
const CONNECTIONS: usize = 64;
const OF_ONE_ADDRESS: usize = 16;
/// Connections of one address that are looked at at all.
const OPENED: Rate = Rate::new(256, Duration::from_millis(10));
/// Requests of one address.
const ASKED: Rate = Rate::new(100, Duration::from_millis(50));
/// The longest time for the head of a request, also for the next one of a connection.
const HEAD: Duration = Duration::from_secs(5);
/// The lifetime of a connection, which then has to end.
const LIFETIME: Duration = Duration::from_secs(60);
const LAST: Duration = Duration::from_secs(5);
/// Bytes of a head.
const BUFFER: usize = 16 << 10;
const HEADERS: usize = 64;
/// Addresses that are remembered.
const ADDRESSES: usize = 4096;
/// For so long metrics are as good as new.
const FRESH: Duration = Duration::from_millis(500);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
/// After `accept` itself failed, so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// The HTTP side.
pub(crate) struct Http {
    listener: TcpListener,
    router: Router,
    metrics: Metrics,
}

#[derive(Clone)]
struct Parts {
    coordinator: Arc<Coordinator>,
    handshakes: Arc<HandshakeStats>,
    place: Place,
    metrics: Arc<Newest>,
    targets: Arc<Newest>,
}

/// A text of one moment, for all who ask within [`FRESH`]: to look it up costs more than to ask.
#[derive(Default)]
struct Newest(Mutex<Option<Rendered>>);

struct Rendered {
    at: Instant,
    text: Arc<str>,
}

impl Http {
    /// Begins to listen.
    pub(crate) async fn bind(
        address: SocketAddr,
        coordinator: Arc<Coordinator>,
        handshakes: Arc<HandshakeStats>,
        place: Place,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let metrics = coordinator.metrics.clone();
        let router = Router::new()
            .route("/metrics", get(render))
            .route("/v1/sd", get(discover))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .with_state(Parts {
                coordinator,
                handshakes,
                place,
                metrics: Arc::default(),
                targets: Arc::default(),
            });
        Ok(Self { listener, router, metrics })
    }

    /// The address at which it listens.
    pub(crate) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `cancel`.
    pub(crate) async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        let door = Arc::new(Door::new(self.router, self.metrics));
        let mut serving = JoinSet::new();
        loop {
            while serving.try_join_next().is_some() {}
            let accepted = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, remote)) => {
                    let source = Source::of(remote.ip());
                    if !door.may(&door.opened, source) {
                        continue;
                    }
                    let cut = CancellationToken::new();
                    let seat = door.seats.enter(source, cut.clone());
                    serving.spawn(door.clone().serve(tcp, source, seat, cut));
                    yield_now().await;
                }
                Err(_) => sleep(PAUSE).await, // no descriptors: the acceptor says so as well
            }
        }
    }
}

/// The state that connections share.
struct Door {
    router: Router,
    metrics: Metrics,
    seats: Seats,
    opened: Mutex<Quotas<Source>>,
    asked: Mutex<Quotas<Source>>,
    started: Instant,
}

impl Door {
    fn new(router: Router, metrics: Metrics) -> Self {
        Self {
            router,
            metrics,
            seats: Seats::new(CONNECTIONS, OF_ONE_ADDRESS),
            opened: Mutex::new(Quotas::new(OPENED, ADDRESSES)),
            asked: Mutex::new(Quotas::new(ASKED, ADDRESSES)),
            started: Instant::now(),
        }
    }

    fn may(&self, quotas: &Mutex<Quotas<Source>>, source: Source) -> bool {
        let now = Timestamp::ZERO + self.started.elapsed();
        let may = quotas.lock().unwrap_or_else(PoisonError::into_inner).take(&source, now).is_ok();
        if !may {
            self.metrics.dropped(Dropped::Http);
        }
        may
    }

    async fn serve(self: Arc<Self>, tcp: TcpStream, source: Source, seat: Seat, cut: CancellationToken) {
        let service = service_fn(|request| {
            seat.greeted();
            let router = self.may(&self.asked, source).then(|| self.router.clone());
            async move {
                match router {
                    Some(router) => router.oneshot(request).await,
                    None => {
                        Ok((StatusCode::TOO_MANY_REQUESTS, [(header::CONNECTION, "close")]).into_response())
                    }
                }
            }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(HEADERS).max_buf_size(BUFFER);
        let connection = http.serve_connection(TokioIo::new(tcp), service);
        tokio::pin!(connection);
        // However it ends, it is over: what went wrong is the other end's, and nobody is waiting for it.
        tokio::select! {
            () = cut.cancelled() => self.metrics.dropped(Dropped::Http),
            _ended = connection.as_mut() => {}
            () = sleep(LIFETIME) => {
                connection.as_mut().graceful_shutdown();
                drop(timeout(LAST, connection).await);
            }
        }
    }
}

/// In OpenMetrics for who asks for it, in the older text format for everybody else.
async fn render(State(parts): State<Parts>, headers: HeaderMap) -> Response {
    let asked = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let open = asked.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let rendered = tokio::task::spawn_blocking(move || {
        let text = parts.text();
        if open { text.to_string() } else { classic(&text) }
    });
    let kind = if open { OPENMETRICS } else { CLASSIC };
    match rendered.await {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be gathered\n").into_response(),
    }
}

/// The instances that Prometheus may scrape.
async fn discover(State(parts): State<Parts>) -> Response {
    let rendered = tokio::task::spawn_blocking(move || {
        parts.targets.get(|| discovery::targets(&parts.coordinator, &parts.place)).to_string()
    });
    match rendered.await {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the instances could not be listed\n").into_response(),
    }
}

impl Newest {
    /// The text of now, or of a moment ago. All who ask at the same time wait for the same.
    fn get(&self, look: impl FnOnce() -> String) -> Arc<str> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rendered) = newest.as_ref().filter(|rendered| rendered.at.elapsed() < FRESH) {
            return rendered.text.clone();
        }
        let text: Arc<str> = look().into();
        *newest = Some(Rendered { at: Instant::now(), text: text.clone() });
        text
    }
}

impl Parts {
    fn text(&self) -> Arc<str> {
        self.metrics.get(|| {
            let (coordinator, metrics) = (&self.coordinator, &self.coordinator.metrics);
            metrics.audit_entries.set(coordinator.ledger.read(|state| state.head.size));
            metrics.streams.set(i64::try_from(coordinator.registry.connected()).unwrap_or(i64::MAX));
            let scrape = gather(coordinator, &self.place, self.handshakes.snapshot());
            metrics.render(scrape.text())
        })
    }
}

/// Ready to decide: the store takes writes.
async fn ready(State(parts): State<Parts>) -> impl IntoResponse {
    match parts.coordinator.ledger.write(|_| ()).await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}
