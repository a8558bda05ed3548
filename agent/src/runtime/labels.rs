//! Labels on our containers: by them an agent finds its containers again, whatever it lost.

use std::collections::{BTreeMap, HashMap};

use windlass_core::reconcile::{GpuClaim, Launch, LocalHost, PlanNumber};
use windlass_core::{Counter, Digest, SlotId};

/// The fleet.
pub const FLEET: &str = "windlass.fleet";
/// The host.
pub const HOST: &str = "windlass.host";
/// The environment of the service.
pub const ENVIRONMENT: &str = "windlass.environment";
/// The name of the service.
pub const SERVICE: &str = "windlass.service";
/// The number of the release, `r7`.
pub const RELEASE: &str = "windlass.release";
/// The slot, `production/web/0`.
pub const SLOT: &str = "windlass.slot";
/// The name of the instance.
pub const INSTANCE: &str = "windlass.instance";
const RELEASE_DIGEST: &str = "windlass.release-digest";
const CONTENT_DIGEST: &str = "windlass.content-digest";
const GENERATION: &str = "windlass.generation";
const SIDE: &str = "windlass.side";
const PORTS: &str = "windlass.ports";
const GPUS: &str = "windlass.gpus";
const PLAN: &str = "windlass.plan";

/// The identity of a container, as its labels tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its name in the fleet.
    pub instance: String,
    /// Its slot.
    pub slot: SlotId,
    /// Its release.
    pub release: Digest,
    /// The content of its release.
    pub content: Digest,
    /// The number of its release.
    pub counter: Counter,
    /// Which restart it comes from. Absent on containers from before there were any.
    pub generation: u64,
    /// Which of the slot's two ports it has.
    pub side: u8,
    /// Its ports on the host.
    pub ports: BTreeMap<String, u16>,
    /// GPUs it holds.
    pub gpus: Vec<GpuClaim>,
    /// The plan under which it was made; containers of older agents do not say.
    pub plan: Option<PlanNumber>,
}

/// The labels of a container to be made.
pub fn of_launch(launch: &Launch, local: &LocalHost) -> HashMap<String, String> {
    let ports = launch.ports.iter().map(|(name, port)| format!("{name}={}", port.host));
    let gpus = launch.gpus.iter().map(|gpu| match gpu.memory {
        Some(memory) => format!("{}={memory}", gpu.uuid),
        None => gpu.uuid.clone(),
    });
    let service = &launch.slot.service;
    let labels = [
        (FLEET, local.fleet.to_string()),
        (HOST, local.host.to_string()),
        (ENVIRONMENT, service.environment.to_string()),
        (SERVICE, service.name.to_string()),
        (RELEASE, launch.release.release.counter.to_string()),
        (SLOT, launch.slot.to_string()),
        (INSTANCE, launch.instance.clone()),
        (RELEASE_DIGEST, launch.release.digest.to_string()),
        (CONTENT_DIGEST, launch.release.content.to_string()),
        (GENERATION, launch.generation.to_string()),
        (SIDE, launch.side.to_string()),
        (PORTS, ports.collect::<Vec<_>>().join(",")),
        (GPUS, gpus.collect::<Vec<_>>().join(",")),
        (PLAN, launch.plan.to_string()),
    ];
    // Those of Windlass last: no release has a say in them.
    let mut all: HashMap<String, String> =
        launch.release.release.spec.container.labels.clone().into_iter().collect();
    all.extend(labels.map(|(name, value)| (name.to_owned(), value)));
    all
}

/// Reads them back; `None` if one is missing or was tampered with, or the container is of another fleet or host.
pub fn identity(labels: &HashMap<String, String>, local: &LocalHost) -> Option<Identity> {
    let label = |name: &str| labels.get(name).map(String::as_str);
    if label(FLEET)? != local.fleet.as_str() || label(HOST)? != local.host.as_str() {
        return None;
    }
    let pairs = |name: &str| {
        let text = label(name).unwrap_or_default();
        text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let port = |part: String| {
        part.split_once('=').and_then(|(name, port)| Some((name.to_owned(), port.parse().ok()?)))
    };
    let gpu = |part: String| match part.split_once('=') {
        Some((uuid, memory)) => GpuClaim { uuid: uuid.to_owned(), memory: memory.parse().ok() },
        None => GpuClaim { uuid: part, memory: None },
    };
    Some(Identity {
        instance: label(INSTANCE)?.to_owned(),
        slot: label(SLOT)?.parse().ok()?,
        release: label(RELEASE_DIGEST)?.parse().ok()?,
        content: label(CONTENT_DIGEST)?.parse().ok()?,
        counter: label(RELEASE)?.parse().ok()?,
        generation: label(GENERATION).map_or(Some(0), |text| text.parse().ok())?,
        side: label(SIDE)?.parse().ok()?,
        ports: pairs(PORTS).into_iter().filter_map(port).collect(),
        gpus: pairs(GPUS).into_iter().map(gpu).collect(),
        plan: label(PLAN).and_then(|number| number.parse().ok()),
    })
}
