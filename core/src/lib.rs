//! The pure domain of Windlass: decisions, without tokio, I/O, clocks, randomness or hash maps.
//!
//! Everything here takes `now` as an argument and answers with data. Whoever acts on the answer
//! (the coordinator's engine task, an agent's reconciler, the CLI) has no choices left.
#![warn(missing_docs)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod audit;
pub mod capacity;
pub mod condition;
pub mod diff;
pub mod digest;
#[cfg(test)]
mod fixture;
pub mod fleet;
pub mod gate;
pub mod host;
pub mod id;
mod maintain;
pub mod manifest;
pub mod network;
pub mod observation;
pub mod placement;
pub mod plan;
pub mod policy;
pub mod quarantine;
pub mod quota;
pub mod receipt;
pub mod reconcile;
pub mod recovery;
pub mod release;
pub mod rollout;
pub mod series;
pub mod service;
pub mod slot;
pub mod time;
pub mod traffic;
pub mod units;
pub mod verify;
pub mod view;

pub use digest::Digest;
pub use id::{
    Counter, EnvironmentId, FleetId, HostId, OperatorName, RolloutId, ServiceId, ServiceName, SlotId,
};
pub use time::Timestamp;
pub use units::{Amount, Size, Span};
