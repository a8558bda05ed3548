//! The side of the clients: accepting connections and serving them until they end or the process drains.

mod http;
mod prefix;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::ingress::Ingress;
use crate::proxy::Client;

/// Pause after an `accept` that failed, for example because no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

impl Ingress {
    /// Serves plain HTTP on a listener until `stop`; connections that stand go on. HTTP/2 is recognised by its preface.
    pub async fn serve_plain(&self, listener: TcpListener, stop: CancellationToken) {
        loop {
            let Ok(place) = Arc::clone(&self.0.places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let shared = Arc::clone(&self.0);
            self.0.tracker.spawn(async move {
                let client = Client { address, tls: false };
                http::detect_and_serve(shared, client, stream).await;
                drop(place);
            });
        }
    }
}
