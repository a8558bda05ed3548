//! Traffic tables and the shares of releases: what stands in each new table, and what the coordinator stores of a service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windlass_core::gate::{GateCourse, GateState};
use windlass_core::release::Release;
use windlass_core::rollout::{Rollout, State};
use windlass_core::slot::Intent;
use windlass_core::traffic::{RoutedService, Split, Table, Weight};
use windlass_core::verify::Committed;
use windlass_core::{Digest, HostId, RolloutId, ServiceId, ServiceName, SlotId, Timestamp};
use windlass_server::embedded::View;

use super::routed::is_out_of_reach;
use super::{Checks, Exemption};
use crate::edge::Proxy;
use crate::host::Host;
use crate::strict::Oracle;

/// Memory of tables and shares.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// The newest table of the coordinator.
    pub(super) newest: Option<Arc<Table>>,
    /// Every table of it, by number.
    tables: BTreeMap<u64, Digest>,
    /// The newest table that the ingress of a host has written down.
    held: BTreeMap<HostId, Committed>,
    /// Shares in tables of the releases that rollouts leave.
    shares: BTreeMap<RolloutId, Weight>,
    splits: BTreeMap<ServiceId, Split>,
    /// Rollouts of which a gate has failed, and the share of their release then.
    failed: BTreeMap<RolloutId, (String, Weight)>,
}

impl Lanes {
    /// The coordinator was set back: what it had promised is forgotten, but for what ingresses hold.
    pub(super) fn set_back(&mut self) {
        *self = Self { held: std::mem::take(&mut self.held), ..Self::default() };
    }
}

impl Checks {
    /// An ingress begins with the table that it has written down.
    pub fn table_at_start(&mut self, host: &HostId, table: Option<Committed>) {
        if self.lanes.held.get(host) != table.as_ref() {
            let line = format!("{host}: its ingress begins with table {table:?}, not its last one");
            self.fail(line);
        }
    }

    /// An ingress follows another table. One that was taken over writes nothing down.
    pub fn table_taken(&mut self, host: &HostId, before: Option<Committed>, now: Committed, ends: bool) {
        if before.is_some_and(|before| before.seq >= now.seq) {
            let line = format!("{host}: its ingress goes from table {before:?} back to {now:?}");
            self.fail(line);
        }
        self.led.tables += 1;
        if !ends {
            self.lanes.held.insert(host.clone(), now);
        }
    }

    /// A person lets a rollout go on, or take its next step.
    pub fn is_let_go(&mut self, rollout: &RolloutId) {
        self.lanes.failed.remove(rollout);
    }

    /// Looks at what is stored of tables and shares.
    pub(super) fn check_lanes(&mut self, view: &View<'_>, hosts: &[Host], now: Timestamp) {
        self.check_table(view);
        self.check_failed(view);
        self.check_strength(view, hosts, now);
    }

    /// Numbers of tables rise, one number is one table, and shares sum to the whole.
    fn check_table(&mut self, view: &View<'_>) {
        let Some(stored) = view.tables().next() else { return };
        let (seq, digest) = (stored.routes.seq, stored.digest);
        let before = self.lanes.newest.as_ref().map_or(0, |table| table.routes.seq);
        match self.lanes.tables.insert(seq, digest) {
            Some(known) if known != digest => self.fail(format!("two tables with number {seq}")),
            Some(_) if seq == before => return,
            Some(_) | None if seq < before => self.fail(format!("table {seq} comes after {before}")),
            Some(_) | None => {}
        }
        self.lanes.newest = Some(stored.clone());
        let environment = stored.routes.environment.clone();
        for service in &stored.routes.services.clone() {
            let weights: Vec<Weight> = service.releases.iter().filter_map(|share| share.weight).collect();
            let sum: u32 = weights.iter().map(|weight| u32::from(weight.permille())).sum();
            if !weights.is_empty() && (sum != 1000 || weights.len() != service.releases.len()) {
                self.fail(format!("table {seq}: the shares of {} sum to {sum}", service.service));
            }
            let id = ServiceId { environment: environment.clone(), name: service.service.clone() };
            self.check_falls(view, &id, service);
        }
    }

    /// In successive tables, the share of a release that is left only falls.
    fn check_falls(&mut self, view: &View<'_>, id: &ServiceId, service: &RoutedService) {
        let Some(back) = view.active(id).filter(|rollout| rollout.state == State::RollingBack) else {
            return;
        };
        let of = service.releases.iter().find(|share| share.release == back.to.digest);
        let divided = service.releases.iter().any(|share| share.weight.is_some());
        let before = self.lanes.shares.get(&back.id).copied();
        let share = match of.map(|share| share.weight) {
            Some(Some(share)) => share,
            Some(None) => Weight::ALL,
            None if divided => Weight::NONE,
            None => return,
        };
        self.lanes.shares.insert(back.id.clone(), share);
        if let Some(before) = before.filter(|before| *before < share) {
            let line = format!(
                "rollout {} goes back, and in tables its share rose from {before} to {share}",
                back.id
            );
            self.fail(line);
        }
    }

