//! The preview of a release: `plan`. Made by the same placement and engine that a rollout uses.

mod course;
mod hooks;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::diff::{Change, diff};
use crate::digest::Digest;
use crate::fleet::{FleetView, Scheduling};
use crate::id::{Counter, EnvironmentId, HostId, ServiceName, SlotId};
use crate::placement;
use crate::plan::Order;
use crate::release::{Release, Scale};
use crate::rollout::ending::may_be_kept;
use crate::rollout::{self, Chosen, Kind, Rollout, Snapshot, State, Target, What};
use crate::service::{ReleaseRef, Releases, Service, Slots};
use crate::slot::{self, Slot};
use crate::time::Timestamp;

use super::condition::ConditionView;
use super::status::HostProblems;
use super::trouble::{self, Problem, Trouble};

/// The preview of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PreviewView {
    /// The service's name.
    pub service: ServiceName,
    /// The service's environment.
    pub environment: EnvironmentId,
    /// The release it would become.
    pub release: Counter,
    /// The release it is at.
    pub current: Option<Counter>,
    /// Whether nothing is to be done.
    pub unchanged: bool,
    /// Slots and what happens to them.
    pub slots: Vec<PlannedSlot>,
    /// Steps of the rollout in order, in words; none where it only replaces instances in batches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// Hosts that do not get a slot, and why.
    pub refused: Vec<RefusedHost>,
    /// Fields that differ from the current release.
    pub changes: Vec<Change>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// The faults of the hosts that get an instance. The digest does not cover them: they come and go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_conditions: Vec<ConditionView>,
    /// `host_conditions`, as version 0.1 prints them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("deprecated" = true))]
    pub problems: Vec<HostProblems>,
    /// Why it cannot be done, if it cannot.
    pub error: Option<String>,
    /// Digest of all of the above, so that `deploy --plan` applies only what was seen.
    pub digest: Digest,
}

/// A slot and what happens to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedSlot {
    /// The slot.
    pub slot: SlotId,
    /// Its host.
    pub host: HostId,
    /// Its change.
    pub action: Action,
    /// Which of its instances goes first, where one is replaced.
    pub order: Option<Order>,
    /// Why it is stop-first, why it is made beside one that runs on, or until when it runs on.
    pub reason: Option<String>,
    /// GPUs that its new instance holds, by UUID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
}

/// The change of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Create,
    /// Its instance is replaced.
    Replace,
    /// It goes.
    Remove,
    /// It stays as it is.
    Keep,
}

/// A host that does not get a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RefusedHost {
    /// Which.
    pub host: HostId,
    /// Why.
    pub reason: String,
}

/// Says what `release`, whose payload has `digest`, would do.
pub fn preview(
    service: &Service,
    slots: &Slots,
    releases: &Releases,
    fleet: &FleetView,
    release: &Release,
    digest: Digest,
    now: Timestamp,
) -> PreviewView {
    let to = ReleaseRef::of(release, digest);
    let current = service.current.and_then(|current| releases.get(&current.digest));
    let unchanged = service.is_at(&to);
    let mut view = PreviewView {
        service: service.id.name.clone(),
        environment: service.id.environment.clone(),
        release: release.counter,
        current: service.current.map(|current| current.counter),
        unchanged,
        slots: Vec::new(),
        steps: Vec::new(),
        refused: Vec::new(),
        changes: current.map(|current| diff(current, release)).unwrap_or_default(),
        warnings: Vec::new(),
        host_conditions: Vec::new(),
        problems: Vec::new(),
        error: None,
        digest: Digest::of(b""),
    };
    if unchanged {
        let keeps = |(id, slot): (&SlotId, &Slot)| PlannedSlot {
            gpus: slot.target().gpus.clone(),
            ..planned(id, slot.host(), Action::Keep)
        };
        view.slots = slots.iter().map(keeps).collect();
    } else {
        place(&mut view, service, slots, releases, fleet, release, to, now);
        let stays = view.slots.iter().filter(|slot| slot.action != Action::Remove).count();
        let replaces = view.slots.iter().any(|slot| matches!(slot.action, Action::Replace | Action::Remove));
        if view.error.is_none() {
            view.steps = course::steps(&release.spec, u32::try_from(stays).unwrap_or(u32::MAX), replaces);
        }
    }
    for (host, member) in &fleet.members {
        let stays = |planned: &PlannedSlot| &planned.host == host && planned.action != Action::Remove;
        let has = view.slots.iter().any(stays);
        if let (false, Err(why)) = (has, placement::accepts(host, member, release, &member.taken)) {
            view.refused.push(RefusedHost { host: host.clone(), reason: why.to_string() });
        }
    }
    if let Some(warm) = warm(service, slots, releases).filter(|_| !unchanged && view.error.is_none()) {
        let end =
            format!("the warm instances of {warm} end for it, and with them the quick way back to {warm}");
        view.warnings.push(end);
    }
    if let Some(active) = &service.rollout {
        view.warnings.push(format!("rollout {active} is active; `deploy` needs --supersede"));
    }
    if service.held.contains(&to.content) {
        view.warnings.push("a person rolled back from this content before".to_owned());
    }
    view.problems = problems(&view, fleet);
    let of_each = view.problems.iter().flat_map(|of| trouble::conditions(&of.host, &of.problems));
    view.host_conditions = of_each.collect();
    view.seal();
    view
}

