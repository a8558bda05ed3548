//! An ingress before one endpoint, without a fleet: for benchmarks of its data path, see `tests/bench/ingress.sh`.
//!
//! ```sh
//! cargo run --release -p windlass-ingress --example one -- 127.0.0.1:8080 127.0.0.1:9000    # answers to the name `web.example`
//! cargo run --release -p windlass-ingress --example one -- 127.0.0.1:8080 127.0.0.1:9000 127.0.0.1:8443 certs/    # by HTTPS too
//! ```
#![expect(clippy::print_stderr, reason = "the example of a program")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use windlass_core::traffic::Routes;
use windlass_ingress::{Certificates, Ingress, Limits};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (listen, endpoint, https) = match arguments.as_slice() {
        [listen, endpoint] => (listen, endpoint, None),
        [listen, endpoint, https, folder] => (listen, endpoint, Some((https, folder))),
        _ => return Err("wants two addresses: where to listen, and the endpoint; and for HTTPS an address and a folder of certificates".into()),
    };
    let (listen, endpoint): (SocketAddr, SocketAddr) = (listen.parse()?, endpoint.parse()?);
    let ingress = Ingress::new(Limits::default(), 1);
    ingress.take(table(endpoint)?)?;
    let cancel = CancellationToken::new();
    let (keeping, probing) = (ingress.clone(), ingress.clone());
    let listener = TcpListener::bind(listen).await?;
    let https = match https {
        Some((address, folder)) => {
            Some((TcpListener::bind(address).await?, Certificates::open(Path::new(folder))?))
        }
        None => None,
    };
    let secure = async {
        match https {
            Some((listener, certificates)) => ingress.serve_tls(listener, certificates, cancel.clone()).await,
            None => std::future::pending().await,
        }
    };
    eprintln!("{listen} leads to {endpoint} for the name `web.example`");
    tokio::select! {
        () = ingress.serve_plain(listener, cancel.clone()) => {}
        ended = secure => ended?,
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
