//! One request: checked, routed, sent to an endpoint, answered.

mod attempts;
mod route;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, EXPECT, HeaderValue, SET_COOKIE, UPGRADE};
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use tokio::sync::OwnedSemaphorePermit;

use crate::access::Entry;
use crate::alarm::Alarm;
use crate::answers::{redirect, refuse};
use crate::certificates::Names;
use crate::counters::Ended;
use crate::exchange::{Answer, Download, Exchange, Kind, Upload};
use crate::ingress::Shared;
use crate::inner::Door;
use crate::linger::Unread;
use crate::origin::Origin;
use crate::ready;
use crate::request::{Forwarded, Refusal, authority, join_cookies, request_headers, response_headers};
use crate::tunnel;
use crate::upstream::Sent;

use attempts::{Failure, attempt};
use route::{Wanted, route};

/// The client of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    /// Its IP address as text.
    peer: HeaderValue,
    /// Whether a balancer that announces its clients announced none: the address is its own then, and it wrote no header.
    pub(crate) is_unnamed: bool,
    pub(crate) transport: Transport,
    /// Its place among the connections of clients; a tunnel keeps it.
    pub(crate) place: Arc<OwnedSemaphorePermit>,
    /// The rest of its newest HTTP/1 request.
    pub(crate) unread: Unread,
    /// The timer of the task that serves it.
    pub(crate) alarm: Alarm,
}

/// The transport of a connection.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    Plain,
    /// Plain, and every request is told to come back over HTTPS at this port.
    Redirect {
        port: u16,
    },
    /// Plain, at the gateway of an inner network.
    Inner(Door),
    /// TLS, with a certificate of these names; `None` with the default one, over which every host may be asked for.
    Tls(Option<Arc<Names>>),
}

