//! The instances of a service that answer requests, and the ones among them that only finish their open requests.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::id::{HostId, SlotId};
use crate::observation::{Instance, InstanceState, SlotObservation, SlotStatus};
use crate::plan::{Order, Phase};
use crate::service::Releases;
use crate::slot::{Older, Slot};
use crate::traffic::{Endpoint, StandsBy};

use super::inputs::{HostSeen, Reported, ServiceSeen};

/// All that is known of one service.
pub(super) struct Places<'a> {
    pub(super) seen: &'a ServiceSeen<'a>,
    pub(super) releases: &'a Releases,
    /// Its endpoints in the table before, by host.
    pub(super) before: BTreeMap<&'a HostId, Vec<&'a Endpoint>>,
    pub(super) reported: Reported<'a>,
    /// Whether everybody reads tables in which endpoints stand by.
    pub(super) standbys: bool,
}

/// An instance and what becomes of it.
pub(super) struct Place<'a> {
    pub(super) host: &'a HostId,
    pub(super) seen: &'a HostSeen<'a>,
    pub(super) instance: &'a Instance,
    pub(super) draining: bool,
    /// Its host restores it if this one fails, which may not be there yet.
    behind: Option<Option<&'a Instance>>,
}

impl Place<'_> {
    /// Which endpoint it stands by for at a port, if it stands by.
    pub(super) fn stands_by(&self, port: &str) -> Option<StandsBy> {
        let first = self.behind?;
        let instead_of = first.and_then(|first| port_of(first.endpoints.get(port)?));
        Some(StandsBy { instead_of }).filter(|_| self.draining)
    }
}

impl<'a> Places<'a> {
    /// The instances that requests go to, or went to a moment ago.
    pub(super) fn all(&self) -> Vec<Place<'a>> {
        let replaced = self.replaced();
        let mut places = Vec::new();
        for (host, seen, slot) in &self.reported {
            let assignment = self.seen.slots.get(&slot.slot).filter(|of| of.host() == *host);
            let want = assignment.filter(|_| self.standbys && !seen.recovering);
            for instance in &slot.instances {
                let behind = want.and_then(|want| stands_behind(slot, want, instance));
                let rests = behind.filter(|_| instance.state == InstanceState::Standby).map(|_| true);
                let fate = self.fate(host, slot, assignment, seen, instance).or(rests);
                let Some(draining) = fate else { continue };
                let draining = draining || replaced.contains(&slot.slot);
                places.push(Place { host, seen, instance, draining, behind });
            }
        }
        places
    }

    /// Whether an instance finishes what it has; `None` if no request belongs there.
    fn fate(
        &self,
        host: &HostId,
        slot: &SlotObservation,
        assignment: Option<&Slot>,
        seen: &HostSeen<'_>,
        instance: &Instance,
    ) -> Option<bool> {
        let drained = self.was_draining(host, instance);
        // The part of the slot before may have let it stop: until its host says that it goes on, it may be stopping.
        let is_unconfirmed =
            drained && !seen.has_confirmed(&slot.slot) && !self.is_restored(host, slot, instance);
        let told = is_unconfirmed || is_told_to_stop(slot, assignment, instance, drained);
        let told = told && !seen.recovering;
        match instance.state {
            // An instance that never got a request is not drained.
            InstanceState::Draining => self.was_there(host, instance).then_some(true),
            InstanceState::Healthy if told => self.was_there(host, instance).then_some(true),
            InstanceState::Healthy => {
                let serves = instance.available || self.is_good(&instance.release);
                (serves || self.was_there(host, instance)).then_some(false)
            }
            // Its agent began a moment ago, and has not asked it often enough.
            InstanceState::Starting | InstanceState::Unready if instance.readiness_unknown => {
                self.was_there(host, instance).then_some(told)
            }
            InstanceState::Pulling
            | InstanceState::Starting
            | InstanceState::Unready
            | InstanceState::Standby
            | InstanceState::Stopped
            | InstanceState::Failed
            | InstanceState::Refused
            | InstanceState::Unknown => None,
        }
    }

    /// Returns whether its host says that it has restored the instance, in whose place it stood by in the table before. It stops
    /// it by no part that the table knew of.
    fn is_restored(&self, host: &HostId, slot: &SlotObservation, instance: &Instance) -> bool {
        let says = matches!(slot.status, SlotStatus::Failed { restored: Some(release), .. } if release == instance.release);
        says && self.was(host, instance, |endpoint| endpoint.stands_by.is_some())
    }

    /// A release that was good once serves as soon as it is ready; a new one first shows that it stays so.
    fn is_good(&self, release: &Digest) -> bool {
        self.seen.service.good.iter().any(|good| &good.digest == release)
    }

    /// Returns whether the instance was in the table before.
    fn was_there(&self, host: &HostId, instance: &Instance) -> bool {
        self.was(host, instance, |_| true)
    }

    /// Returns whether the instance finished what it had in the table before.
    fn was_draining(&self, host: &HostId, instance: &Instance) -> bool {
        self.was(host, instance, |endpoint| endpoint.draining)
    }

    fn was(&self, host: &HostId, instance: &Instance, like: impl Fn(&Endpoint) -> bool) -> bool {
        let has = |number: u16| instance.endpoints.values().any(|text| port_of(text) == Some(number));
        let same = |endpoint: &Endpoint| {
            endpoint.release == instance.release && like(endpoint) && has(endpoint.number)
        };
        self.before.get(host).is_some_and(|before| before.iter().any(|endpoint| same(endpoint)))
    }

    /// Slots for which another one stands in that serves.
    fn replaced(&self) -> BTreeSet<&'a SlotId> {
        let stand_in = |(slot, of): (&'a SlotId, &'a Slot)| Some((slot, of.stands_in_for()?));
        let stand_ins: Vec<_> = self.seen.slots.iter().filter_map(stand_in).collect();
        if stand_ins.is_empty() {
            return BTreeSet::new();
        }
        let serves = |instance: &Instance| instance.available && instance.state == InstanceState::Healthy;
        let serving = self.reported.iter().filter(|(.., seen)| seen.instances.iter().any(serves));
        let serving: BTreeSet<&SlotId> = serving.map(|(.., seen)| &seen.slot).collect();
        stand_ins
            .into_iter()
            .filter(|(slot, _)| serving.contains(slot))
            .map(|(_, replaced)| replaced)
            .collect()
    }
}

