//! The answer to the health check of a load balancer before the ingress.

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::exchange::Answer;
use crate::ingress::Shared;

/// The path that is answered for every host name, and without one: 200 while the ingress takes requests, else 503.
pub const READY: &str = "/.well-known/windlass/ready";

/// The answer, if the request asks for it.
pub(crate) fn answer(shared: &Shared, request: &Request<Incoming>) -> Option<Response<Answer>> {
    let asks = request.uri().path() == READY && matches!(*request.method(), Method::GET | Method::HEAD);
    if !asks {
        return None;
    }
    let (status, text) = if shared.drain.leaves.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "503: this ingress ends\n")
    } else if shared.table.load().is_empty() {
        (StatusCode::SERVICE_UNAVAILABLE, "503: no traffic table yet\n")
    } else {
        (StatusCode::OK, "200: ready\n")
    };
    let mut response = Response::new(Answer::text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if shared.drain.begun.is_cancelled() && request.version() < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Some(response)
}
