//! A release: one immutable, signed version of a service. The payload of a `release` envelope.
//!
//! Everything a host does for a service is in here, so that an agent needs no other author. A field
//! that is not here cannot be asked for.

mod address;
mod answer;
mod asks;
mod container;
mod gates;
mod health;
mod hooks;
mod pace;
mod parts;
mod rules;
mod status;
mod tls;
mod traffic;
mod triggers;
mod uses;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{Counter, EnvironmentId, FleetId, ServiceId, ServiceName};
use crate::time::Timestamp;
use crate::units::Span;

pub(crate) use address::{MAX_ADDRESS, is_request_path};
pub use address::{Url, host_and_port, url};
pub use answer::{Answer, Difference, excerpt};
pub use asks::{Expect, HostAsk, HostCheck, MAX_ANSWER, Request, Smoke, UrlRequest, WarmUp, is_path_below};
pub(crate) use asks::{
    MAX_AFTER, MAX_ASKS, MAX_BODY, MAX_FILES, MAX_HEADERS, MAX_PAUSE, MAX_POINTERS, MAX_TIMEOUT, MAX_TIMES,
    MAX_TRIES, MAX_WANTED, is_header, is_method, is_pointer,
};
pub use container::{ContainerOptions, SIGNALS, ULIMITS, Ulimit, is_container_label, is_signal};
pub(crate) use container::{MAX_LABELS, MAX_ULIMITS};
pub use gates::{Gate, GateAsk};
pub(crate) use gates::{MAX_GATES, is_gate_name};
pub use health::{AskedRequest, Check, Health, ImageHealth, Probe};
pub use hooks::{Hook, HookHosts, Hooks, Stage, is_hook_name};
pub(crate) use hooks::{
    MAX_HOOK_COMMAND, MAX_HOOK_GPUS, MAX_HOOK_NAME, MAX_HOOK_TIMEOUT, MAX_HOOK_WORDS, MAX_HOOKS,
};
pub(crate) use pace::Pace;
pub use parts::{File, Gpus, Image, Placement, Port, Resources, Scale, Security, Spread, Volume};
pub use rules::{CanaryStep, OnFailure, OnLost, OnReturn, OrderRule, Strategy};
pub(crate) use rules::{MAX_KEEP_OLD, MAX_STEPS, MAX_WATCH};
pub use status::StatusRange;
pub use tls::Tls;
pub use traffic::{DRAIN_TIMEOUT, PortProtocol, Route, Traffic};
pub(crate) use traffic::{MAX_DRAIN, MAX_HOLD, MAX_ROUTES, MAX_SLOW_START, prefix};
pub use triggers::{ErrorRate, Latency, RollbackOn, Within};
pub use uses::{MAX_USES, NotUsed, check_uses, not_balanced};

/// The newest version of the release payload that this code reads and writes.
pub const RELEASE_VERSION: u32 = 7;
/// Every version that it reads. A release is written in the lowest one that can say what it says.
pub const RELEASE_VERSIONS: [u32; 7] = [1, 2, 3, 4, 5, 6, RELEASE_VERSION];

/// The payload of a `release` envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Version of this format: the lowest one that can say what it says, see [`Spec::version`].
    pub version: u32,
    /// The fleet it was signed for.
    pub fleet: FleetId,
    /// The environment of the service.
    pub environment: EnvironmentId,
    /// The name of the service.
    pub service: ServiceName,
    /// Rises per service.
    pub counter: Counter,
    /// When it was signed first, by the signer's clock.
    pub created_at: Timestamp,
    /// The author's own name; the signature says who answers for it.
    pub author: String,
    /// The workload, and its rollout.
    pub spec: Spec,
}

impl Release {
    /// *environment/name* of its service.
    pub fn service_id(&self) -> ServiceId {
        ServiceId::new(self.environment.clone(), self.service.clone())
    }

    /// The engine's names of its named volumes. Dots cannot stand in names, so two services never meet in one.
    pub fn named_volumes(&self) -> impl Iterator<Item = String> {
        let service = self.service_id();
        let named = self.spec.volumes.iter().filter(|(_, volume)| volume.host_path.is_none());
        named.map(move |(name, _)| volume_name(&service, name))
    }

