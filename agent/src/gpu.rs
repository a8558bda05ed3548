//! GPUs, by NVIDIA's management library. A host without it is an ordinary host.
//!
//! A call of that library may hang, for minutes or for good, and so that not even SIGKILL ends it. So it is called in
//! a process of its own, this program as `gpu-probe`, and nobody waits for that one but the task in here:
//!
//! ```text
//! probe ── a question, one line ──▶ child (loads the library)
//!   ▲ └─── its answer, one line, in time ◀──┘    or: killed, another one after a pause
//!   └ watch<Seen> ──▶ facts, statistics, room on the host: the last answer, and since when there is none
//! ```
//!
//! Without a library the child says so and ends, and none is kept.

mod child;
mod library;
mod probe;
mod talk;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass_core::host::{Gpu, GpuStats, Silent};

pub use child::serve;
pub use probe::{Limits, Probe};
pub use talk::{NoAnswer, ask_once};

/// The hidden subcommand that is the child.
pub const SUBCOMMAND: &str = "gpu-probe";
/// What [`Silent`] calls them.
pub const WHAT: &str = "GPUs";

/// What is known of the GPUs of this host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Those that there are, as far as the last answer goes.
    pub gpus: Vec<Gpu>,
    /// How they do; nothing while there is no answer.
    pub stats: Vec<GpuStats>,
    /// Since when there is none.
    pub silent: Option<Silent>,
}

/// Shared, as several look at it.
pub type Shared = Arc<Seen>;

/// What the child is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    List,
    Stats,
}

/// What it answers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// There is no library, or no driver.
    Nothing,
    /// There is one, and it does not work.
    Failed(String),
    List(Vec<Gpu>),
    Stats(Vec<GpuStats>),
}
