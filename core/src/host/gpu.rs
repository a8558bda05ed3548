//! The GPUs of a host: what can be given away, what cannot, and how they do.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Reasons that slow a GPU down although they should not: that it keeps to its power limit (`power_cap`) is as it should be.
const SLOWED: [&str; 3] = ["thermal", "power_brake", "slowdown"];
/// Memory that strangers may hold on a device which a release gets alone: a desktop takes some.
const STRANGERS: u64 = 1 << 30;

/// A device that can be given to a container: a GPU, or an instance of one that is divided (MIG).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Gpu {
    /// UUID, as NVML names it: `GPU-…`, `MIG-…`.
    pub uuid: String,
    /// Model.
    pub name: String,
    /// Memory in bytes; 0 if the driver does not tell.
    pub memory: u64,
    /// The part of it that the driver keeps for itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reserved: u64,
    /// The part of it that processes hold which are in no container of ours, rounded up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub strangers: u64,
    /// The GPU that it is an instance of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its health, as its agent judges it.
    #[serde(default, skip_serializing_if = "GpuHealth::is_well")]
    pub health: GpuHealth,
}

/// The health of a device that can be given away, the best first by its number.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum GpuHealth {
    /// Nothing is known against it.
    #[default]
    Well = 0,
    /// Memory of it waits for a restart to be taken out of use, or none can stand in for it: nobody new gets it.
    Defective = 2,
    /// It reports errors (`gpu_errors`), or what only a newer agent knows: it is given away after those that are well.
    #[serde(other)]
    Errors = 1,
}

impl GpuHealth {
    /// Whether nothing is known against it.
    pub const fn is_well(&self) -> bool {
        matches!(self, Self::Well)
    }

    /// Whether it is given to what has not got it yet.
    pub const fn is_given(self) -> bool {
        !matches!(self, Self::Defective)
    }
}

impl Gpu {
    /// The memory that shares of it can have together where `reserve` is left free; `None` if that is not known.
    pub fn for_shares(&self, reserve: u64) -> Option<u64> {
        let lost = self.reserved.saturating_add(reserve.max(self.strangers));
        (self.memory > 0).then(|| self.memory.saturating_sub(lost))
    }

    /// Whether strangers hold so much of it that nobody can have it alone.
    pub fn is_crowded(&self, reserve: u64) -> bool {
        self.strangers > reserve.max(STRANGERS)
    }
}

/// A GPU that was there and cannot be given away now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GpuLost {
    /// UUID; empty if it never told it.
    pub uuid: String,
    /// Model.
    pub name: String,
    /// Since when, by the host's clock.
    pub since: Timestamp,
    /// The symptom, in words.
    pub why: String,
    /// Errors that its driver reported (XID) since the agent watches it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub xid_count: u64,
    /// The last of them; 0 if there was none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub xid: u64,
    /// Those of them that a program causes, not the device.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub xid_of_programs: u64,
}

impl GpuLost {
    /// The errors of its driver by their cause.
    pub const fn xids_by_cause(&self) -> [(&'static str, u64); 2] {
        by_cause(self.xid_count, self.xid_of_programs)
    }

    /// Whether both are one GPU, which was lost once.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.uuid, &self.name, self.since) == (&other.uuid, &other.name, other.since)
    }
}

/// Bytes of a version.
const VERSION: usize = 80;

/// The versions of the driver of a host's GPUs; what it does not tell is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct GpuDriver {
    /// Of the driver: `550.90.07`.
    pub version: String,
    /// The newest CUDA that it runs: `12.4`.
    pub cuda: String,
}

impl GpuDriver {
    /// Whether nothing is known.
    pub const fn is_unknown(&self) -> bool {
        self.version.is_empty() && self.cuda.is_empty()
    }

    /// Cuts what is longer than it may be.
    pub fn bound(&mut self) {
        crate::observation::cut(&mut self.version, VERSION);
        crate::observation::cut(&mut self.cuda, VERSION);
    }
}

