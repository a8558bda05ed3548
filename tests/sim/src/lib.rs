//! The whole system in virtual time, decided by a seed.
//!
//! ```text
//!   people ──▶ coordinator (the real one without sockets, on a store that dies at a write) ◀── trouble
//!                    │ signed plans              ▲ observations
//!                    ▼      a network that drops, delays, doubles, reorders, and is cut
//!               agents (real verification, real decisions; a disk, and a process that dies at a write)
//!                    │ steps                     ▲ containers, probes
//!                    ▼                           │
//!               modelled engines: slow, failing, hung, rebooted; releases good and bad in nine ways
//! ```
//!
//! After every event, [`check`] looks at the whole world. A seed is all that is needed to see a run again:
//! `make sim SEED=n`. What was planted to try it, and what it found, is in `docs/simulation.md`.
#![warn(missing_docs)]

pub mod agent;
pub mod backup;
pub mod center;
pub mod check;
pub mod context;
pub mod dice;
pub mod edge;
pub mod engine;
pub mod event;
pub mod host;
pub mod keys;
pub mod liar;
pub mod meddle;
pub mod mortal;
pub mod network;
mod open;
pub mod operator;
pub mod provider;
pub mod run;
pub mod shop;
pub mod strict;
pub mod trouble;
pub mod world;

pub use run::{Total, run_many, run_one};

/// Writes a line for whoever reads along.
#[expect(clippy::print_stdout, reason = "this is what its program is for")]
pub fn say(line: &str) {
    println!("{line}");
}