    /// Digest of what it does: fleet, service and spec, without counter, time and author. Signing the
    /// same content again does not change it, so quarantine and "unchanged" are keyed on it.
    ///
    /// It is the SHA-256 of the JSON object `{"fleet","environment","service","spec"}` as this code
    /// writes it.
    pub fn content_digest(&self) -> Digest {
        #[derive(Serialize)]
        struct Content<'a> {
            fleet: &'a FleetId,
            environment: &'a EnvironmentId,
            service: &'a ServiceName,
            spec: &'a Spec,
        }
        let content = Content {
            fleet: &self.fleet,
            environment: &self.environment,
            service: &self.service,
            spec: &self.spec,
        };
        let bytes = serde_json::to_vec(&content).expect("a release has only string keys, so it is JSON");
        Digest::of(&bytes)
    }
}

// serde asks for a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The engine's name of a named volume of a service.
pub fn volume_name(service: &ServiceId, name: &str) -> String {
    format!("windlass.{}.{}.{name}", service.environment, service.name)
}

/// The workload, and its rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The image, pinned.
    pub image: Image,
    /// Replaces the image's entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Replaces the image's arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Working folder, absolute; the image's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// The number of instances, within which the coordinator may move without a new release.
    pub scale: Scale,
    /// The hosts on which instances may run.
    pub placement: Placement,
    /// Ports by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, Port>,
    /// The port probes mean when they name none: the first in the manifest. Present if there are ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_port: Option<String>,
    /// Environment variables, with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Files by absolute path in the container, with their content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, File>,
    /// Volumes by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Volume>,
    /// Limits and requests.
    pub resources: Resources,
    /// User, root file system, capabilities.
    pub security: Security,
    /// Probes.
    pub health: Health,
    /// The way in which one release replaces another.
    pub strategy: Strategy,
    /// Time for which the whole service is watched after the last step.
    pub soak: Span,
    /// Time that a rollout may go without progress.
    pub progress_deadline: Span,
    /// Time for a container to stop after SIGTERM before it is killed.
    pub stop_timeout: Span,
    /// The fate of the rest of the fleet when an instance failed.
    pub on_failure: OnFailure,
    /// Triggers of its rollback: on a host while it is not yet good, for the whole service in its rollout and after.
    pub rollback_on: RollbackOn,
    /// The fate of slots when a host is lost.
    pub on_lost: OnLost,
    /// Never two instances at once, even through a partition.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exclusive: bool,
    /// Releases below this counter may not run any more, once this one is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Counter>,
    /// Its traffic.
    #[serde(default, skip_serializing_if = "Traffic::is_empty")]
    pub traffic: Traffic,
    /// Requests that warm an instance up before it counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm_up: Vec<WarmUp>,
    /// Smoke tests that every instance of a release has to pass while that is not yet good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smoke: Vec<Smoke>,
    /// Checks that a host makes before it starts the first instance of a release that is not yet good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<HostCheck>,
    /// Gates by name: the questions that the steps of a canary ask.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gates: BTreeMap<String, Gate>,
    /// Commands that a rollout runs once, before it touches anything and after its last step.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// Services of its environment that it calls by name, each once, ordered by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<ServiceName>,
    /// Options of the container.
    #[serde(default, skip_serializing_if = "ContainerOptions::is_default")]
    pub container: ContainerOptions,
}