impl Client {
    /// The client of a new connection.
    pub(crate) fn new(
        address: SocketAddr,
        is_unnamed: bool,
        transport: Transport,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Self {
        let peer = HeaderValue::try_from(address.ip().to_string());
        let peer = peer.unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let (unread, alarm) = (Unread::default(), Alarm::default());
        Self { address, peer, is_unnamed, transport, place, unread, alarm }
    }

    /// The same for one of several requests, each of which has a task.
    pub(crate) fn in_stream(&self) -> Self {
        Self { alarm: Alarm::default(), ..self.clone() }
    }

    const fn is_tls(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }

    /// The gateway of an inner network at which it came in.
    const fn door(&self) -> Option<Door> {
        match self.transport {
            Transport::Inner(door) => Some(door),
            Transport::Plain | Transport::Redirect { .. } | Transport::Tls(_) => None,
        }
    }
}

/// Answers a request. An error here would close the connection without a word, so there is none.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    client: Client,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let is_inner = client.door().is_some();
    let (peer, tls) = (client.address.ip(), client.is_tls());
    let origin = if is_inner || client.is_unnamed {
        Origin::direct(peer, tls)
    } else {
        Origin::of(&shared.proxies, peer, tls, request.headers())
    };
    let http1 = request.version() < Version::HTTP_2;
    let switches = tunnel::asks(&request);
    let waits = waits_for_word(request.version(), request.headers());
    let unread = client.unread.clone();
    let request = request.map(|body| Upload::new(body, unread.clone(), shared.limits.linger_idle));
    let upload = request.body().clone();
    if http1 {
        unread.begin(!upload.is_empty());
    }
    let mut response = if !is_inner && ready::asks(&request) {
        ready::answer(&shared)
    } else {
        let log = shared.access.as_ref();
        let mut record = log.map(|log| log.begin(&request, origin.client, origin.tls));
        let answer = answer(&shared, client, origin, request, &mut record).await.unwrap_or_else(refuse);
        if let Some(record) = record {
            // No exchange took it along: the answer is our own, and all of it.
            record.end(answer.status().as_u16(), Ended::Whole);
        }
        answer
    };
    // After what the client took for its tunnel, or after half a request, no request can be told from other bytes; and the rest of
    // one that was answered early may be dropped with the connection.
    let half = [StatusCode::BAD_REQUEST, StatusCode::REQUEST_TIMEOUT, StatusCode::NOT_IMPLEMENTED];
    let lost = switches || half.contains(&response.status());
    if http1 && !lost && !waits && unread.is_left() && response.body().is_text() {
        upload.read_up().await;
    }
    let close = lost || unread.is_left() || shared.drain.begun.has_come();
    if http1 && close && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// The host that a request is for.
///
/// # Errors
/// It is refused as it is, whatever the tables say.
fn check(shared: &Shared, client: &Client, request: &Request<Upload>) -> Result<String, Refusal> {
    let host = authority(request, shared.limits.headers)?;
    match &client.transport {
        Transport::Tls(Some(names)) if !names.cover(&host) => Err(Refusal(
            StatusCode::MISDIRECTED_REQUEST,
            "the certificate of this connection is for other names",
        )),
        Transport::Plain | Transport::Redirect { .. } | Transport::Inner(_) | Transport::Tls(_) => Ok(host),
    }
}

async fn answer(
    shared: &Arc<Shared>,
    client: Client,
    origin: Origin,
    mut request: Request<Upload>,
    record: &mut Option<Entry>,
) -> Result<Response<Answer>, Refusal> {
    let began = Instant::now();
    let is_bad = |_: &Refusal| {
        shared.bad_requests.fetch_add(1, Relaxed);
    };
    let host = check(shared, &client, &request).inspect_err(is_bad)?;
    if let Transport::Redirect { port } = client.transport
        && !origin.tls
    {
        // A proxy that was asked over HTTPS would be sent round in circles.
        return Ok(redirect(&host, port, request.uri()));
    }
    let upgrade = tunnel::wanted(&request).inspect_err(is_bad)?;
    let on_upgrade = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut head, upload) = request.into_parts();
    shared.budget.request();
    let wanted = Wanted::new(shared, client.door(), &host, &head, began);
    let routed = route(shared, &wanted, &head).await?;
    if let Some(record) = record {
        record.of(&routed.target.id);
    }
    let (http2, cookie) = (routed.target.is_http2(), routed.cookie);
    let from = Forwarded { origin, peer: &client.peer, host: &host, id: shared.random() };
    request_headers(&mut head.headers, &from, http2);
    if let Some(record) = record {
        record.named(&head.headers);
    }
    let kind = Kind { grpc: routed.target.is_grpc(), stream: head.version >= Version::HTTP_2 };
    let mut exchange = Exchange::begin(Arc::clone(&routed.counters), kind, began, record.take());
    if let Some(protocol) = &upgrade {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol.header());
    }
    if !http2 {
        join_cookies(&mut head.headers);
    }
    if waits_for_word(head.version, &head.headers) {
        if http2 {
            // Endpoints over HTTP/2 are not heard on it; the client is told once one has the request.
            head.headers.remove(EXPECT);
        } else {
            upload.hold();
        }
    }
    let mut sent = match attempt(shared, &wanted, routed, &head, &upload, &mut exchange, &client.alarm).await
    {
        Ok(sent) => sent,
        Err(Failure::BrokenOff) => return Err(Failure::BrokenOff.refusal()), // counted as a client that left
        Err(failure) => return Ok(own_answer(exchange, failure)),
    };
    if sent.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let asked = upgrade.is_some_and(|asked| asked.is_met_by(sent.response.headers()));
        return Ok(match on_upgrade.filter(|_| asked) {
            Some(upgraded) => tunnel::open(shared, upgraded, client.place, sent, exchange),
            None => own_answer(exchange, Failure::Broken),
        });
    }
    response_headers(sent.response.headers_mut());
    // Every hop speaks its own version (RFC 9110, section 2.5).
    *sent.response.version_mut() = Version::HTTP_11;
    if let Some(cookie) = cookie {
        sent.response.headers_mut().append(SET_COOKIE, bucket_cookie(cookie, origin.tls));
    }
    Ok(pass_on(shared, sent, upload, exchange))
}

/// Whether a client keeps its body back until it is told to send it. One of HTTP/1.0 does not (RFC 9110, section 10.1.1), and one of
/// HTTP/2 is not told.
fn waits_for_word(version: Version, headers: &HeaderMap) -> bool {
    let expects = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    version == Version::HTTP_11 && headers.get(EXPECT).is_some_and(expects)
}

/// Passes a response on as it comes.
fn pass_on(shared: &Shared, sent: Sent, upload: Upload, mut exchange: Exchange) -> Response<Answer> {
    let Sent { response, line } = sent;
    exchange.answered(response.status().as_u16(), response.headers());
    let idle = shared.limits.body_idle;
    response.map(|body| Answer::stream(Download::new(body, exchange, Some(line), upload, idle)))
}

/// A response of the ingress itself, which is counted for the release that was chosen.
fn own_answer(exchange: Exchange, failure: Failure) -> Response<Answer> {
    let Refusal(status, why) = failure.refusal();
    exchange.answered_ourselves(status.as_u16());
    refuse(Refusal(status, why))
}

fn bucket_cookie(bucket: u16, tls: bool) -> HeaderValue {
    let secure = if tls { "; Secure" } else { "" };
    let text = format!("wl-b={bucket:04x}; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
