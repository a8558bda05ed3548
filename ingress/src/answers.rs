//! Responses of the ingress itself.

use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Response, StatusCode, Uri};

use crate::exchange::Answer;
use crate::request::Refusal;

/// A refusal in words.
pub(crate) fn refuse(refusal: Refusal) -> Response<Answer> {
    let Refusal(status, why) = refusal;
    let mut response = says(status, why);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A line of text with its status.
pub(crate) fn says(status: StatusCode, what: &str) -> Response<Answer> {
    let mut response = Response::new(Answer::text(format!("{}: {what}\n", status.as_u16())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The same request over HTTPS. 308 keeps method and body (RFC 9110, section 15.4.9).
pub(crate) fn redirect(host: &str, port: u16, uri: &Uri) -> Response<Answer> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let mut response = Response::new(Answer::text("308: over HTTPS\n"));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(to) = HeaderValue::from_str(&format!("https://{host}{port}{path}")) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}
