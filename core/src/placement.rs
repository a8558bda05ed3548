//! The choice of a host for a slot, and the order of a slot's two instances.

mod filling;

use std::collections::BTreeMap;

use crate::capacity::{NoRoom, Taken};
use crate::fleet::{Fleet, Member, Scheduling};
use crate::host::{Gpu, HostFacts, Liveness};
use crate::id::HostId;
use crate::plan::PLAN_OF_GENERATIONS;
use crate::policy;
use crate::release::{OrderRule, Release, Spec};

pub use filling::{Filling, Place};

/// The reason for which a host does not get a slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not there.
    #[error("the host is {}", .0.as_str())]
    NotConnected(Liveness),
    /// A person said no.
    #[error("the host is {}", .0.as_str())]
    NotScheduling(Scheduling),
    /// Its containers are not known, see [`crate::recovery`].
    #[error("the host is recovering")]
    Recovering,
    /// The release's placement does not name it; what it asks for and what the host has.
    #[error("{0}")]
    Labels(String),
    /// Another platform.
    #[error("its platform is {0}, the image's is {1}")]
    Platform(String, String),
    /// Its agent does not know what is asked of it.
    #[error("its agent is too old for this release: upgrade it")]
    TooOld,
    /// Its release calls services by name, and no ingress answers there.
    #[error("no ingress: `uses` needs one on the host (`windlass-agent ingress`), and none has reported")]
    NoIngress,
    /// The host's own policy.
    #[error("host policy: {0}")]
    Policy(String),
    /// Not enough of something.
    #[error("no room: {0}")]
    NoRoom(NoRoom),
    /// A slot of the service is there already, and its named volume is written by one.
    #[error(
        "it has a slot of this service, which alone writes into volume `{0}`; `shared: true` at the volume lets several"
    )]
    Volume(String),
}

/// The labels that the placement asks for and the host has not.
fn labels(host: &HostId, member: &Member, release: &Release) -> String {
    let placement = &release.spec.placement;
    if !placement.hosts.is_empty() && !placement.hosts.contains(host) {
        return "`placement.hosts` does not name it".to_owned();
    }
    let has = &member.facts.labels;
    let lacks = placement.require.iter().filter(|(key, value)| has.get(*key) != Some(value));
    let told = lacks.map(|(key, value)| match has.get(key) {
        Some(other) => format!("`{key}={value}` is required, it has `{key}={other}`"),
        None => format!("`{key}={value}` is required, it has no label `{key}`"),
    });
    format!("its labels do not match the placement: {}", told.collect::<Vec<_>>().join("; "))
}

/// Checks that `release` may run on the host at all. Room is not checked.
pub fn eligible(host: &HostId, member: &Member, release: &Release) -> Result<(), Unfit> {
    if !release.spec.placement.allows(host, &member.facts.labels) {
        return Err(Unfit::Labels(labels(host, member, release)));
    }
    let platform = &release.spec.image.platform;
    if !member.facts.platform.is_empty() && &member.facts.platform != platform {
        return Err(Unfit::Platform(member.facts.platform.clone(), platform.clone()));
    }
    let known = &member.facts.plan_versions;
    if !member.facts.reads_release(release.version) {
        return Err(Unfit::TooOld);
    }
    if release.spec.exclusive && !known.is_empty() && !known.contains(&PLAN_OF_GENERATIONS) {
        return Err(Unfit::TooOld);
    }
    if !release.spec.uses.is_empty() && !member.has_ingress {
        return Err(Unfit::NoIngress);
    }
    let violations = policy::check(&member.facts.policy, &member.facts, release);
    if violations.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
    Err(Unfit::Policy(texts.join("; ")))
}

/// Returns the GPUs for a new slot of `release` on the host, or the reason why it gets none now, beside `taken`.
pub fn accepts(
    host: &HostId,
    member: &Member,
    release: &Release,
    taken: &Taken,
) -> Result<Vec<String>, Unfit> {
    open(host, member, release)?;
    taken.fit(&member.facts, &release.spec).map_err(Unfit::NoRoom)
}