/// Problems of the hosts that get an instance, as far as they hinder one.
fn problems(view: &PreviewView, fleet: &FleetView) -> Vec<HostProblems> {
    let starts = |slot: &&PlannedSlot| matches!(slot.action, Action::Create | Action::Replace);
    let hosts: BTreeSet<&HostId> = view.slots.iter().filter(starts).map(|slot| &slot.host).collect();
    let hinders = |problem: &Problem| {
        let passes = matches!(problem.trouble, Trouble::PlanNotTaken { .. } | Trouble::NothingReported);
        !passes && !matches!(problem.trouble, Trouble::SlotRefused { .. } | Trouble::Cordoned)
    };
    let of = |host: &HostId| -> Vec<Problem> {
        let found = fleet.members.get(host).map(|member| trouble::of(member, None)).unwrap_or_default();
        found.into_iter().filter(hinders).collect()
    };
    let shown = hosts.into_iter().map(|host| HostProblems { host: host.clone(), problems: of(host) });
    shown.filter(|shown| !shown.problems.is_empty()).collect()
}

impl PreviewView {
    /// Notes why it cannot be done, unless a reason is known already or there is nothing to do.
    #[must_use]
    pub fn refuse(mut self, why: impl FnOnce(&Self) -> Option<String>) -> Self {
        if !self.unchanged && self.error.is_none() {
            self.error = why(&self);
            self.seal();
        }
        self
    }

    fn seal(&mut self) {
        self.digest = Digest::of(b"");
        let problems = std::mem::take(&mut self.problems);
        let conditions = std::mem::take(&mut self.host_conditions);
        let bytes = serde_json::to_vec(self).expect("a view has string keys, so it is JSON");
        (self.digest, self.problems, self.host_conditions) = (Digest::of(&bytes), problems, conditions);
    }
}

fn planned(slot: &SlotId, host: &HostId, action: Action) -> PlannedSlot {
    PlannedSlot {
        slot: slot.clone(),
        host: host.clone(),
        action,
        order: None,
        reason: None,
        gpus: Vec::new(),
    }
}