/// The port of `address:port`. The address is never believed: the certified one counts.
pub(crate) fn port_of(endpoint: &str) -> Option<u16> {
    endpoint.rsplit(':').next()?.parse().ok().filter(|number| *number != 0)
}

/// Returns whether the instance is to stop, by its host's newest plan or by its own doing.
fn is_told_to_stop(
    slot: &SlotObservation,
    assignment: Option<&Slot>,
    instance: &Instance,
    drained: bool,
) -> bool {
    let Some(assignment) = assignment else { return true };
    let (release, phase) = (assignment.release(), assignment.run());
    let has_failed = matches!(slot.status, SlotStatus::Failed { .. });
    if release == instance.release {
        let newer = |other: &Instance| {
            other.release == release
                && other.generation > instance.generation
                && other.available
                && other.state == InstanceState::Healthy
        };
        // Its host stops it at once, and starts it again only if the newer one fails.
        let stops_first = assignment.order() == Order::StopFirst && !has_failed;
        let is_older = instance.generation < assignment.target().generation;
        let is_let_go = assignment.older() == Some(Older::LetGo);
        let is_replaced = is_older && (stops_first || is_let_go || slot.instances.iter().any(newer));
        return phase != Phase::Running || is_replaced;
    }
    if let Some(previous) = assignment.other().filter(|previous| previous.release == instance.release) {
        return previous.run != Phase::Running;
    }
    // The instance that the host restores by itself when the new release fails. One that has drained is about to stop until then.
    // Before that is begun, the same holds in the place of the release before where that has failed.
    let first = match phase {
        Phase::Running | Phase::Draining => Some(release),
        Phase::Pulled => assignment.other().filter(|of| of.run.runs()).map(|of| of.release),
        Phase::Standby | Phase::Absent => None,
    };
    let planned = |other: &Instance| {
        Some(other.release) == first && other.available && other.state == InstanceState::Healthy
    };
    let restores = restores(assignment, instance) && first.is_some();
    let restores = restores && (has_failed || !drained);
    !restores || slot.instances.iter().any(planned)
}

/// The instance on trial, if there is one yet, in whose place the host restores `instance` by itself; `None` if it does not.
/// While the one on trial does not serve, the other one serves or is about to stop: then nobody stands by but one that rests.
fn stands_behind<'a>(
    slot: &'a SlotObservation,
    want: &Slot,
    instance: &Instance,
) -> Option<Option<&'a Instance>> {
    if !restores(want, instance) || !want.run().runs() || want.release() == instance.release {
        return None;
    }
    let first = slot.instances.iter().find(|other| other.release == want.release());
    let serves = first.is_some_and(|first| first.state == InstanceState::Healthy);
    (serves || instance.state == InstanceState::Standby).then_some(first)
}

/// Whether the slot's host restores the release of the instance by itself if the target fails.
fn restores(slot: &Slot, instance: &Instance) -> bool {
    !slot.is_good() && slot.fallback() == Some(instance.release)
}
