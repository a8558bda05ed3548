//! The status of services, as `status` shows it: their instances, hosts, releases and health.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::fleet::Fleet;
use crate::host::{HostStats, Liveness};
use crate::id::{Counter, HostId, SlotId};
use crate::observation::{Instance, InstanceState, SlotStatus};
use crate::rollout::{Rollout, Waiting};
use crate::service::{Mode, Releases, Service, Slots};
use crate::slot::{Limits, Slot};

use super::condition;
use super::trouble::{self, Problem, Trouble};

mod document;
mod instance;
mod serving;
mod shares;
mod why;

pub use document::{HostProblems, StatusView, WatchView};
pub use instance::InstanceView;
pub(super) use serving::Healthy;
pub use shares::SharesView;
pub(super) use shares::alone;

/// Shows a service.
pub fn status(
    service: &Service,
    slots: &Slots,
    rollout: Option<&Rollout>,
    releases: &Releases,
    fleet: &dyn Fleet,
    stats: &BTreeMap<HostId, Arc<HostStats>>,
    waiting: &[Waiting],
) -> StatusView {
    let mut instances = Vec::new();
    for (slot, assignment) in slots {
        let member = fleet.member(assignment.host());
        let liveness = member.map_or(Liveness::Lost, |m| m.liveness);
        let seen = member.and_then(|m| m.observation.as_deref()).and_then(|o| o.slot(slot));
        let doubt = trouble::doubt(member);
        let as_of = member.filter(|m| m.liveness != Liveness::Connected).and_then(|m| m.last_seen);
        // A reason about an older release says nothing of this one.
        let current = seen.filter(|seen| seen.release.as_ref() == Some(&assignment.release()));
        let refused = current.and_then(|seen| match &seen.status {
            SlotStatus::Refused(refusal) => Some(refusal.clone()),
            SlotStatus::Converging | SlotStatus::Settled | SlotStatus::Failed { .. } => None,
        });
        let of = |instance: &Instance| InstanceView {
            instance: instance.id.clone(),
            id: instance.id.clone(),
            slot: slot.clone(),
            host: assignment.host().clone(),
            state: instance.state,
            since: Some(instance.since),
            release: instance.counter,
            // A container that does not run answers nowhere, and uses nothing.
            endpoints: if instance.state.is_running() { instance.endpoints.clone() } else { BTreeMap::new() },
            started_at: instance.vitals.started_at,
            restarts: instance.restarts,
            last_exit: instance.vitals.last_exit,
            not_ready: instance.vitals.not_ready.clone(),
            container: instance.container.clone(),
            host_state: liveness,
            doubt: doubt.clone(),
            as_of,
            refused: None,
            cpu_percent: None,
            memory_used: None,
            gpus: assignment.devices_of(&instance.release).to_vec(),
            memory_limit: None,
            throttled_percent: None,
            probe: None,
        };
        let mut here: Vec<InstanceView> =
            seen.map(|seen| seen.instances.iter().map(of).collect()).unwrap_or_default();
        for instance in here.iter_mut().filter(|instance| instance.state.is_running()) {
            let used = stats
                .get(assignment.host())
                .and_then(|s| s.instances.iter().find(|i| i.instance == instance.id));
            instance.measured(used);
        }
        here.sort_by_key(|instance| instance.state != InstanceState::Healthy);
        let wanted = assignment.run().runs();
        let placeholder = |state| InstanceView {
            instance: String::new(),
            id: String::new(),
            slot: slot.clone(),
            host: assignment.host().clone(),
            state,
            since: None,
            release: counter(releases, &assignment.release()),
            endpoints: BTreeMap::new(),
            started_at: None,
            restarts: 0,
            last_exit: None,
            not_ready: None,
            container: None,
            host_state: liveness,
            doubt: doubt.clone(),
            as_of,
            refused: refused.clone(),
            cpu_percent: None,
            memory_used: None,
            gpus: assignment.target().gpus.clone(),
            memory_limit: None,
            throttled_percent: None,
            probe: None,
        };
        if refused.is_some() {
            here.push(placeholder(InstanceState::Refused));
        } else if here.is_empty() && wanted {
            here.push(placeholder(match seen {
                None => InstanceState::Unknown,
                Some(seen) if seen.pulled => InstanceState::Starting,
                Some(_) => InstanceState::Pulling,
            }));
        }
        instances.extend(here);
    }
    let counted = Healthy::of(service, slots, fleet);
    let conditions = condition::of_service(slots, fleet);
    let loops = conditions.iter().any(|condition| condition.code == "crash_loop");
    let current = service.current;
    let replicas = replicas(service, releases);
    let wanted = wanted(service, slots, replicas, releases);
    let healthy: u32 = counted.members.values().sum();
    let runs = instances.iter().any(|i| i.state.is_running() && i.host_state != Liveness::Lost);
    let at_rest = match service.mode {
        Mode::Removed => "removing",
        Mode::Stopped if runs => "stopping",
        Mode::Stopped => "stopped",
        Mode::Running if healthy < wanted || loops => "degraded",
        Mode::Running => "steady",
    };
    let terminating: BTreeMap<HostId, Liveness> =
        service.leaving.iter().map(|host| (host.clone(), liveness(fleet, host))).collect();
    let problems = problems(slots, fleet, stats);
    StatusView {
        service: service.id.name.clone(),
        environment: service.id.environment.clone(),
        release: current.map(|current| current.counter),
        image: current.and_then(|c| releases.get(&c.digest)).map(|r| r.spec.image.reference.clone()),
        good: service.last_good().map(|good| good.counter),
        rollout: service.rollout.clone(),
        state: rollout
            .filter(|rollout| !rollout.state.is_final())
            .map_or(at_rest, |rollout| rollout.state.as_str())
            .to_owned(),
        replicas,
        leaving: terminating.clone(),
        terminating,
        waiting: waiting.iter().map(ToString::to_string).collect(),
        desired: wanted,
        minimum: minimum(service, wanted, releases),
        wanted,
        available: available(slots, fleet).min(one_set(service, releases).unwrap_or(u32::MAX)),
        healthy,
        unknown: unknown(&instances),
        in_doubt: unknown(&instances),
        reason: rollout.and_then(|rollout| rollout.reason.as_ref()).map(ToString::to_string),
        ended: None,
        traffic: SharesView::of(service, slots, releases, fleet),
        watch: service.watch.as_ref().map(|watch| WatchView {
            release: watch.release.counter,
            until: watch.until,
            back_to: watch.from.counter,
        }),
        conditions,
        restarts: instances.iter().fold(0, |sum, instance| sum.saturating_add(instance.restarts)),
        host_conditions: problems.iter().flat_map(|of| trouble::conditions(&of.host, &of.problems)).collect(),
        problems,
        serving: counted.serving(),
        instances,
    }
}

