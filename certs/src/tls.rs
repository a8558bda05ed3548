//! TLS between members of a fleet: version 1.3 only, one crypto provider, no resumption, no early data.
//!
//! Resumption would skip our verifiers, so that a revoked certificate would come in by its ticket; a handshake
//! costs a third of a millisecond.
//!
//! ```text
//! Acceptor ── tcp ── handshake (ServerTls) ── Connection ── Incoming ──▶ tonic serve_with_incoming
//!                        │                        │
//!                 FleetClients verifier    cut when its certificate is revoked or expires
//!
//! connect() ── tcp ── handshake (ClientTls) ── first byte ── tonic Channel (reconnects by itself)
//!                        │
//!                 FleetServers verifier: pinned CA, coordinator role
//! ```

mod accept;
mod admission;
mod client;
mod connect;
mod connection;
mod lookup;
mod options;
mod outcome;
mod pace;
mod seats;
mod server;
mod verifier;
mod wire;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use accept::{Acceptor, BindError, Incoming, listen};
pub use client::ClientTls;
pub use connect::{ConnectError, ConnectOptions, connect};
pub use connection::{ConnectInfo, Connection};
pub use lookup::lookup;
pub use options::AcceptOptions;
pub use outcome::HandshakeStats;
pub use seats::{Seat, Seats};
pub use server::ServerTls;
pub use verifier::{verify_expired, verify_issued};

/// HTTP/2, and nothing to negotiate.
const ALPN: &[u8] = b"h2";

/// The reason for which a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No CA certificate to check clients against.
    #[error("no usable CA certificate to check clients with")]
    NoRoots,
    /// rustls refused the key, the chain or the roots.
    #[error("failed to set up TLS")]
    Rustls(#[source] rustls::Error),
    /// The identity is not one for this end.
    #[error("a certificate of role `{0}` cannot be used at this end")]
    WrongRole(crate::identity::Role),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
