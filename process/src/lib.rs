//! The common needs of our processes: supervised tasks, signals, logging, backoff and
//! error reports. Nothing here knows about deploying.
//!
//! A `main.rs` reads: parse arguments, [`logging::init`], build the parts, hand them to
//! [`Tasks::spawn`], and end with `tasks.run(signals::shutdown(), grace)`.
#![warn(missing_docs)]

pub mod aside;
pub mod backoff;
pub mod completions;
pub mod crash;
pub mod logging;
pub mod merge;
pub mod report;
pub mod signals;
pub mod socket;
pub mod steps;
pub mod tasks;

pub use backoff::Backoff;
pub use steps::Steps;
pub use tasks::Tasks;