    /// After a gate has failed, the share of its release does not rise until a person lets it go on.
    fn check_failed(&mut self, view: &View<'_>) {
        for (id, service) in view.services() {
            let Some(rollout) = view.active(id) else { continue };
            let split = service.split.as_ref().filter(|split| split.new == rollout.to.digest);
            let share = split.map_or(Weight::NONE, |split| split.weight);
            if let Some((gate, then)) = self.lanes.failed.get(&rollout.id) {
                if share > *then {
                    let line =
                        format!("rollout {} has {share} although gate `{gate}` failed at {then}", rollout.id);
                    self.fail(line);
                }
                if matches!(rollout.state, State::Advancing | State::Soaking) {
                    let line = format!("rollout {} goes on although its gate failed", rollout.id);
                    self.fail(line);
                }
                continue;
            }
            let release = view.releases().get(&rollout.to.digest);
            if let Some(gate) = release.and_then(|release| failed_gate(rollout, release)) {
                self.led.failed_gates += 1;
                self.lanes.failed.insert(rollout.id.clone(), (gate, share));
            }
        }
    }

    /// Before requests go back to a release, its instances are at strength.
    fn check_strength(&mut self, view: &View<'_>, hosts: &[Host], now: Timestamp) {
        for (id, service) in view.services() {
            let before = match &service.split {
                Some(split) => self.lanes.splits.insert(id.clone(), split.clone()),
                None => self.lanes.splits.remove(id),
            };
            let (Some(before), Some(split), Some(rollout)) = (before, &service.split, view.active(id)) else {
                continue;
            };
            if (&before.new, &before.old) != (&split.new, &split.old)
                || !matches!(rollout.state, State::RollingBack | State::Pending)
            {
                continue;
            }
            for keep in [split.new, split.old] {
                let (had, has) = (before.share(&keep), split.share(&keep));
                if has > had {
                    self.check_rise(view, hosts, (id, &keep, had), now);
                }
            }
        }
    }

    fn check_rise(
        &mut self,
        view: &View<'_>,
        hosts: &[Host],
        (id, keep, had): (&ServiceId, &Digest, Weight),
        now: Timestamp,
    ) {
        let mut missing: Vec<SlotId> = Vec::new();
        let mut excuses: BTreeSet<Exemption> = BTreeSet::new();
        for (slot, is) in view.slots().get(id).into_iter().flatten() {
            let machine = hosts.iter().find(|host| &host.name == is.host());
            // One that the same decision begins, in a new slot or beside the other release, comes in addition.
            let had_run = self.routed.had_run(slot, keep);
            if is.is_leaving() || !Intent::from(is).has_run(keep) || !had_run {
                continue;
            }
            let Some(host) = machine else { continue };
            let of_it = || {
                let of_slot = host.engine.processes.values().filter(|of| &of.container.slot == slot);
                of_slot.filter(|of| &of.container.release == keep)
            };
            if host.is_on && of_it().any(|process| process.serves()) {
                continue;
            }
            let why = if is_out_of_reach(host)
                || host.cut_up
                || view.liveness(&host.name, now) != windlass_core::host::Liveness::Connected
            {
                Some(Exemption::Unreachable)
            } else if of_it().any(|process| process.misbehaved) {
                Some(Exemption::Ended)
            } else if host.is_astray || host.is_restored || host.is_deceived {
                Some(Exemption::Misled)
            } else {
                None
            };
            match why.filter(|_| self.oracle == Oracle::Full) {
                Some(why) => drop(excuses.insert(why)),
                None => missing.push(slot.clone()),
            }
        }
        self.led.returns += 1;
        if missing.is_empty() {
            for why in excuses {
                self.exempts(why);
            }
        } else if !(had > had.rest() && self.exempts(Exemption::Leads)) {
            let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let line = format!(
                "{id}: {} gets requests again before it is at strength: {} do not serve it",
                keep.short(),
                names.join(", ")
            );
            self.fail(line);
        }
    }
}

/// A gate of the rollout's step that has failed, and decides.
pub(super) fn failed_gate(rollout: &Rollout, release: &Release) -> Option<String> {
    let failed = |(name, of): &(&String, &GateCourse)| {
        let gate = release.spec.gates.get(*name);
        gate.is_some_and(|gate| !gate.dry_run && of.standing(gate) == GateState::Failed)
    };
    rollout.gates.as_ref()?.gates.iter().find(failed).map(|(name, _)| name.clone())
}

/// The reason for which ingresses do not follow the desired table at rest.
pub(super) fn tables_at_rest(view: &View<'_>, hosts: &[Host]) -> Option<String> {
    let newest = view.tables().next().map_or(0, |table| table.routes.seq);
    let counted = view.traffic().ingresses;
    for host in hosts.iter().filter(|host| view.scheduling(&host.name).is_some()) {
        let serves = host.edge.serving().map(Proxy::number);
        let known = counted.get(&host.name).map(|of| of.processes.serving().map(|report| report.process));
        if known.is_some_and(|known| known != serves) {
            return Some(format!(
                "{}: process {known:?} of its ingress counts, and {serves:?} serves",
                host.name
            ));
        }
        for process in &host.edge.processes {
            let seq = process.table().map_or(0, |table| table.accepted.committed.seq);
            if seq != newest && !process.is_ending() {
                return Some(format!(
                    "the ingress of {} is at table {seq}, the newest is {newest}",
                    host.name
                ));
            }
        }
    }
    None
}

/// Whether the newest table leads to so many instances of a release.
pub(super) fn endpoints(view: &View<'_>, service: &ServiceName, release: &Digest) -> usize {
    let services = view.tables().flat_map(|table| &table.routes.services);
    let of_it = services.filter(|of| &of.service == service).flat_map(|of| &of.endpoints);
    of_it.filter(|at| !at.draining && &at.release == release).count()
}
