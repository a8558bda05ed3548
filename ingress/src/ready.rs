//! The health check of a load balancer before the ingress.

use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode};

use crate::answers::says;
use crate::exchange::Answer;
use crate::ingress::Shared;

/// The path that is answered for every host name, and without one: 200 while the ingress takes requests, else 503.
pub const READY: &str = "/.well-known/windlass/ready";

/// Whether a request is a health check. One with a body is none: where that ends is checked with all other requests.
pub(crate) fn asks<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.uri().path() == READY
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING)
}

/// The answer to it.
pub(crate) fn answer(shared: &Shared) -> Response<Answer> {
    let (status, what) = if shared.drain.leaves.has_come() {
        (StatusCode::SERVICE_UNAVAILABLE, "this ingress ends")
    } else if shared.table.load().is_empty() {
        (StatusCode::SERVICE_UNAVAILABLE, "no traffic table yet")
    } else {
        (StatusCode::OK, "ready")
    };
    let mut response = says(status, what);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
