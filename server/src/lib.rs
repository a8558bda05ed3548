//! The coordinator of a Windlass fleet.
//!
//! ```text
//!   agents ══ mTLS ══▶ grpc ─▶ session ─▶ registry (who is there, what they see; memory only)
//! operators ══ mTLS ══▶ grpc ─▶ releases, rollouts, hosts, enrolment
//!                                   │ decide
//!                                   ▼
//!                               ledger: one writer ─▶ store (sled)
//!                                   │ wakes                ▲ one transaction per decision
//!                                   ▼                      │
//!                               engine: core::rollout::advance ─▶ plans ─▶ sessions
//! ```
//!
//! Decisions are pure and in `windlass-core`; here is what gives them eyes and hands. What is stored is written
//! before it is acted upon, so that `kill -9` costs a reconnection and nothing else.

mod audit;
mod authority;
mod backups;
mod boards;
mod certificate;
mod clock;
pub mod config;
mod coordinator;
pub mod crash;
mod discovery;
pub mod embedded;
mod engine;
mod enrolment;
mod gates;
mod grpc;
mod history;
mod hosts;
mod http;
mod in_order;
mod ledger;
mod metrics;
mod missing;
mod operators;
mod peers;
mod plans;
mod proven;
mod quarantine;
mod receipts;
mod recorder;
mod recovery;
mod registry;
mod releases;
mod revoked;
mod rollouts;
mod routes;
mod sampler;
mod scrape;
mod services;
mod session;
mod start;
pub mod store;
mod trust;
mod words;

pub mod cli;

pub use clock::Clock;
pub use config::Config;
pub use gates::Networks;
pub use ledger::LoadError;
pub use recovery::{Dropped, Restored, import_backup};
pub use start::{Running, StartError, open_store, start, start_on};