/// Checks that the host may get a new slot of `release` now, if it has room.
fn open(host: &HostId, member: &Member, release: &Release) -> Result<(), Unfit> {
    eligible(host, member, release)?;
    if member.scheduling != Scheduling::Ready {
        return Err(Unfit::NotScheduling(member.scheduling));
    }
    if member.liveness != Liveness::Connected {
        return Err(Unfit::NotConnected(member.liveness));
    }
    if member.recovering {
        return Err(Unfit::Recovering);
    }
    Ok(())
}

/// The hosts that may get slots of one release: asked once, chosen from often.
#[derive(Debug)]
pub struct Candidates<'a> {
    release: &'a Release,
    hosts: Vec<(&'a HostId, &'a Member)>,
    refused: BTreeMap<HostId, Unfit>,
}

impl<'a> Candidates<'a> {
    /// Asks every host everything but whether it has room.
    pub fn of(fleet: &'a dyn Fleet, release: &'a Release) -> Self {
        let mut candidates = Self { release, hosts: Vec::new(), refused: BTreeMap::new() };
        for (host, member) in fleet.all() {
            match open(host, member, release) {
                Ok(()) => candidates.hosts.push((host, member)),
                Err(unfit) => drop(candidates.refused.insert(host.clone(), unfit)),
            }
        }
        candidates
    }

    /// The hosts that cannot take one more slot beside `taken`, and why.
    pub fn refusals<'b>(
        &'b self,
        taken: &'b BTreeMap<HostId, Taken>,
    ) -> impl Iterator<Item = (&'b HostId, Unfit)> {
        let full = self.hosts.iter().filter_map(move |(host, member)| {
            let taken = taken.get(*host).unwrap_or(&member.taken);
            let full = taken.fit(&member.facts, &self.release.spec).err()?;
            Some((*host, Unfit::NoRoom(full)))
        });
        self.refused.iter().map(|(host, why)| (host, why.clone())).chain(full)
    }

    /// Returns whether another answer may come soon: a host is not heard of yet, or not any more.
    pub fn are_undecided(&self) -> bool {
        let open =
            |unfit: &Unfit| matches!(unfit, Unfit::NotConnected(Liveness::Unknown | Liveness::Suspect));
        self.refused.values().any(open)
    }

    /// Begins to choose hosts, one slot after the other. `taken` is what hosts have reserved that have slots of this
    /// service, those included; `own` counts these slots per host. A named volume that one slot writes alone keeps others away;
    /// `fill_again` is for slots that stood there before.
    pub fn fill(&self, taken: &BTreeMap<HostId, Taken>, own: &BTreeMap<HostId, u32>) -> Filling<'_> {
        Filling::new(self, taken, own, self.release.spec.volume_of_one())
    }

    /// The same for slots that are made again: a rollback, or the place of an evicted host.
    pub fn fill_again(&self, taken: &BTreeMap<HostId, Taken>, own: &BTreeMap<HostId, u32>) -> Filling<'_> {
        Filling::new(self, taken, own, None)
    }
}

/// Chooses a host for one more slot of `release`. See [`Candidates::fill`].
///
/// # Errors
/// Says of every host why it is not chosen.
pub fn choose(
    fleet: &dyn Fleet,
    release: &Release,
    taken: &BTreeMap<HostId, Taken>,
    own: &BTreeMap<HostId, u32>,
) -> Result<(HostId, Vec<String>), BTreeMap<HostId, Unfit>> {
    let place = Candidates::of(fleet, release).fill(taken, own).next_place()?;
    Ok((place.host, place.gpus))
}

