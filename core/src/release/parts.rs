//! Parts of a release that say which image runs, how often, where, and with what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PortProtocol;
use crate::digest::Digest;
use crate::id::HostId;
use crate::units::Size;

/// An image, pinned by digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The image as the manifest names it, for people: `registry.example.com/web:1.5.2`.
    pub reference: String,
    /// `host[:port]/path`, normalised, without tag or digest.
    pub repository: String,
    /// Digest of the manifest (or of the index) that the registry answered with.
    pub digest: Digest,
    /// Platform, like `linux/amd64`.
    pub platform: String,
    /// Sum of the compressed layers, in bytes, as the registry said when it was signed.
    pub size: u64,
}

impl Image {
    /// The reference an engine pulls: `repository@sha256:…`.
    pub fn pinned(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }
}

/// The number of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scale {
    /// Between `min` and `max`; a new service starts with `min`.
    Replicas {
        /// At least so many.
        min: u32,
        /// At most so many.
        max: u32,
    },
    /// One on every host that the placement allows.
    PerHost,
}

impl Scale {
    /// The number of instances where `count` are asked for; `None` if each host has one.
    pub fn clamp(&self, count: u32) -> Option<u32> {
        match *self {
            Self::Replicas { min, max } => Some(count.clamp(min, max)),
            Self::PerHost => None,
        }
    }
}

/// The hosts on which instances may run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// Labels that a host must carry, pinned on the host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub require: BTreeMap<String, String>,
    /// Only these hosts, if any are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostId>,
    /// The spread of instances.
    pub spread: Spread,
}

impl Placement {
    /// Returns whether an instance may run on the host `name` that carries `labels`.
    pub fn allows(&self, name: &HostId, labels: &BTreeMap<String, String>) -> bool {
        (self.hosts.is_empty() || self.hosts.contains(name))
            && self.require.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// The spread of instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// Over as many hosts as possible.
    #[default]
    Host,
    /// On as few hosts as possible.
    Pack,
}

/// A port of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The port on which the process listens (TCP).
    pub container: u16,
    /// A fixed port of the host; the agent draws one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<u16>,
    /// The protocol that the process speaks there.
    #[serde(default, skip_serializing_if = "PortProtocol::is_default")]
    pub protocol: PortProtocol,
}

/// A file that the container finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The bytes, standard base64.
    pub content: String,
    /// Permission bits, like `420` for 0644.
    pub mode: u32,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Absolute path in the container.
    pub mount: String,
    /// A folder of the host. If absent, a named volume, which pins the slot to its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// Only reading.
    #[serde(default)]
    pub read_only: bool,
    /// Whether the slots of a host write into one named volume.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

/// Limits and requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Thousandths of a core, limit and request.
    pub cpu_millis: u32,
    /// Memory limit and request.
    pub memory: Size,
    /// Limit on processes.
    pub pids: u32,
    /// GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Gpus>,
}

/// A request for GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gpus {
    /// The number of devices.
    pub count: u32,
    /// Memory taken on each; the device is exclusive if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
}

/// User, root file system, capabilities. All capabilities are dropped and `no-new-privileges` is set
/// whatever stands here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// `uid[:gid]` or a name known in the image; the image's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether the root file system is read-only.
    pub read_only_root: bool,
    /// Scratch mounts (tmpfs), absolute paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<String>,
    /// Capabilities added, like `NET_BIND_SERVICE`; host policy must allow each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}
