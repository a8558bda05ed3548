//! What is read without a certificate, on a listener of its own: metrics and health. It tells nothing that
//! names a service, and changes nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use windlass_certs::tls::HandshakeStats;

use crate::coordinator::Coordinator;

/// The HTTP side.
pub(crate) struct Http {
    listener: TcpListener,
    router: Router,
}

#[derive(Clone)]
struct Parts {
    coordinator: Arc<Coordinator>,
    handshakes: Arc<HandshakeStats>,
}

impl Http {
    /// Begins to listen.
    pub(crate) async fn bind(
        address: SocketAddr,
        coordinator: Arc<Coordinator>,
        handshakes: Arc<HandshakeStats>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .with_state(Parts { coordinator, handshakes });
        Ok(Self { listener, router })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `cancel`.
    pub(crate) async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        let serving = axum::serve(self.listener, self.router);
        tokio::select! {
            () = cancel.cancelled() => Ok(()),
            served = serving => Ok(served?),
        }
    }
}

async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    let metrics = &parts.coordinator.metrics;
    metrics.handshakes(parts.handshakes.snapshot());
    metrics.audit_entries.set(parts.coordinator.ledger.read(|state| state.head.size));
    metrics.streams.set(i64::try_from(parts.coordinator.registry.connected()).unwrap_or(i64::MAX));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.render())
}

/// Ready to decide: the store takes writes.
async fn ready(State(parts): State<Parts>) -> impl IntoResponse {
    match parts.coordinator.ledger.write(|_| ()).await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}