/// The reason for which a slot's old instance stops before the new one starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopFirst {
    /// The manifest says so.
    #[error("the manifest says so")]
    Asked,
    /// Two of it may never run at once.
    #[error("it is exclusive")]
    Exclusive,
    /// The strategy is `recreate`.
    #[error("the strategy is recreate")]
    Recreate,
    /// `max_surge` is 0.
    #[error("max_surge is 0")]
    NoSurge,
    /// Both want the same port of the host.
    #[error("port {0} of the host is fixed")]
    FixedPort(u16),
    /// It has its GPUs alone, and no others are free.
    #[error("its GPUs are exclusive, and no others are free")]
    ExclusiveGpus,
    /// Both would write to the same volume.
    #[error("volume `{0}` can only be written by one")]
    Volume(String),
    /// The host cannot hold both.
    #[error("no room for both: {0}")]
    NoRoom(NoRoom),
}

/// When the two instances run side by side, if what `spec` itself says does not forbid it.
fn rule(spec: &Spec) -> Result<OrderRule, StopFirst> {
    if spec.exclusive {
        return Err(StopFirst::Exclusive);
    }
    let pace = spec.strategy.pace().ok_or(StopFirst::Recreate)?;
    if pace.order == OrderRule::StopFirst {
        return Err(StopFirst::Asked);
    }
    if !pace.has_surge() {
        return Err(StopFirst::NoSurge);
    }
    let fixed = spec.ports.values().find_map(|port| port.host);
    fixed.map_or(Ok(pace.order), |port| Err(StopFirst::FixedPort(port)))
}

/// Decides the order of a slot's two instances where `spec`, with the devices `gpus`, replaces something on a host that
/// has `taken` reserved (the running instance included).
///
/// # Errors
/// The reason for stop-first; `Ok` is start-first.
pub fn start_first(
    spec: &Spec,
    member: Option<&Member>,
    taken: &Taken,
    gpus: &[String],
) -> Result<(), StopFirst> {
    let rule = rule(spec)?;
    let alone = spec.resources.gpus.is_some_and(|wish| wish.count > 0 && wish.memory.is_none());
    match member.map(|member| taken.fit_on_devices(&member.facts, spec, gpus)) {
        Some(Ok(())) => {}
        Some(Err(NoRoom::Gpus { .. } | NoRoom::NoGpu(_))) | None if alone => {
            return Err(StopFirst::ExclusiveGpus);
        }
        Some(Err(why)) => return Err(StopFirst::NoRoom(why)),
        None => {}
    }
    if rule == OrderRule::StartFirst {
        return Ok(());
    }
    let beside = spec.runs_beside();
    if let Some((name, _)) = spec.volumes.iter().find(|(_, volume)| !volume.read_only && !beside) {
        return Err(StopFirst::Volume(name.clone()));
    }
    let Some(member) = member else { return Ok(()) };
    taken.fit_processes(&member.facts, spec).map_err(StopFirst::NoRoom)
}

/// The devices for a new instance of `spec` where the slot has `held`: those if they are free and fit, with `beside` (what
/// the host has reserved, the running instance included) or else with `others` (without that one); and others of the host if
/// the two can only run side by side so, or those do not fit any more, or report errors and others do not.
///
/// # Errors
/// None of the host's fit.
pub fn devices(
    spec: &Spec,
    facts: &HostFacts,
    (beside, others): (&Taken, &Taken),
    held: &[String],
) -> Result<Vec<String>, NoRoom> {
    let wanted = spec.resources.gpus.map_or(0, |gpus| gpus.count as usize);
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let is_ill = |gpu: &Gpu| held.contains(&gpu.uuid) && !gpu.health.is_well();
    let stays = held.len() == wanted && !facts.gpus.iter().any(is_ill);
    let fit = |taken: &Taken| stays && taken.fit_on_devices(facts, spec, held).is_ok();
    if fit(beside) {
        return Ok(held.to_vec());
    }
    if rule(spec).is_ok()
        && let Ok(free) = beside.fit_gpus(facts, spec, held)
    {
        return Ok(free);
    }
    if fit(others) { Ok(held.to_vec()) } else { others.fit_gpus(facts, spec, held) }
}

#[cfg(test)]
mod tests;
