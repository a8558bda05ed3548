//! The tries of one request: each on another endpoint, and only where it cannot be carried out twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::http::uri::{PathAndQuery, Scheme, Uri};
use hyper::{Method, Request, StatusCode, Version};
use tokio::time::timeout;

use crate::alarm::Alarm;
use crate::exchange::{Exchange, Outgoing, Upload};
use crate::ingress::Shared;
use crate::request::Refusal;
use crate::upstream::{Endpoint, InFlight, Patience, SendFailure, Sending, Sent, Unsent, pick, send};

use super::route::{Routed, Waiting, Wanted};

/// Further tries after the first.
const MORE: usize = 2;
/// The number of times that a changed table may have a request choose anew.
const TURNS: usize = 8;

/// The reason for which no endpoint answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    NoEndpoint,
    Full,
    Unreachable,
    Closed,
    Late,
    Broken,
    /// The client's body did not come.
    Stalled,
    /// The client broke its body off, and hears of nothing any more.
    BrokenOff,
}

impl Failure {
    pub(super) const fn refusal(self) -> Refusal {
        match self {
            Self::NoEndpoint => Refusal(StatusCode::SERVICE_UNAVAILABLE, "no instance takes requests"),
            Self::Full => Refusal(StatusCode::SERVICE_UNAVAILABLE, "every instance is busy"),
            Self::Unreachable => Refusal(StatusCode::BAD_GATEWAY, "no instance could be reached"),
            Self::Closed => Refusal(StatusCode::BAD_GATEWAY, "the instance closed the connection"),
            Self::Late => Refusal(StatusCode::GATEWAY_TIMEOUT, "the instance did not answer in time"),
            Self::Stalled => Refusal(StatusCode::REQUEST_TIMEOUT, "nothing more of the request came"),
            Self::BrokenOff => Refusal(StatusCode::BAD_REQUEST, "the request broke off"),
            Self::Broken => Refusal(StatusCode::BAD_GATEWAY, "the instance's answer cannot be understood"),
        }
    }
}

