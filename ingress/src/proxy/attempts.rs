//! The tries of one request: each on another endpoint, and only where it cannot be carried out twice.

use std::sync::Arc;
use std::time::Instant;

use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::http::uri::{PathAndQuery, Scheme, Uri};
use hyper::{Method, Request, StatusCode, Version};

use crate::exchange::{Exchange, Upload};
use crate::ingress::Shared;
use crate::request::Refusal;
use crate::table::Target;
use crate::upstream::{InFlight, SendFailure, Sent, Unsent, pick, send};

use super::route::Chosen;

/// Further tries after the first.
const MORE: usize = 2;

/// Why no endpoint answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    NoEndpoint,
    Full,
    Unreachable,
    Closed,
    Late,
    Broken,
}

impl Failure {
    pub(super) const fn refusal(self) -> Refusal {
        match self {
            Self::NoEndpoint => Refusal(StatusCode::SERVICE_UNAVAILABLE, "no instance takes requests"),
            Self::Full => Refusal(StatusCode::SERVICE_UNAVAILABLE, "every instance is busy"),
            Self::Unreachable => Refusal(StatusCode::BAD_GATEWAY, "no instance could be reached"),
            Self::Closed => Refusal(StatusCode::BAD_GATEWAY, "the instance closed the connection"),
            Self::Late => Refusal(StatusCode::GATEWAY_TIMEOUT, "the instance did not answer in time"),
            Self::Broken => Refusal(StatusCode::BAD_GATEWAY, "the instance's answer cannot be understood"),
        }
    }
}

/// Sends a request to endpoints of the choice until one answers or no further try is allowed.
pub(super) async fn attempt(
    shared: &Arc<Shared>,
    target: &Target,
    chosen: Chosen,
    head: &Parts,
    body: Upload,
    exchange: &mut Exchange,
) -> Result<Sent, Failure> {
    let endpoints = target.endpoints(chosen);
    let mut tried = Vec::new();
    let mut last = Failure::NoEndpoint;
    loop {
        let now = Instant::now();
        let picked = pick(endpoints, &tried, target.slow_start, shared.random(), &shared.limits, now);
        let Some(endpoint) = picked else { return Err(last) };
        exchange.at(InFlight::request(Arc::clone(&endpoint)), target.counters(chosen, &endpoint));
        let failure = match send(shared, &endpoint, outgoing(head, body.clone(), target.is_http2())).await {
            Ok(sent) => return Ok(sent),
            Err(failure) => failure,
        };
        let again = match &failure {
            SendFailure::Unsent(why) => {
                if *why == Unsent::Connect {
                    exchange.counters().connect_failed();
                    endpoint.unreachable(&shared.limits, now);
                }
                true
            }
            SendFailure::Refused => body.is_untouched(),
            SendFailure::Closed => {
                endpoint.failed(&shared.limits, now);
                body.is_empty() && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS)
            }
            SendFailure::Late | SendFailure::Broken => false,
        };
        last = match failure {
            SendFailure::Unsent(Unsent::Full) => Failure::Full,
            SendFailure::Unsent(Unsent::Connect | Unsent::Stale) => Failure::Unreachable,
            SendFailure::Refused | SendFailure::Closed => Failure::Closed,
            SendFailure::Late => Failure::Late,
            SendFailure::Broken => Failure::Broken,
        };
        tried.push(endpoint);
        if !again || tried.len() > MORE || !shared.budget.take() {
            return Err(last);
        }
        exchange.counters().retried();
    }
}

/// The request as an endpoint gets it.
fn outgoing(head: &Parts, body: Upload, http2: bool) -> Request<Upload> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.headers_mut() = head.headers.clone();
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let authority = head.uri.authority().cloned();
    let host = head.headers.get(HOST);
    let mut uri = hyper::http::uri::Parts::default();
    uri.path_and_query = Some(path);
    if http2 {
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = authority.or_else(|| host.and_then(|host| host.to_str().ok()?.parse().ok()));
        request.headers_mut().remove(HOST);
        *request.version_mut() = Version::HTTP_2;
    } else {
        if host.is_none()
            && let Some(host) = authority.and_then(|authority| authority.as_str().parse().ok())
        {
            request.headers_mut().insert(HOST, host);
        }
        *request.version_mut() = Version::HTTP_11;
    }
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    request
}
