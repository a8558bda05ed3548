//! A listener that answers `GET /metrics` with text for Prometheus. Readers are few, and each has a deadline.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Readers at once.
const MOST: usize = 8;
/// The longest time of a reader for one connection.
const READ: Duration = Duration::from_secs(30);
/// After a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// Writes the text of now.
pub(crate) type Text = Arc<dyn Fn() -> String + Send + Sync>;

/// Answers readers until `stop`.
pub(crate) async fn serve(text: Text, listener: TcpListener, stop: CancellationToken) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept(), if open.len() < MOST => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let text = Arc::clone(&text);
                open.spawn(async move { drop(timeout(READ, connection(stream, text)).await) });
            }
            Err(error) => {
                tracing::debug!(%error, "a reader of metrics could not connect");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, text: Text) {
    let answer = service_fn(move |request| {
        let text = Arc::clone(&text);
        async move { Ok::<_, Infallible>(answer(&request, &text)) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a reader of metrics left");
    }
}

fn answer(request: &Request<Incoming>, text: &Text) -> Response<Full<Bytes>> {
    let found = request.uri().path() == "/metrics" && request.method() == Method::GET;
    let mut response = Response::new(Full::from(if found { text() } else { "GET /metrics\n".to_owned() }));
    if !found {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