/// The way in which containers get GPUs on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GpuAccess {
    /// By NVIDIA's hook, which the engine runs.
    Hook,
    /// By the engine's runtime `nvidia`.
    Runtime,
    /// By device names of CDI specifications that the engine has read.
    Cdi,
    /// Not at all; why, and what to do.
    No(String),
    /// Nobody has found out yet.
    #[default]
    #[serde(other)]
    Unknown,
}

impl GpuAccess {
    /// The reason for which containers get no GPUs, if that is known.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::No(why) => Some(why),
            Self::Hook | Self::Runtime | Self::Cdi | Self::Unknown => None,
        }
    }

    /// Whether it is known, one way or the other.
    pub fn is_known(&self) -> bool {
        *self != Self::Unknown
    }
}

/// Measurements of a GPU. A counter that it cannot tell is zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GpuStats {
    /// UUID.
    pub uuid: String,
    /// Its measurements.
    #[serde(flatten)]
    #[schemars(with = "WrittenReadings")]
    pub readings: GpuReadings,
    /// Memory in use, in bytes.
    pub memory_used: u64,
    /// Memory in all, in bytes.
    pub memory_total: u64,
    /// Watts that it may take; 0 if it cannot tell.
    #[serde(default)]
    pub power_limit: f64,
    /// Clock of its processors, in MHz; 0 if it cannot tell.
    #[serde(default)]
    pub clock: u32,
    /// Errors of its memory that were corrected, since the driver was loaded.
    #[serde(default)]
    pub ecc_corrected: u64,
    /// Errors of its memory that were not.
    #[serde(default)]
    pub ecc_uncorrected: u64,
    /// Errors that its driver reported (XID) since the agent watches it.
    #[serde(default)]
    pub xid_count: u64,
    /// The last of them; 0 if there was none.
    #[serde(default)]
    pub xid: u64,
    /// Those of `xid_count` that a program causes, not the device.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub xid_of_programs: u64,
    /// Pages of its memory wait for a restart to be taken out of use.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pages_pending: bool,
    /// Pages of its memory that were taken out of use, after errors that were not corrected.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retired_pages: u64,
    /// Rows of its memory that others stand in for, after such errors.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub remapped_rows: u64,
    /// A row of its memory is bad, and there is none to stand in for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remap_failed: bool,
    /// The reasons that slow it down: `thermal`, `power_brake`, `slowdown`, `power_cap`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throttled: Vec<String>,
    /// Processes that hold memory of it; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<GpuProcess>,
}

/// The help of their metric.
pub const XID_ERRORS: &str = "Errors that its driver reported, by who causes them: the device or a program";

