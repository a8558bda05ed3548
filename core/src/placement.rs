//! Which host gets a slot, and in which order a slot's two instances go.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::capacity::{NoRoom, Taken, memory_limit};
use crate::fleet::{FleetView, Member, Scheduling};
use crate::host::Liveness;
use crate::id::HostId;
use crate::plan::Order;
use crate::policy;
use crate::release::{OrderRule, Release, Spec, Spread, Strategy};

/// Why a host does not get a slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not there.
    #[error("the host is {}", .0.as_str())]
    NotConnected(Liveness),
    /// A person said no.
    #[error("the host is {}", .0.as_str())]
    NotScheduling(Scheduling),
    /// The release's placement does not name it.
    #[error("its labels do not match the placement")]
    Labels,
    /// Another platform.
    #[error("its platform is {0}, the image's is {1}")]
    Platform(String, String),
    /// The host's own policy.
    #[error("host policy: {0}")]
    Policy(String),
    /// Not enough of something.
    #[error("no room: {0}")]
    NoRoom(NoRoom),
}

/// May `release` run on the host at all? Room is not asked for.
pub fn eligible(host: &HostId, member: &Member, release: &Release) -> Result<(), Unfit> {
    if !release.spec.placement.allows(host, &member.facts.labels) {
        return Err(Unfit::Labels);
    }
    let platform = &release.spec.image.platform;
    if !member.facts.platform.is_empty() && &member.facts.platform != platform {
        return Err(Unfit::Platform(member.facts.platform.clone(), platform.clone()));
    }
    let violations = policy::check(&member.facts.policy, &member.facts, release);
    if violations.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
    Err(Unfit::Policy(texts.join("; ")))
}

/// May the host get a new slot of `release` now, beside `taken`? Answers with the GPUs it would get.
pub fn accepts(
    host: &HostId,
    member: &Member,
    release: &Release,
    taken: &Taken,
) -> Result<Vec<String>, Unfit> {
    eligible(host, member, release)?;
    if member.scheduling != Scheduling::Ready {
        return Err(Unfit::NotScheduling(member.scheduling));
    }
    if member.liveness != Liveness::Connected {
        return Err(Unfit::NotConnected(member.liveness));
    }
    taken.fit(&member.facts, &release.spec).map_err(Unfit::NoRoom)
}

/// Chooses a host for one more slot. `taken` is what each host has reserved, this service's slots
/// included; `own` counts this service's slots per host.
///
/// # Errors
/// Says of every host why it is not chosen.
pub fn choose(
    fleet: &FleetView,
    release: &Release,
    taken: &BTreeMap<HostId, Taken>,
    own: &BTreeMap<HostId, u32>,
) -> Result<(HostId, Vec<String>), BTreeMap<HostId, Unfit>> {
    let mut refused = BTreeMap::new();
    let mut fitting = Vec::new();
    let nothing = Taken::default();
    for (host, member) in &fleet.members {
        let taken = taken.get(host).unwrap_or(&nothing);
        match accepts(host, member, release, taken) {
            Ok(gpus) => {
                let count = own.get(host).copied().unwrap_or(0);
                let load = taken.memory.saturating_mul(1000) / memory_limit(&member.facts).max(1);
                fitting.push((host, count, load, gpus));
            }
            Err(unfit) => {
                refused.insert(host.clone(), unfit);
            }
        }
    }
    let best = match release.spec.placement.spread {
        Spread::Host => {
            fitting.into_iter().min_by_key(|(host, count, load, _)| (*count, *load, (*host).clone()))
        }
        Spread::Pack => fitting
            .into_iter()
            .min_by_key(|(host, count, load, _)| (Reverse(*count), Reverse(*load), (*host).clone())),
    };
    best.map(|(host, _, _, gpus)| (host.clone(), gpus)).ok_or(refused)
}

/// Why a slot's old instance stops before the new one starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopFirst {
    /// The manifest says so.
    #[error("the manifest says so")]
    Asked,
    /// The strategy is `recreate`.
    #[error("the strategy is recreate")]
    Recreate,
    /// `max_surge` is 0.
    #[error("max_surge is 0")]
    NoSurge,
    /// Both want the same port of the host.
    #[error("port {0} of the host is fixed")]
    FixedPort(u16),
    /// Both would write to the same volume.
    #[error("volume `{0}` can only be written by one")]
    Volume(String),
    /// The host cannot hold both.
    #[error("no room for both: {0}")]
    NoRoom(NoRoom),
}

/// Which of the two instances goes first where `spec` replaces something, on a host that has `taken`
/// reserved (the running instance included)?
///
/// # Errors
/// The reason for stop-first; `Ok` is start-first.
pub fn start_first(spec: &Spec, member: Option<&Member>, taken: &Taken) -> Result<(), StopFirst> {
    let rule = match &spec.strategy {
        Strategy::Recreate { .. } => return Err(StopFirst::Recreate),
        Strategy::Rolling { order: OrderRule::StopFirst, .. } => return Err(StopFirst::Asked),
        Strategy::Rolling { max_surge, .. } if max_surge.of_up(100) == 0 => return Err(StopFirst::NoSurge),
        Strategy::Rolling { order, .. } => *order,
    };
    if let Some(port) = spec.ports.values().find_map(|port| port.host) {
        return Err(StopFirst::FixedPort(port));
    }
    if rule == OrderRule::StartFirst {
        return Ok(());
    }
    if let Some((name, _)) = spec.volumes.iter().find(|(_, volume)| !volume.read_only) {
        return Err(StopFirst::Volume(name.clone()));
    }
    let Some(member) = member else { return Ok(()) };
    taken.fit(&member.facts, spec).map(|_| ()).map_err(StopFirst::NoRoom)
}

/// As [`start_first`], as a plan writes it.
pub fn order(spec: &Spec, member: Option<&Member>, taken: &Taken) -> Order {
    match start_first(spec, member, taken) {
        Ok(()) => Order::StartFirst,
        Err(_) => Order::StopFirst,
    }
}