/// Sends a request to endpoints of the choice until one answers or no further try is allowed.
pub(super) async fn attempt(
    shared: &Arc<Shared>,
    wanted: &Wanted<'_>,
    mut routed: Routed,
    head: &Parts,
    body: &Upload,
    exchange: &mut Exchange,
    alarm: &Alarm,
) -> Result<Sent, Failure> {
    let (mut tried, mut failed) = (Vec::new(), Vec::new());
    let (mut last, mut turns) = (Failure::NoEndpoint, 0);
    let mut waiting: Option<Waiting> = None;
    // Endpoints of the other releases, once it is clear that nothing of its own release can be reached.
    let mut others: Option<Vec<Arc<Endpoint>>> = None;
    loop {
        let now = Instant::now();
        let target = &routed.target;
        if others.is_none() && target.is_unreachable(routed.release, &shared.limits, now) {
            others = target.others(routed.release);
        }
        let endpoints = others.as_deref().unwrap_or_else(|| target.endpoints(routed.release));
        let among = |endpoints: &[_], tried: &[_]| {
            pick(endpoints, tried, target.slow_start, shared.random(), &shared.limits, now)
        };
        // One that refused may take it on another connection, if there is nobody else; and one of its own release that could not
        // be reached of late may be back.
        let chosen = among(endpoints, &tried).or_else(|| among(endpoints, &failed));
        let Some(endpoint) = chosen.or_else(|| among(target.endpoints(routed.release), &tried)) else {
            // A table that has come since it was routed may have closed them all.
            turns += 1;
            others = None;
            if let Some(again) = wanted.again(shared, head, &routed).filter(|_| turns <= TURNS) {
                routed = again;
            } else if matches!(last, Failure::Unreachable | Failure::NoEndpoint)
                && rest(shared, wanted, &routed, &mut waiting, exchange).await
            {
                (tried, failed, turns) = (Vec::new(), Vec::new(), 0);
                routed = wanted.again(shared, head, &routed).unwrap_or(routed);
            } else {
                return Err(last);
            }
            continue;
        };
        let in_flight = InFlight::request(Arc::clone(&endpoint));
        if endpoint.is_closed() && turns < TURNS {
            turns += 1;
            continue; // since it was picked
        }
        exchange.at(in_flight, target.counters(routed.release, &endpoint));
        let may_repeat =
            body.is_empty() && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let patience = Patience::of(endpoints, &tried, may_repeat && tried.len() < MORE, &shared.limits);
        let mut request = outgoing(head, body.outgoing(), target.is_http2());
        body.listen(&mut request);
        let with = Sending { shared, endpoint: &endpoint, upload: body, patience, alarm };
        let failure = match send(with, request).await {
            Ok(sent) => return Ok(sent),
            Err(failure) => failure,
        };
        let now = Instant::now(); // it may have taken long
        let again = match &failure {
            SendFailure::Unsent(why) => {
                if *why == Unsent::Connect {
                    exchange.counters().connect_failed();
                    endpoint.unreachable(now);
                }
                true
            }
            SendFailure::Refused => body.can_repeat(),
            SendFailure::Closed => {
                endpoint.failed(now);
                may_repeat
            }
            SendFailure::Hangs => true,
            SendFailure::Late => {
                endpoint.late(now);
                false
            }
            SendFailure::Broken => {
                endpoint.failed(now);
                false
            }
            // Not counted against the endpoint: some requests may be answered so, and others well.
            SendFailure::TooLarge | SendFailure::Stalled | SendFailure::BrokenOff => false,
        };
        let refused = matches!(failure, SendFailure::Refused);
        // Another endpoint answers, or it was not sent: a further try adds no load.
        let free =
            matches!(failure, SendFailure::Hangs | SendFailure::Unsent(Unsent::Connect | Unsent::Stale));
        last = match failure {
            SendFailure::Unsent(Unsent::Full) => Failure::Full,
            // The standby was only tried for want of another endpoint: the failure before counts.
            SendFailure::Unsent(Unsent::Connect) if endpoint.stands_by() => last,
            SendFailure::Unsent(Unsent::Connect | Unsent::Stale) => Failure::Unreachable,
            SendFailure::Refused | SendFailure::Closed => Failure::Closed,
            SendFailure::Late | SendFailure::Hangs => Failure::Late,
            SendFailure::Broken | SendFailure::TooLarge => Failure::Broken,
            SendFailure::Stalled => Failure::Stalled,
            SendFailure::BrokenOff => Failure::BrokenOff,
        };
        if !refused {
            failed.push(Arc::clone(&endpoint));
        }
        tried.push(endpoint);
        let may_try_more =
            again && tried.len() <= MORE && (free || waiting.is_some() || shared.budget.take());
        let is_last = !may_try_more || target.endpoints(routed.release).len() <= tried.len();
        if is_last && matches!(last, Failure::Unreachable) && others.is_none() {
            // Nothing was sent: another release takes it rather than nobody. That one has the room, as its weight may rise to all.
            others = target.others(routed.release);
            if others.is_some() {
                exchange.counters().retried();
                continue;
            }
        }
        if !may_try_more {
            if matches!(last, Failure::Unreachable | Failure::NoEndpoint)
                && rest(shared, wanted, &routed, &mut waiting, exchange).await
            {
                (tried, failed, others, turns) = (Vec::new(), Vec::new(), None, 0);
                routed = wanted.again(shared, head, &routed).unwrap_or(routed);
                continue;
            }
            return Err(last);
        }
        exchange.counters().retried();
    }
}

/// Waits a moment before the next try of an unsent request, where its service has `hold`: the instance may be about
/// to answer. Returns false when its time is over, or too many wait.
async fn rest(
    shared: &Shared,
    wanted: &Wanted<'_>,
    routed: &Routed,
    waiting: &mut Option<Waiting>,
    exchange: &mut Exchange,
) -> bool {
    let left = routed.target.hold.map_or(Duration::ZERO, |hold| hold.saturating_sub(wanted.began.elapsed()));
    if left.is_zero() {
        return false;
    }
    if waiting.is_none() {
        *waiting = Waiting::begin(&routed.target.waiting, shared.limits.held);
        if waiting.is_none() {
            return false;
        }
        exchange.counters().held();
    }
    exchange.leave();
    // Another table may lead to another instance.
    let mut changed = shared.changed.subscribe();
    drop(timeout(shared.limits.hold_look.min(left), changed.changed()).await);
    true
}

/// The request as an endpoint gets it.
fn outgoing(head: &Parts, body: Outgoing, http2: bool) -> Request<Outgoing> {
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