/// Errors of a driver by their cause, of `count` in all.
const fn by_cause(count: u64, of_programs: u64) -> [(&'static str, u64); 2] {
    [("device", count.saturating_sub(of_programs)), ("program", of_programs)]
}

impl GpuStats {
    /// The errors of its driver by their cause.
    pub const fn xids_by_cause(&self) -> [(&'static str, u64); 2] {
        by_cause(self.xid_count, self.xid_of_programs)
    }

    /// Its memory in use and in all, in bytes; `None` if its driver does not tell.
    pub fn memory(&self) -> Option<(u64, u64)> {
        (self.memory_total > 0).then_some((self.memory_used, self.memory_total))
    }

    /// Whether heat or a lack of power slows it down; its own power limit does not count.
    pub fn is_slowed(&self) -> bool {
        self.throttled.iter().any(|why| SLOWED.contains(&why.as_str()))
    }
}

/// Measurements of a GPU; none where it cannot tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "WrittenReadings", into = "WrittenReadings")]
pub struct GpuReadings {
    /// Share of time in which it was busy, 0 to 100.
    pub utilization: Option<f64>,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
    /// Watts.
    pub power: Option<f64>,
}

/// Readings as they are written: version 0.1 wants a number for each.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
struct WrittenReadings {
    /// Share of time in which it was busy, 0 to 100.
    utilization: f64,
    /// Degrees Celsius.
    temperature: f64,
    /// Watts.
    power: f64,
    /// Those of them that it cannot tell: they are 0 then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    untold: Vec<String>,
}

impl From<GpuReadings> for WrittenReadings {
    fn from(readings: GpuReadings) -> Self {
        let GpuReadings { utilization, temperature, power } = readings;
        let all = [("utilization", utilization), ("temperature", temperature), ("power", power)];
        let untold = all.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| (*name).to_owned());
        let [utilization, temperature, power] = all.map(|(_, value)| value.unwrap_or_default());
        Self { utilization, temperature, power, untold: untold.collect() }
    }
}

impl From<WrittenReadings> for GpuReadings {
    fn from(written: WrittenReadings) -> Self {
        let told = |name: &str, value| (!written.untold.iter().any(|untold| untold == name)).then_some(value);
        Self {
            utilization: told("utilization", written.utilization),
            temperature: told("temperature", written.temperature),
            power: told("power", written.power),
        }
    }
}

/// A process that holds memory of a GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GpuProcess {
    /// Its number on the host.
    pub pid: u32,
    /// Bytes that it holds; none if the driver does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_of_reserve_and_strangers_is_not_shared() {
        let gpu = Gpu { memory: 24 << 30, reserved: 1 << 30, strangers: 4 << 30, ..Gpu::default() };
        assert_eq!(gpu.for_shares(0), Some(19 << 30));
        assert_eq!(gpu.for_shares(6 << 30), Some(17 << 30));
        assert_eq!(gpu.for_shares(40 << 30), Some(0));
        assert!(gpu.is_crowded(0) && !gpu.is_crowded(5 << 30));
        assert_eq!(Gpu { memory: 0, ..gpu }.for_shares(0), None, "nobody knows");
    }

    #[test]
    fn a_reading_that_fails_is_none_and_a_number_for_old_peers() {
        let readings = GpuReadings { utilization: Some(37.0), temperature: None, power: None };
        let stats = GpuStats { uuid: "GPU-1".to_owned(), readings, clock: 7, ..GpuStats::default() };
        let written = serde_json::to_value(&stats).unwrap();
        assert_eq!((&written["utilization"], &written["temperature"]), (&37.0.into(), &0.0.into()));
        assert_eq!(written["untold"], serde_json::json!(["temperature", "power"]));
        assert_eq!(serde_json::from_value::<GpuStats>(written).unwrap(), stats);
        let readings = GpuReadings { utilization: Some(0.0), temperature: Some(0.0), power: Some(0.0) };
        let written = serde_json::to_value(GpuStats { readings, ..stats }).unwrap();
        assert_eq!(written.get("untold"), None);
        assert_eq!(serde_json::from_value::<GpuStats>(written).unwrap().readings, readings);
    }

    #[test]
    fn the_words_of_an_agent_of_before_and_of_a_newer_one_are_read() {
        let old: Gpu = serde_json::from_str(r#"{"uuid":"GPU-1","name":"L4","memory":1}"#).unwrap();
        assert_eq!((old.reserved, old.strangers, old.parent), (0, 0, None));
        let stats = r#"{"uuid":"GPU-1","utilization":0.0,"memory_used":0,"memory_total":0,"temperature":0.0,"power":0.0}"#;
        let stats: GpuStats = serde_json::from_str(stats).unwrap();
        assert_eq!((stats.xid_count, stats.readings.power), (0, Some(0.0)));
        for health in [GpuHealth::Well, GpuHealth::Errors, GpuHealth::Defective] {
            let text = serde_json::to_string(&health).unwrap();
            assert_eq!(serde_json::from_str::<GpuHealth>(&text).unwrap(), health, "{text}");
        }
        assert!(GpuHealth::Well < GpuHealth::Errors && GpuHealth::Errors < GpuHealth::Defective);
        assert_eq!(old.health, GpuHealth::Well);
        assert_eq!(serde_json::from_str::<GpuHealth>(r#""of_tomorrow""#).unwrap(), GpuHealth::Errors);
        for access in [GpuAccess::Hook, GpuAccess::Cdi, GpuAccess::No("none".to_owned()), GpuAccess::Unknown]
        {
            let text = serde_json::to_string(&access).unwrap();
            assert_eq!(serde_json::from_str::<GpuAccess>(&text).unwrap(), access, "{text}");
        }
        assert_eq!(serde_json::from_str::<GpuAccess>(r#""of_tomorrow""#).unwrap(), GpuAccess::Unknown);
    }
}
