//! One request: checked, routed, sent to an endpoint, answered.

mod attempts;
mod route;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SET_COOKIE, UPGRADE};
use hyper::{HeaderMap, Request, Response, StatusCode, Version};

use crate::exchange::{Answer, Download, Exchange, Upload};
use crate::ingress::Shared;
use crate::request::{Forwarded, Refusal, authority, join_cookies, request_headers, response_headers};
use crate::tunnel;
use crate::upstream::Sent;

use attempts::{Failure, attempt};
use route::{Routed, route};

/// The client of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
}

/// Answers a request. An error here would close the connection without a word, so there is none.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    client: Client,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let http1 = request.version() < Version::HTTP_2;
    let mut response = answer(&shared, client, request).await.unwrap_or_else(refuse);
    if http1 && shared.drain.begun.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn answer(
    shared: &Arc<Shared>,
    client: Client,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Refusal> {
    let began = Instant::now();
    let host = authority(&request)?;
    let upgrade = tunnel::wanted(&request)?;
    let on_upgrade = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    shared.budget.request();
    let Routed { target, release, cookie, counters } = route(shared, &host, &head, began).await?;
    let mut exchange = Exchange::begin(counters, target.is_grpc(), began);
    let http2 = target.is_http2();
    let from = Forwarded { client: client.address.ip(), tls: client.tls, host: &host, id: shared.random() };
    request_headers(&mut head.headers, &from, http2);
    if let Some(protocol) = &upgrade {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol.clone());
    }
    if !http2 {
        join_cookies(&mut head.headers);
    }
    let mut sent = match attempt(shared, &target, release, &head, Upload::new(body), &mut exchange).await {
        Ok(sent) => sent,
        Err(failure) => return Ok(own_answer(exchange, failure)),
    };
    if sent.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(match on_upgrade {
            Some(client) => tunnel::open(shared, client, sent, exchange),
            None => own_answer(exchange, Failure::Broken),
        });
    }
    response_headers(sent.response.headers_mut());
    if upgrade.is_some() {
        // Bytes that the client took for its tunnel may follow: they are no request.
        sent.response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(cookie) = cookie {
        sent.response.headers_mut().append(SET_COOKIE, bucket_cookie(cookie, client.tls));
    }
    Ok(pass_on(shared, sent, exchange))
}

/// Passes a response on as it comes.
fn pass_on(shared: &Shared, sent: Sent, mut exchange: Exchange) -> Response<Answer> {
    let Sent { response, connection } = sent;
    exchange.answered(response.status().as_u16(), response.headers());
    response.map(|body| Answer::stream(Download::new(body, exchange, connection, shared.limits.body_idle)))
}

/// A response of the ingress itself, which is counted for the release that was chosen.
fn own_answer(exchange: Exchange, failure: Failure) -> Response<Answer> {
    let Refusal(status, why) = failure.refusal();
    exchange.answered_ourselves(status.as_u16());
    refuse(Refusal(status, why))
}

fn refuse(refusal: Refusal) -> Response<Answer> {
    let Refusal(status, why) = refusal;
    let mut response = Response::new(Answer::text(format!("{}: {why}\n", status.as_u16())));
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == StatusCode::BAD_REQUEST {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn bucket_cookie(bucket: u16, tls: bool) -> HeaderValue {
    let secure = if tls { "; Secure" } else { "" };
    let text = format!("wl-b={bucket:04x}; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
