//! Connections that stop being HTTP: WebSocket and other upgrades. A tunnel begins at the endpoint's 101, not before.

mod activity;

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::time::timeout;

use crate::exchange::{Answer, Exchange};
use crate::ingress::Shared;
use crate::request::{Refusal, response_headers};
use crate::upstream::{InFlight, Sent};

use activity::{Activity, Watched};

/// Bytes that each direction of a tunnel buffers.
const BUFFER: usize = 16 * 1024;
/// Until both sides have given up HTTP after the 101.
const SWITCH: Duration = Duration::from_secs(10);

/// The protocol that a request wants to switch to.
///
/// # Errors
/// The request has a body, or wants HTTP/2 without TLS: both are how requests are smuggled through a proxy.
pub(crate) fn wanted<B>(request: &Request<B>) -> Result<Option<HeaderValue>, Refusal> {
    let headers = request.headers();
    let Some(protocol) = headers.get(UPGRADE).filter(|_| request.version() == Version::HTTP_11) else {
        return Ok(None);
    };
    let lines = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    if !lines.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case("upgrade")) {
        return Ok(None);
    }
    let body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    let bad = |why| Err(Refusal(hyper::StatusCode::BAD_REQUEST, why));
    if body {
        return bad("a request with Upgrade has a body");
    }
    if protocol.as_bytes().to_ascii_lowercase().starts_with(b"h2c") {
        return bad("Upgrade to h2c is not served here");
    }
    Ok(Some(protocol.clone()))
}

/// Answers with the endpoint's 101, and copies bytes in both directions from then on.
pub(crate) fn open(
    shared: &Arc<Shared>,
    client: OnUpgrade,
    sent: Sent,
    mut exchange: Exchange,
) -> Response<Answer> {
    let Sent { mut response, connection } = sent;
    let protocol = response.headers().get(UPGRADE).cloned();
    let endpoint = hyper::upgrade::on(&mut response);
    response_headers(response.headers_mut());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        response.headers_mut().insert(UPGRADE, protocol);
    }
    exchange.answered(response.status().as_u16(), response.headers());
    exchange.finish(None);
    let place = exchange.tunnel();
    let counters = Arc::clone(exchange.counters());
    drop(exchange);
    let tracked = Arc::clone(shared);
    shared.tracker.spawn(async move {
        counters.tunnel(1);
        run(&tracked, client, endpoint, place).await;
        counters.tunnel(-1);
        drop(connection); // its place among the endpoint's connections
    });
    response.map(|_| Answer::text(bytes::Bytes::new()))
}

async fn run(shared: &Shared, client: OnUpgrade, endpoint: OnUpgrade, place: Option<InFlight>) {
    let both = timeout(SWITCH, async { tokio::try_join!(client, endpoint) }).await;
    let Ok(Ok((client, endpoint))) = both else { return };
    let activity = Arc::new(Activity::default());
    let mut client = Watched::new(TokioIo::new(client), Arc::clone(&activity));
    let mut endpoint = Watched::new(TokioIo::new(endpoint), Arc::clone(&activity));
    let cut = async {
        match &place {
            Some(place) => place.endpoint().cut.cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = copy_bidirectional_with_sizes(&mut client, &mut endpoint, BUFFER, BUFFER) => {}
        () = activity.idle_for(shared.limits.tunnel_idle) => {}
        () = cut => {}
        () = shared.drain.cut_tunnels.cancelled() => {}
    }
}
