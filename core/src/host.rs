//! A host as the fleet knows it: what it is, what it allows, how it does.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::id::EnvironmentId;
use crate::network::DEFAULT_RANGE;
use crate::time::Timestamp;
use crate::units::Size;

mod gpu;
mod stats;

pub use gpu::{Gpu, GpuAccess, GpuDriver, GpuHealth, GpuLost, GpuProcess, GpuReadings, GpuStats, XID_ERRORS};
pub use stats::{
    CpuModes, DISK_SIZE, DiskStats, FRESH, HostCounters, HostStats, InstanceCounters, InstanceStats,
    Pressure, ProbeStats, Stall, Usage,
};

/// Facts about a host. Sent by the agent when it connects and when they change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostFacts {
    /// Version of the agent.
    pub agent_version: String,
    /// Versions of the plan document that the agent reads.
    pub plan_versions: Vec<u32>,
    /// Versions of releases that the agent reads; `1` alone if it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub release_versions: Vec<u32>,
    /// Versions of traffic tables that the agent reads; `1` alone if it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes_versions: Vec<u32>,
    /// Address at which published ports are reached, certified at join.
    pub address: String,
    /// Labels pinned on the host.
    pub labels: BTreeMap<String, String>,
    /// The machine's own name.
    pub hostname: String,
    /// Operating system, for people.
    pub os: String,
    /// Kernel release.
    pub kernel: String,
    /// Platform of images, like `linux/amd64`.
    pub platform: String,
    /// Processors, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Version of the engine, empty while unknown.
    pub engine_version: String,
    /// GPUs that can be given away; an ordinary host has none.
    pub gpus: Vec<Gpu>,
    /// GPUs that were there and cannot be given away now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus_lost: Vec<GpuLost>,
    /// The way in which containers get GPUs.
    #[serde(default)]
    pub gpu_access: GpuAccess,
    /// The driver of its GPUs, as far as that is known.
    #[serde(default, skip_serializing_if = "GpuDriver::is_unknown")]
    pub gpu_driver: GpuDriver,
    /// The host's policy, so that placement and previews can ask it.
    pub policy: HostPolicy,
    /// Parts that do not answer: for those, the last known facts stand here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<Silent>,
}

impl HostFacts {
    /// Returns whether the agent reads releases of that version. One that never connected is not known to be too old.
    pub fn reads_release(&self, version: u32) -> bool {
        version == 1 || self.release_versions.contains(&version) || self.plan_versions.is_empty()
    }

    /// Whether its GPUs do not answer its agent.
    pub fn gpus_are_silent(&self) -> bool {
        self.silent.iter().any(|silent| silent.what == GPUS)
    }

    /// The same of traffic tables.
    pub fn reads_routes(&self, version: u32) -> bool {
        version == 1 || self.routes_versions.contains(&version) || self.plan_versions.is_empty()
    }
}

/// The GPUs of a host, in [`Silent::what`].
pub const GPUS: &str = "GPUs";

/// Something of a host that does not answer whoever asks it. What is said of it is what was known last, if anything was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Silent {
    /// What, for people: [`GPUS`].
    pub what: String,
    /// Since when, by the host's clock.
    pub since: Timestamp,
    /// The symptom.
    pub why: String,
}

/// `/etc/windlass/policy.toml` after parsing: what may run on a host at all. It only narrows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostPolicy {
    /// Exact `host[:port]/path` prefixes that images may come from.
    pub registries: Vec<String>,
    /// Registries that may be plain HTTP although they are off loopback.
    pub insecure_registries: Vec<String>,
    /// Environments the host serves; any if absent.
    pub environments: Option<BTreeSet<EnvironmentId>>,
    /// Fixed ports that a release may ask for.
    pub host_ports: BTreeSet<u16>,
    /// First and last port that the agent draws from.
    pub port_range: (u16, u16),
    /// Host paths that a release may bind.
    pub mounts: Vec<String>,
    /// Capabilities that a release may add, without `CAP_`.
    pub capabilities: BTreeSet<String>,
    /// The number of GPUs that all releases on the host may take together; all if absent.
    pub gpus: Option<u32>,
    /// Memory of each GPU that shares leave free.
    #[serde(default)]
    pub gpu_reserve: Size,
    /// Users that containers may run as.
    pub users: Users,
    /// Whether an operator may run commands in containers.
    pub exec: bool,
    /// Most memory that all releases together may ask for.
    pub max_memory: Limit,
    /// Largest image, compressed.
    pub max_image: Size,
    /// Whether an image that is here already runs only if its digest was resolved from its own repository.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verify_origin: bool,
    /// Networks of the hosts that an ingress of this host leads requests to; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub endpoint_networks: Option<Vec<IpNet>>,
    /// The range that inner networks are drawn from.
    #[serde(default = "default_range", skip_serializing_if = "is_default_range")]
    #[schemars(with = "String")]
    pub inner_networks: Ipv4Net,
}

const fn default_range() -> Ipv4Net {
    DEFAULT_RANGE
}

// serde asks for a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_default_range(range: &Ipv4Net) -> bool {
    *range == DEFAULT_RANGE
}

/// Users that containers may run as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Users {
    /// Any.
    #[default]
    Any,
    /// A numeric user other than 0.
    NonRoot,
}

/// A bound on something of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// So many bytes.
    Bytes(Size),
    /// A percentage of the host's own.
    Percent(u8),
}

impl Limit {
    /// In bytes, where the host has `total`.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(size) => size.bytes(),
            Self::Percent(percent) => {
                let most = u128::from(total) * u128::from(percent.min(100)) / 100;
                u64::try_from(most).unwrap_or(u64::MAX)
            }
        }
    }
}

impl Default for HostPolicy {
    /// The meaning of absent keys of the file.
    fn default() -> Self {
        Self {
            registries: Vec::new(),
            insecure_registries: Vec::new(),
            environments: None,
            host_ports: BTreeSet::new(),
            port_range: (20_000, 29_999),
            mounts: Vec::new(),
            capabilities: BTreeSet::new(),
            gpus: None,
            gpu_reserve: Size::default(),
            users: Users::Any,
            exec: false,
            max_memory: Limit::Percent(90),
            max_image: Size::from_bytes(20 << 30),
            verify_origin: false,
            endpoint_networks: None,
            inner_networks: DEFAULT_RANGE,
        }
    }
}

/// Whether a host is there. Never stored: derived from its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// The coordinator started less than a minute ago and has not heard of it.
    Unknown,
    /// Heard of within 15 s.
    Connected,
    /// Not heard of for 15 s.
    Suspect,
    /// Not heard of for 30 s.
    Lost,
}

impl Liveness {
    /// The state as documents and tables write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Connected => "connected",
            Self::Suspect => "suspect",
            Self::Lost => "lost",
        }
    }
}
