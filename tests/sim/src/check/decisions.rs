//! Checks of the coordinator's decisions, whenever it stored something.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::host::Liveness;
use windlass_core::plan::Phase;
use windlass_core::rollout::State;
use windlass_core::service::{Mode, Service};
use windlass_core::slot::Slot;
use windlass_core::traffic::Weight;
use windlass_core::{HostId, ServiceId, SlotId, Timestamp};
use windlass_server::embedded::View;

use super::lanes::failed_gate;
use super::{Checks, Known, Outage};
use crate::host::Host;
use crate::shop::Shop;

/// The number of instances of a service that no rollout moves.
fn in_range(view: &View<'_>, service: &Service) -> u32 {
    let release = service.current.and_then(|current| view.releases().get(&current.digest));
    release.and_then(|release| service.replicas_for(release)).unwrap_or(service.replicas)
}

impl Checks {
    /// Takes over what is stored, and compares it with what was.
    pub fn decided(&mut self, view: &View<'_>, hosts: &[Host], now: Timestamp) {
        for host in hosts {
            let plan = (host.name.clone(), view.issued(&host.name));
            self.made.entry(plan).or_insert(now);
        }
        for (id, service) in view.services() {
            let slots = view.slots().get(id).cloned().unwrap_or_default();
            let active = view.active(id);
            let mut excused: BTreeSet<HostId> = active.map(|r| r.stragglers.clone()).unwrap_or_default();
            let on: BTreeSet<&HostId> = slots.values().map(|assignment| assignment.host()).collect();
            excused.extend(on.into_iter().filter(|host| view.liveness(host, now) == Liveness::Lost).cloned());
            let per_host = service.replicas == 0;
            let wanted = match service.mode {
                Mode::Stopped | Mode::Removed => 0,
                Mode::Running if per_host => slots.len(),
                // A count that was gone back to is no reason to leave what was signed.
                Mode::Running if active.is_none() => in_range(view, service) as usize,
                Mode::Running => service.replicas as usize,
            };
            for (slot, assignment) in &slots {
                let runs = [Some(assignment.run()), assignment.other().map(|other| other.run)];
                if service.mode != Mode::Running {
                    self.told.insert(slot.clone());
                } else if runs.contains(&Some(Phase::Running)) {
                    self.told.remove(slot);
                }
            }
            let known = self.services.entry(id.clone()).or_default();
            let moved = slots
                .iter()
                .find(|(slot, new)| known.slots.get(*slot).is_some_and(|old| old.host() != new.host()));
            let gone = known
                .slots
                .iter()
                .filter(|(slot, old)| !slots.contains_key(*slot) && view.scheduling(old.host()).is_none());
            let gone: Vec<SlotId> = gone.map(|(slot, _)| slot.clone()).collect();
            // The person who evicts a host answers for the slots that are missing then.
            for (_, outage) in
                self.outages.entry(id.clone()).or_default().iter_mut().filter(|(slot, _)| gone.contains(slot))
            {
                *outage = Outage::World;
            }
            // So they do for what has given way to it, and stops when its host hears of that.
            if !gone.is_empty() {
                let of_it = self.serving.iter().filter(|slot| &slot.service == id);
                self.told.extend(of_it.filter(|slot| !slots.contains_key(*slot)).cloned());
            }
            self.orphans.extend(gone);
            // A coordinator that was set back to before its host was evicted knows it again.
            self.orphans.retain(|slot| !slots.contains_key(slot));
            // A surplus slot goes, and that is on the account of the person who asked for fewer, also where more are asked for
            // soon.
            if active.is_none() && slots.len() >= wanted {
                let before = &known.slots;
                let moves = |slot: &SlotId| before.values().any(|other| other.stands_in_for() == Some(slot));
                let gone = before.keys().filter(|slot| !slots.contains_key(*slot) && !moves(slot));
                self.told.extend(gone.cloned());
            }
            // A set of which a rollout has let go has no requests: that it stops is the doing of whoever deployed the next one.
            let runs_beside = |old: &Slot| {
                view.releases().get(&old.release()).is_some_and(|release| release.spec.runs_beside())
            };
            // So it is on the way back, once the old set has every request again.
            let is_let_go = |old: &Slot| {
                let goes_back = active.is_some_and(|rollout| {
                    rollout.state == State::RollingBack && rollout.to.digest == old.release()
                });
                let split = service.split.as_ref();
                goes_back && split.is_some_and(|split| split.share(&old.release()) == Weight::NONE)
            };
            let has_left = |old: &Slot| {
                let is_of_rollout = active.is_none_or(|rollout| {
                    [Some(rollout.to), rollout.from].iter().flatten().any(|of| of.digest == old.release())
                });
                (!is_of_rollout || is_let_go(old))
                    && !old.is_good()
                    && old.other().is_none()
                    && runs_beside(old)
            };
            let left = known.slots.iter().filter(|(slot, old)| !slots.contains_key(*slot) && has_left(old));
            self.told.extend(left.map(|(slot, _)| slot.clone()));
            let moved = moved.map(|(slot, _)| format!("{slot} moved to another host"));
            *known = Known { slots, wanted, excused };
            moved.into_iter().for_each(|line| self.fail(line));
        }
        self.check_rollouts(view);
        self.check_shares(view);
        self.check_gates(view);
        self.check_confirmed(view, hosts, now);
        self.check_soaks(view, now);
        if self.is_routed {
            self.check_lanes(view, hosts, now);
            self.decide_stops(view, hosts, now);
        }
    }

