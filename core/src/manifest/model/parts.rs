//! The parts of a manifest, as a person writes them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::HostId;
use crate::release::{OnReturn, PortProtocol, Spread};
use crate::units::Size;

use super::super::defaults;
use super::scalar::{self, After, Cpu, Mode, Text};

/// The number of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Replicas {
    /// So many.
    Count(u32),
    /// Between two numbers.
    Range(Range),
}

/// Between two numbers; a new service starts with `min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    /// At least so many.
    pub(crate) min: u32,
    /// At most so many.
    pub(crate) max: u32,
}

/// The hosts on which instances may run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Placement {
    /// Labels that a host must carry, pinned on the host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) require: BTreeMap<String, Text>,
    /// Only these hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "scalar::labels")]
    pub(crate) hosts: Vec<HostId>,
    /// The spread of instances.
    #[serde(default)]
    pub(crate) spread: Spread,
}

/// A port of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Port {
    /// The port on which the process listens with HTTP; the host's port is drawn by the agent.
    Container(#[schemars(range(min = 1))] u16),
    /// With a fixed port of the host, or another protocol.
    Fixed(FixedPort),
}

/// A port with a fixed port of the host, or another protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FixedPort {
    /// The port on which the process listens (TCP).
    #[schemars(range(min = 1))]
    pub(crate) container: u16,
    /// The port of the host; host policy must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(crate) host: Option<u16>,
    /// The protocol that the process speaks: `http` (with WebSocket), `h2c` (HTTP/2 without TLS), `grpc`, or `tcp` for anything
    /// else, to which no request is routed.
    #[serde(default, skip_serializing_if = "PortProtocol::is_default")]
    #[schemars(schema_with = "scalar::protocol")]
    pub(crate) protocol: PortProtocol,
}

/// Names under which clients reach a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Routes {
    /// One.
    One(Route),
    /// Several.
    Several(Vec<Route>),
}

/// A name under which clients reach a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// Host name that clients ask for; `*.example.com` stands for one label more.
    #[schemars(extend("examples" = ["api.example.com"]))]
    pub(crate) host: String,
    /// Path prefix, cut at a slash; the longest one that fits wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "/"))]
    pub(crate) path: Option<String>,
    /// Name of the port; by default the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::label")]
    pub(crate) port: Option<String>,
    /// Whether it leads to the new release alone, while that stands beside the old one; it leads nowhere at other times.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) preview: bool,
}

/// A file that the container finds; one of `from` and `content`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// A file beside the manifest, read when the release is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// The content itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
    /// Permission bits.
    #[serde(default = "defaults::mode")]
    pub(crate) mode: Mode,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Volume {
    /// Absolute path in the container.
    pub(crate) mount: String,
    /// A folder of the host, if host policy allows it; else a volume that the agent makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host_path: Option<String>,
    /// Only reading.
    #[serde(default)]
    pub(crate) read_only: bool,
    /// Whether several instances of one host write into the named volume. Without it each of them gets a host of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shared: bool,
}

/// Limits and requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resources {
    /// Cores, limit and request.
    #[serde(default = "defaults::cpu")]
    pub(crate) cpu: Cpu,
    /// Memory, limit and request.
    #[serde(default = "defaults::memory")]
    #[schemars(schema_with = "scalar::size")]
    pub(crate) memory: Size,
    /// Limit on processes.
    #[serde(default = "defaults::pids")]
    pub(crate) pids: u32,
    /// GPUs: a number of whole ones, or a count and the memory taken on each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gpus: Option<Gpus>,
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpu: defaults::cpu(), memory: defaults::MEMORY, pids: defaults::PIDS, gpus: None }
    }
}

/// A request for GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Gpus {
    /// So many whole devices.
    Count(u32),
    /// Shared by declared memory.
    Shared(SharedGpus),
}

/// GPUs shared by declared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SharedGpus {
    /// The number of devices.
    pub(crate) count: u32,
    /// Memory taken on each; the device is exclusive if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::size")]
    pub(crate) memory: Option<Size>,
}

/// User, root file system, capabilities.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Security {
    /// `uid[:gid]`, or a name known in the image; by default the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Text>,
    /// Whether the root file system is read-only.
    #[serde(default)]
    pub(crate) read_only_root: bool,
    /// Scratch mounts, absolute paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tmpfs: Vec<String>,
    /// Capabilities added, like `NET_BIND_SERVICE`; host policy must allow each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) capabilities: Vec<String>,
}

/// The fate of slots when a host is lost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OnLost {
    /// Its slots get a replacement elsewhere after so long.
    #[serde(default)]
    pub(crate) replace_after: After,
    /// A host that cannot reach the coordinator stops its instances after so long.
    #[serde(default)]
    pub(crate) stop_isolated_after: After,
    /// Which instance stays when a replaced host returns.
    #[serde(default)]
    pub(crate) on_return: OnReturn,
}
