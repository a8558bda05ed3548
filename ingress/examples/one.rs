//! An ingress before one endpoint, without a fleet: for benchmarks of its data path, see `tests/bench/ingress.sh`.
//!
//! ```sh
//! cargo run --release -p windlass-ingress --example one -- 127.0.0.1:8080 127.0.0.1:9000    # answers to the name `web.example`
//! ```
#![expect(clippy::print_stderr, reason = "the example of a program")]

use std::error::Error;
use std::net::SocketAddr;

use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use windlass_core::traffic::Routes;
use windlass_ingress::{Ingress, Limits};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut addresses = std::env::args().skip(1).map(|text| text.parse::<SocketAddr>());
    let (Some(listen), Some(endpoint)) = (addresses.next().transpose()?, addresses.next().transpose()?)
    else {
        return Err("wants two addresses: where to listen, and the endpoint".into());
    };
    let ingress = Ingress::new(Limits::default(), 1);
    ingress.take(table(endpoint)?)?;
    let cancel = CancellationToken::new();
    let (keeping, probing) = (ingress.clone(), ingress.clone());
    let listener = TcpListener::bind(listen).await?;
    eprintln!("{listen} leads to {endpoint} for the name `web.example`");
    tokio::select! {
        () = ingress.serve_plain(listener, cancel.clone()) => {}
        () = keeping.keep_house(cancel.clone()) => {}
        () = probing.probe(cancel.clone()) => {}
    }
    Ok(())
}

/// All requests for `web.example` go to one endpoint.
fn table(endpoint: SocketAddr) -> Result<Routes, serde_json::Error> {
    let release = format!("sha256:{}", "1".repeat(64));
    serde_json::from_value(json!({
        "version": 1, "fleet": "bench", "environment": "production", "epoch": 1, "seq": 1,
        "issued_at": "2026-01-01T00:00:00Z",
        "names": [{ "host": "web.example", "path": "/", "service": "web", "port": "http" }],
        "services": [{
            "service": "web",
            "ports": { "http": { "container": 80, "protocol": "http" } },
            "releases": [{ "release": release, "counter": "r1" }],
            "salt": "bench",
            "endpoints": [{
                "host": "h1", "address": endpoint.ip(), "port": "http", "number": endpoint.port(), "side": "a",
                "release": release
            }],
            "drain": "30s"
        }]
    }))
}