impl Spec {
    /// The lowest version of a release that can say what it says: 2 adds traffic, 3 the strategies that shift it, the
    /// triggers that look at the whole service, and what is asked of instances and hosts, 4 canaries, gates, previews, hooks and
    /// files that have to exist, 5 the services that it calls by name and options of the container, 6 requests over TLS, ranges of
    /// states, probes and checks that want more than a status, and what GPUs do as a gate and as a trigger, 7 volumes that the slots
    /// of a host share.
    pub fn version(&self) -> u32 {
        let speaks = self.ports.values().any(|port| !port.protocol.is_default());
        let asks = !(self.warm_up.is_empty() && self.smoke.is_empty() && self.checks.is_empty());
        let previews = self.traffic.routes.iter().any(|route| route.preview);
        let files = self.checks.iter().any(|check| matches!(check.ask, HostAsk::FilesExist { .. }));
        let canary = matches!(self.strategy, Strategy::Canary { .. }) || !self.gates.is_empty();
        if self.volumes.values().any(|volume| volume.shared) || self.has_files_of_a_named_user() {
            7
        } else if self.asks_closely() || self.looks_at_gpus() {
            6
        } else if !self.uses.is_empty() || !self.container.is_default() {
            5
        } else if canary || previews || files || !self.hooks.is_empty() {
            4
        } else if asks || !self.strategy.is_plain() || !self.rollback_on.is_on_host_only() {
            3
        } else if speaks || !self.traffic.is_empty() {
            2
        } else {
            1
        }
    }

    /// Whether a file that not everybody may read belongs to a user whom only the image knows.
    fn has_files_of_a_named_user(&self) -> bool {
        let user = self.security.user.as_deref().unwrap_or_default();
        let name = user.split(':').next().unwrap_or_default();
        let is_name = !name.is_empty() && name != "root" && name.parse::<u32>().is_err();
        is_name && self.files.values().any(|file| file.mode & 0o004 == 0)
    }

    /// Whether a request speaks TLS or wants what only a release of version 6 can say.
    fn asks_closely(&self) -> bool {
        let mut requests = self.warm_up.iter().map(|warm_up| &warm_up.request);
        let ranges = |statuses: &[StatusRange]| statuses.iter().any(|status| status.is_several());
        requests.any(|request| request.tls.is_some())
            || self.smoke.iter().any(|smoke| smoke.request.tls.is_some() || ranges(&smoke.expect.status))
            || self.health.probes().any(|probe| matches!(probe.check, Check::Request(_)))
            || self.checks.iter().any(|check| match &check.ask {
                HostAsk::Request(_) => true,
                HostAsk::Http { status, .. } => ranges(status),
                HostAsk::Tcp { .. }
                | HostAsk::Postgres { .. }
                | HostAsk::Redis { .. }
                | HostAsk::FilesExist { .. } => false,
            })
    }

    /// Whether a gate or a trigger looks at its GPUs.
    fn looks_at_gpus(&self) -> bool {
        self.rollback_on.gpu_errors.is_some() || self.gates.values().any(|gate| gate.ask.is_of_gpus())
    }

    /// Whether requests are routed to a port of it.
    pub fn is_routed(&self) -> bool {
        self.ports.values().any(|port| port.protocol.routed().is_some())
    }

    /// Whether the new release stands beside the old one, which goes on at full strength, while the traffic moves.
    pub fn runs_beside(&self) -> bool {
        let is_canary = matches!(self.strategy, Strategy::Canary { .. });
        matches!(self.strategy, Strategy::BlueGreen { .. }) || (is_canary && self.is_routed())
    }

    /// Time for which the old instances run on, without traffic, after a deploy succeeded, if they do.
    pub fn keeps_old(&self) -> Option<Span> {
        self.strategy.keeps_old().filter(|_| self.runs_beside())
    }

    /// Returns whether a slot stays on its host for good. A named volume is there and nowhere else.
    pub fn pins_slots(&self) -> bool {
        self.volumes.values().any(|volume| volume.host_path.is_none())
    }

    /// A named volume that one slot writes alone: a host takes no second slot of the service.
    pub fn volume_of_one(&self) -> Option<&str> {
        let alone = |volume: &Volume| volume.host_path.is_none() && !volume.read_only && !volume.shared;
        self.volumes.iter().find(|(_, volume)| alone(volume)).map(|(name, _)| name.as_str())
    }

    /// Returns whether a container of it binds a folder of the host.
    pub fn binds_host_paths(&self) -> bool {
        self.volumes.values().any(|volume| volume.host_path.is_some())
    }
}