fn unknown(instances: &[InstanceView]) -> u32 {
    let counts = |i: &&InstanceView| i.state == InstanceState::Healthy && i.doubt.is_some();
    u32::try_from(instances.iter().filter(counts).count()).unwrap_or(u32::MAX)
}

/// Of every host that has a slot; what is said of slots of other services is left out.
fn problems(slots: &Slots, fleet: &dyn Fleet, stats: &BTreeMap<HostId, Arc<HostStats>>) -> Vec<HostProblems> {
    let mut hosts: BTreeMap<&HostId, Vec<&SlotId>> = BTreeMap::new();
    slots.iter().for_each(|(slot, assignment)| hosts.entry(assignment.host()).or_default().push(slot));
    let of = |host: &HostId, here: &[&SlotId]| -> Vec<Problem> {
        let Some(member) = fleet.member(host) else { return Vec::new() };
        let mut found = trouble::of(member, stats.get(host).map(|stats| &**stats));
        // Refusals of slots of other services are theirs, and so is a part of the plan that changed for them.
        let is_behind = |has: u64| here.iter().any(|slot| has < member.part_since(slot));
        let is_other = |trouble: &Trouble| {
            matches!(trouble, Trouble::SlotRefused { slot, .. } if !slots.contains_key(slot))
                || matches!(trouble, Trouble::PlanNotTaken { has, .. } if !is_behind(*has))
        };
        found.retain(|problem| !is_other(&problem.trouble));
        found
    };
    let shown =
        hosts.into_iter().map(|(host, here)| HostProblems { host: host.clone(), problems: of(host, &here) });
    shown.filter(|shown| !shown.problems.is_empty()).collect()
}

fn liveness(fleet: &dyn Fleet, host: &HostId) -> Liveness {
    fleet.member(host).map_or(Liveness::Lost, |member| member.liveness)
}

/// The count, while no rollout moves the service and it is at a good release.
fn replicas(service: &Service, releases: &Releases) -> Option<u32> {
    let settled = service.rollout.is_none() && service.last_good() == service.current;
    let release = service.current.filter(|_| settled).and_then(|current| releases.get(&current.digest));
    release.and_then(|release| service.replicas_for(release))
}

/// The count, or as many slots as there are. A slot that stands in for another one does not count twice, and neither does one of
/// the two releases that share the traffic.
fn wanted(service: &Service, slots: &Slots, replicas: Option<u32>, releases: &Releases) -> u32 {
    if let Some(count) = one_set(service, releases) {
        return count;
    }
    let pairs = slots.values().filter(|assignment| assignment.stands_in_for().is_some()).count();
    let others = slots.values().filter(|slot| slot.is_leaving() || slot.is_kept()).count();
    let slots = u32::try_from(slots.len() - pairs - others).unwrap_or(u32::MAX);
    match replicas {
        Some(count) if service.mode == Mode::Running => count.max(slots),
        Some(_) | None => slots,
    }
}

/// The instances that are to serve whatever moves the service.
fn minimum(service: &Service, wanted: u32, releases: &Releases) -> u32 {
    let release = service.current.and_then(|current| releases.get(&current.digest));
    let promised = release.filter(|_| service.mode == Mode::Running && service.last_good().is_some());
    promised.map_or(0, |release| Limits::of(&release.spec.strategy, false, wanted, 0).minimum(wanted))
}

/// The instances of one of two sets that stand beside each other, or may.
fn one_set(service: &Service, releases: &Releases) -> Option<u32> {
    let two = service.split.is_some() || service.rollout.is_some();
    let release = service.current.filter(|_| two).and_then(|current| releases.get(&current.digest))?;
    service.replicas_for(release).filter(|_| release.spec.runs_beside())
}

/// Slots whose instance of the release they are to have is available, as far as is known.
fn available(slots: &Slots, fleet: &dyn Fleet) -> u32 {
    let is_available = |(slot, assignment): &(&SlotId, &Slot)| {
        let member = fleet.member(assignment.host()).filter(|m| m.liveness != Liveness::Lost);
        let seen = member.and_then(|m| m.observation.as_deref()).and_then(|o| o.slot(slot));
        let want = assignment.target();
        let instance = seen.and_then(|seen| seen.current_of(&want.release, want.generation));
        instance.is_some_and(|i| i.available && i.state == InstanceState::Healthy)
    };
    let members = slots.iter().filter(|(_, slot)| !slot.is_kept());
    u32::try_from(members.filter(is_available).count()).unwrap_or(u32::MAX)
}

fn counter(releases: &Releases, digest: &Digest) -> Counter {
    releases.get(digest).map_or(Counter(0), |release| release.counter)
}
