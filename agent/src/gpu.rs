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
pub(crate) mod faults;
mod health;
mod library;
mod probe;
mod smi;
pub(crate) mod strangers;
mod talk;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use windlass_core::Timestamp;
use windlass_core::condition::Condition;
use windlass_core::host::{Gpu, GpuDriver, GpuLost, GpuStats, Silent};

pub use child::serve;
pub use probe::{Limits, Probe};
pub use strangers::{Held, Use};
pub use talk::{NoAnswer, ask_once};

/// The hidden subcommand that is the child.
pub const SUBCOMMAND: &str = "gpu-probe";
/// Their name in [`Silent`].
pub const WHAT: &str = windlass_core::host::GPUS;

/// An error (XID) that no program causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceError {
    /// NVIDIA's number of it.
    pub xid: u64,
    /// When it came.
    pub at: Timestamp,
}

/// The GPUs as an agent knew them when it last looked.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Those that there were.
    pub gpus: Vec<Gpu>,
    /// Those that it had lost.
    pub lost: Vec<GpuLost>,
    /// The last error of each.
    pub errors: BTreeMap<String, DeviceError>,
}

/// Known facts of the GPUs of this host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Those that can be given away, as far as the last answer goes.
    pub gpus: Vec<Gpu>,
    /// Those that were there and cannot be given away now.
    pub lost: Vec<GpuLost>,
    /// The driver, as the last answer says.
    pub driver: GpuDriver,
    /// Their measured values; nothing while there is no answer.
    pub stats: Vec<GpuStats>,
    /// Findings in them for a person.
    pub conditions: Vec<Condition>,
    /// The last error of each that no program causes.
    pub errors: BTreeMap<String, DeviceError>,
    /// Since when there is none.
    pub silent: Option<Silent>,
    /// When the last answer came.
    pub at: Option<Instant>,
}

impl Seen {
    /// Whether a decision would see a difference.
    pub fn decides_as(&self, other: &Self) -> bool {
        let silent = |seen: &Self| seen.silent.is_some();
        // Errors of one that is silent now are not others than before.
        let errors = |seen: &Self| {
            let of = |stats: &GpuStats| (stats.uuid.clone(), stats.xid_count, stats.ecc_uncorrected);
            seen.stats.iter().map(of).collect::<Vec<_>>()
        };
        let same_errors = self.stats.is_empty() || errors(self) == errors(other);
        self.gpus == other.gpus
            && self.driver == other.driver
            && self.lost == other.lost
            && self.conditions == other.conditions
            && silent(self) == silent(other)
            && same_errors
    }
}

/// Shared, as several look at it.
pub type Shared = Arc<Seen>;

/// Request to the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    Look,
}

/// Its answer.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// There is no library, or no driver.
    Nothing,
    /// There is one, and it does not work.
    Failed(String),
    /// The devices and their measured values.
    Seen(Look),
}

/// One look at everything.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Look {
    /// Versions of the driver.
    #[serde(default)]
    driver: GpuDriver,
    /// Devices that can be given away.
    gpus: Vec<Gpu>,
    /// Their measured values.
    stats: Vec<GpuStats>,
    /// GPUs that are divided (MIG): not they can be given away, but their instances.
    divided: Vec<String>,
    /// Those that do not answer.
    broken: Vec<Broken>,
    /// Errors that their driver reported since the last look.
    xids: Vec<Xid>,
    /// GPUs whose errors (XID) nobody is told of.
    #[serde(default)]
    unwatched: Vec<Unwatched>,
}

/// A GPU that does not answer.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Broken {
    /// Its place in the library's list.
    number: u32,
    /// UUID, if it ever told that.
    uuid: Option<String>,
    /// Error of the library.
    why: String,
}

/// An error that the driver reported.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Xid {
    /// The GPU.
    uuid: String,
    /// NVIDIA's number of it.
    code: u64,
}

/// A GPU that reports no errors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unwatched {
    uuid: String,
    why: String,
}
