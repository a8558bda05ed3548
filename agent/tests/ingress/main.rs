//! `windlass-agent ingress`, the program itself, with the agent's end of its socket in the test.
#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

mod calls;
mod follows;
mod http;
mod secure;
mod standing;
mod succeeds;
mod unit;
mod world;
