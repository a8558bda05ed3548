//! The common ground of agent and ingress: the socket between them, and the folder of tables that each of them keeps.
//!
//! ```text
//! agent ── trust documents, tables ──▶ ingress        over DIR/ingress.sock, which the agent listens on
//! agent ◀── reports ───────────────── ingress
//! ```
//!
//! The ingress believes nothing because it came over the socket: it verifies trust documents as a chain and each table
//! by them, as the agent does.

pub mod socket;
pub mod tables;
pub mod wire;
