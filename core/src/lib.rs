//! The pure domain of Windlass: decisions, without tokio, I/O, clocks, randomness or hash maps.
//!
//! Everything here takes `now` as an argument and answers with data. Whoever acts on the answer
//! (the coordinator's engine task, an agent's reconciler, the CLI) has no choices left.
#![warn(missing_docs)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod digest;
pub mod host;
pub mod id;
pub mod observation;
pub mod plan;
pub mod release;
pub mod time;
pub mod units;

pub use digest::Digest;
pub use id::{
    Counter, EnvironmentId, FleetId, HostId, OperatorName, RolloutId, ServiceId, ServiceName, SlotId,
};
pub use time::Timestamp;
pub use units::{Amount, Size, Span};