    /// The share of a release that is left only falls.
    fn check_shares(&mut self, view: &View<'_>) {
        for (id, service) in view.services() {
            let Some(back) = view.active(id).filter(|rollout| rollout.state == State::RollingBack) else {
                continue;
            };
            let split = service.split.as_ref().filter(|split| split.new == back.to.digest);
            let share = split.map_or(Weight::NONE, |split| split.weight);
            let before = self.shares.insert(back.id.clone(), share);
            if let Some(before) = before.filter(|before| *before < share) {
                let line =
                    format!("rollout {} goes back, and its share rose from {before} to {share}", back.id);
                self.fail(line);
            }
        }
    }

    /// A rollout of which a gate has failed at its step does not go on.
    fn check_gates(&mut self, view: &View<'_>) {
        let goes_on = |state: State| matches!(state, State::Advancing | State::Soaking | State::Succeeded);
        let of_failed =
            view.rollouts().values().filter(|rollout| goes_on(rollout.state)).find_map(|rollout| {
                let name = failed_gate(rollout, view.releases().get(&rollout.to.digest)?)?;
                let state = rollout.state.as_str();
                Some(format!("rollout {} is {state} although gate `{name}` failed", rollout.id))
            });
        of_failed.into_iter().for_each(|line| self.fail(line));
    }

    /// A rollout that has ended stays as it is.
    fn check_rollouts(&mut self, view: &View<'_>) {
        for (id, rollout) in view.rollouts() {
            match self.ended.get(id) {
                Some(before) if before != rollout => {
                    let line = format!("rollout {id} had ended as {} and changed", before.state.as_str());
                    self.fail(line);
                }
                None if rollout.state.is_final() => drop(self.ended.insert(id.clone(), rollout.clone())),
                Some(_) | None => {}
            }
        }
        let active = view.services().values().filter_map(|service| service.rollout.as_ref());
        let gone =
            active.filter(|id| view.rollouts().get(*id).is_none_or(|rollout| rollout.state.is_final()));
        if let Some(id) = gone.into_iter().next() {
            let line = format!("a service names rollout {id} as its active one, which is none");
            self.fail(line);
        }
    }

    /// The number of ended rollouts by end.
    pub fn ends(&self) -> BTreeMap<&'static str, usize> {
        let mut ends = BTreeMap::new();
        for rollout in self.ended.values() {
            *ends.entry(rollout.state.as_str()).or_insert(0) += 1;
        }
        ends
    }
}

/// The number of instances of each service that may be without a serving one, as the coordinator sees it now.
pub fn allowed(view: &View<'_>, shop: &Shop) -> BTreeMap<ServiceId, u32> {
    let mut all = BTreeMap::new();
    for (id, service) in view.services() {
        let total = view.slots().get(id).map_or(0, BTreeMap::len);
        let release = view.active(id).map(|rollout| rollout.to).or(service.current);
        // A service that was never good has no minimum: where its first release fails, everything stops.
        let most = match (release, service.last_good()) {
            _ if service.mode != Mode::Running => u32::MAX,
            (Some(release), Some(_)) => shop.allowed(&release.digest, total),
            (_, None) => u32::MAX,
            (None, Some(_)) => 1,
        };
        all.insert(id.clone(), most);
    }
    all
}
