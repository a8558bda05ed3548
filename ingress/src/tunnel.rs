//! Connections that stop being HTTP: WebSocket and other upgrades. A tunnel begins at the endpoint's 101, not before.

mod activity;
mod frames;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Method, Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::exchange::{Answer, Exchange};
use crate::ingress::Shared;
use crate::request::{Refusal, response_headers};
use crate::upstream::{InFlight, Sent};

use activity::{Activity, Watched};
use frames::{Frames, RESTARTS};

/// Bytes that each direction of a tunnel buffers.
const BUFFER: usize = 16 * 1024;
/// Until both sides have given up HTTP after the 101.
const SWITCH: Duration = Duration::from_secs(10);
/// Until the client of a WebSocket that was cut has answered.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The protocols that a client would switch to.
#[derive(Debug)]
pub(crate) struct Wanted(HeaderValue);

impl Wanted {
    /// The header that asks an endpoint for them.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Whether an endpoint's 101 names some of them, and nothing else.
    pub(crate) fn is_met_by(&self, headers: &HeaderMap) -> bool {
        let mut named = listed(headers, &UPGRADE).peekable();
        let asked = |name: &str| names(&self.0).any(|asked| asked.eq_ignore_ascii_case(name));
        named.peek().is_some() && named.all(asked)
    }
}

/// The names that a header lists in all its lines.
fn listed<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().flat_map(names)
}

fn names(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Whether the client may take what follows this request for something other than HTTP.
pub(crate) fn asks<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let upgrade = headers.contains_key(UPGRADE)
        && listed(headers, &CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
    request.method() == Method::CONNECT || (upgrade && request.version() == Version::HTTP_11)
}

/// The protocols that a request wants to switch to.
///
/// # Errors
/// The request has a body, or wants HTTP/2 without TLS: both are how requests are smuggled through a proxy.
pub(crate) fn wanted<B>(request: &Request<B>) -> Result<Option<Wanted>, Refusal> {
    if !asks(request) {
        return Ok(None);
    }
    let headers = request.headers();
    let body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    let bad = |why| Err(Refusal(hyper::StatusCode::BAD_REQUEST, why));
    if body {
        return bad("a request with Upgrade has a body");
    }
    if headers.get_all(UPGRADE).iter().any(|value| value.to_str().is_err()) {
        return bad("Upgrade is no list of protocols");
    }
    let protocols: Vec<&str> = listed(headers, &UPGRADE).collect();
    if protocols.iter().any(|name| name.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("h2c"))) {
        return bad("Upgrade to h2c is not served here");
    }
    match HeaderValue::from_str(&protocols.join(", ")) {
        Ok(header) if !protocols.is_empty() => Ok(Some(Wanted(header))),
        _ => bad("Upgrade names no protocol"),
    }
}

/// Answers with the endpoint's 101, and copies bytes in both directions from then on. The tunnel keeps the client's place and
/// that at the endpoint.
pub(crate) fn open(
    shared: &Arc<Shared>,
    client: OnUpgrade,
    place: Arc<OwnedSemaphorePermit>,
    sent: Sent,
    mut exchange: Exchange,
) -> Response<Answer> {
    let Sent { mut response, line } = sent;
    let protocols: Vec<&str> = listed(response.headers(), &UPGRADE).collect();
    let websocket = protocols.iter().any(|name| name.eq_ignore_ascii_case("websocket"));
    let protocol = HeaderValue::from_str(&protocols.join(", "));
    let endpoint = hyper::upgrade::on(&mut response);
    response_headers(response.headers_mut());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(protocol) = protocol {
        response.headers_mut().insert(UPGRADE, protocol);
    }
    exchange.answered(response.status().as_u16(), response.headers());
    exchange.finish(None);
    let tunnel = exchange.tunnel();
    let counters = Arc::clone(exchange.counters());
    drop(exchange);
    let tracked = Arc::clone(shared);
    shared.tracker.spawn(async move {
        counters.tunnel(1);
        run(&tracked, client, endpoint, tunnel, websocket).await;
        counters.tunnel(-1);
        drop((line, place));
    });
    response.map(|_| Answer::text(bytes::Bytes::new()))
}

async fn run(
    shared: &Shared,
    client: OnUpgrade,
    endpoint: OnUpgrade,
    place: Option<InFlight>,
    websocket: bool,
) {
    let both = timeout(SWITCH, async { tokio::try_join!(client, endpoint) }).await;
    let Ok(Ok((client, endpoint))) = both else { return };
    let activity = Arc::new(Activity::default());
    let frames = websocket.then(Frames::default);
    let mut client = Watched::new(TokioIo::new(client), Arc::clone(&activity), frames);
    let mut endpoint = Watched::new(TokioIo::new(endpoint), Arc::clone(&activity), None);
    let cut = async {
        match &place {
            Some(place) => place.endpoint().until_cut().cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = copy_bidirectional_with_sizes(&mut client, &mut endpoint, BUFFER, BUFFER) => return,
        () = activity.idle_for(shared.limits.tunnel_idle) => return,
        () = cut => {}
        () = shared.drain.cut_tunnels.reached() => {}
    }
    drop((endpoint, place));
    if client.frames().is_some_and(Frames::is_at_border) {
        drop(timeout(LAST_WORD, say_restarts(&mut client)).await);
    }
}

/// Tells the client of a WebSocket to connect again, and waits until it ends the connection: one that is closed over bytes which
/// nobody has read is reset, and what was said with it.
async fn say_restarts(client: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    client.write_all(&RESTARTS).await?;
    client.shutdown().await?;
    tokio::io::copy(client, &mut tokio::io::sink()).await.map(drop)
}