#[expect(clippy::too_many_arguments, reason = "one call, and each is a part of the snapshot")]
fn place(
    view: &mut PreviewView,
    service: &Service,
    slots: &Slots,
    releases: &Releases,
    fleet: &FleetView,
    release: &Release,
    to: ReleaseRef,
    now: Timestamp,
) {
    let mut releases = releases.clone();
    releases.insert(to.digest, release.clone());
    let target = Target {
        release: to,
        kind: Kind::Deploy,
        actor: String::new(),
        supersede: true,
        retry_quarantined: false,
    };
    let id = "00000000".parse().expect("eight zeros are a rollout id");
    let Ok((service, rollout, _)) = rollout::start(service, None, target, id, now) else { return };
    let mut slots_now = slots.clone();
    let (mut service, mut rollout) = (service, rollout);
    let mut instead: BTreeMap<SlotId, String> = BTreeMap::new();
    // The same steps as the engine's; a large service takes several to place.
    for _ in 0..1000 {
        let snapshot = Snapshot {
            service: &service,
            slots: &slots_now,
            rollout: Some(&rollout),
            releases: &releases,
            fleet,
            now,
        };
        let next = rollout::place_only(&snapshot);
        let placed = next.rollout.as_ref().is_some_and(|r| r.state != State::Pending);
        if !placed && next.touched.is_empty() {
            // A rollout would wait; a preview says so.
            let waits: Vec<String> = next.waiting.iter().map(ToString::to_string).collect();
            view.warnings.push(format!("waits for {}", waits.join(", ")));
            break;
        }
        (service, slots_now) = (next.service, next.slots);
        if let Some(next) = next.rollout {
            instead.extend(elsewhere(&next));
            rollout = next;
        }
        if placed {
            break;
        }
    }
    if rollout.state == State::RollingBack {
        view.error = rollout.reason.as_ref().map(ToString::to_string);
        return;
    }
    let gone = slots.iter().filter(|(id, _)| !slots_now.contains_key(*id));
    view.slots.extend(gone.map(|(id, slot)| planned(id, slot.host(), Action::Remove)));
    let placed = Snapshot {
        service: &service,
        slots: &slots_now,
        rollout: Some(&rollout),
        releases: &releases,
        fleet,
        now,
    };
    let mut orders = rollout::orders(&placed, &release.spec);
    for (id, slot) in &slots_now {
        let host = slot.host();
        let moves = slot.release() == to.digest;
        let action = match (slots.contains_key(id), moves) {
            (false, _) => Action::Create,
            (true, false) => Action::Remove,
            (true, true) => Action::Replace,
        };
        let mut planned = planned(id, host, action);
        if moves {
            planned.gpus.clone_from(&slot.target().gpus);
        }
        planned.reason = match action {
            Action::Create => instead.remove(id),
            Action::Remove if release.spec.runs_beside() && slot.run().runs() => {
                let drains = fleet.members.get(host).is_some_and(|of| of.scheduling == Scheduling::Draining);
                let divided = service.split.as_ref().is_some_and(|split| split.names(&slot.release()));
                let single = release.spec.scale != Scale::PerHost;
                Some(runs_on(release, single && divided && may_be_kept(slot, &slots_now, drains)))
            }
            Action::Remove | Action::Replace | Action::Keep => None,
        };
        if let Some((order, why)) = orders.remove(id).filter(|_| moves) {
            planned.order = Some(order);
            planned.reason = why.or(planned.reason);
        }
        view.slots.push(planned);
    }
    view.slots.sort_by(|a, b| a.slot.cmp(&b.slot));
    let starts = |slot: &&PlannedSlot| matches!(slot.action, Action::Create | Action::Replace);
    let mut hosts: Vec<&HostId> = view.slots.iter().filter(starts).map(|slot| &slot.host).collect();
    hosts.dedup();
    view.warnings.extend(hooks::without_gpus(&hosts, slots, &releases, fleet, release));
}

/// The release that is kept warm for a quick way back.
fn warm(service: &Service, slots: &Slots, releases: &Releases) -> Option<Counter> {
    let split = service.split.as_ref().filter(|_| service.rollout.is_none())?;
    let warm = split.beside(&service.current?.digest)?;
    let runs = slots.values().any(|slot| slot::Intent::from(slot).has_run(&warm));
    releases.get(&warm).filter(|_| runs).map(|release| release.counter)
}

/// Slots that the newest step made on other hosts than those whose instances they stand beside, and why.
fn elsewhere(rollout: &Rollout) -> impl Iterator<Item = (SlotId, String)> {
    let placed = rollout.log.fresh().iter().flat_map(|decision| {
        let What::Placed { slots, .. } = &decision.what else { return [].as_slice() };
        slots.as_slice()
    });
    placed.filter_map(|placement| match &placement.because {
        Chosen::Best { instead: Some(instead), .. } => Some((placement.slot.clone(), instead.why.clone())),
        Chosen::Best { instead: None, .. } | Chosen::Kept | Chosen::PerHost => None,
    })
}

fn runs_on(release: &Release, is_kept: bool) -> String {
    let end = release
        .spec
        .keeps_old()
        .filter(|_| is_kept)
        .map(|keep| format!(", and without traffic for {keep} after that"));
    format!("runs on until the rollout is over{}", end.unwrap_or_default())
}
