//! A coordinator in the wrong hands. It speaks the real protocol over the real TLS to a `windlass-agent` of a release
//! build, and offers whatever a test makes up.
//!
//! ```text
//! Keys ── papers: releases and plans, signed, bent, or both ──▶ Rogue ══ mTLS ══▶ windlass-agent ── Engine h1
//!                                                                │ face: which certificate it shows      │
//!                                              Said: hello, observations, what was fetched   Scene: containers, images,
//!                                                                                             events, asked directly
//!                      Liar: a registry that answers with other bytes ◀──────────── pulls ───────────────┘
//! ```
//!
//! [`Target`] puts these together: a host, its agent, one honest service that runs before, during and after.
//! The rogue holds keys that a coordinator never has (root, release): who may *use* which is the test's choice.

pub mod face;
pub mod keys;
pub mod papers;
pub mod registry;
pub mod scene;
pub mod server;
mod service;
pub mod target;

pub use face::Face;
pub use keys::Keys;
pub use papers::{Draft, Sealed};
pub use registry::{Liar, Lie, Pinned};
pub use scene::Scene;
pub use server::Rogue;
pub use target::Target;
