//! Reports of ingresses: the newest of each host, and the windows of counters that decisions ask for, of services that a
//! rollout moves or a watch guards.
//!
//! Nothing of it is stored: after a start of the coordinator every window begins anew.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use windlass_core::traffic::{IngressReport, Processes, ServiceWindows, Traffic, Wanted};
use windlass_core::view::RoutesView;
use windlass_core::{Digest, EnvironmentId, HostId, ServiceId, Timestamp};

use super::Registry;
use crate::ledger::State;
use crate::routes;

/// Releases that are compared, by service: where a rollout goes and what it goes back to, and likewise of a watch.
fn wanted(state: &State) -> Wanted {
    let asked = state.services.values().filter_map(|service| {
        let rollout = state.active_rollout(&service.id);
        let moved = rollout.into_iter().flat_map(|rollout| [Some(rollout.to), rollout.from]);
        let watched = service.watch.iter().flat_map(|watch| [Some(watch.release), Some(watch.from)]);
        let releases = moved.chain(watched).flatten().map(|release| release.digest);
        // Requests of services that call each other by name count too.
        let routed =
            |digest: &Digest| state.releases.get(digest).is_some_and(|release| release.spec.is_routed());
        let releases: BTreeSet<_> = releases.filter(routed).collect();
        (!releases.is_empty()).then(|| (service.id.clone(), releases))
    });
    asked.collect()
}

impl Registry {
    /// An ingress process of a host reported. The newest report of each process counts; what it counted is believed for the environments that it serves.
    pub(crate) fn ingress_reported(
        &self,
        state: &State,
        host: &HostId,
        report: Arc<IngressReport>,
        now: Timestamp,
    ) {
        let wanted = wanted(state);
        let serves = |environment: &EnvironmentId| routes::serves(state, host, environment);
        self.windows
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take(host, &report, now, &wanted, serves);
        self.recent.write().unwrap_or_else(PoisonError::into_inner).take(host, &report, now);
        self.with(host, |live| {
            live.seen(now, &self.clock);
            live.ingress.take(report, now);
        });
    }

    /// The newest reports of a host's ingress processes.
    pub(crate) fn ingress_reports(&self, host: &HostId) -> Processes {
        self.look(host, |live| live.ingress.clone()).unwrap_or_default()
    }

    /// Forgets the ingress of a host.
    pub(crate) fn ingress_forgotten(&self, host: &HostId) {
        self.with(host, |live| live.ingress = Processes::default());
        self.windows.write().unwrap_or_else(PoisonError::into_inner).forget(host);
        self.recent.write().unwrap_or_else(PoisonError::into_inner).forget(host);
    }

    /// The same routes, with the hosts that are not connected, and the requests that each release got lately.
    pub(crate) fn completed(&self, view: RoutesView, traffic: &Traffic, now: Timestamp) -> RoutesView {
        let view = view.with_hosts(|host| (self.liveness(host, now), self.last_seen(host)));
        view.with_recent(traffic, &self.recent.read().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// The windows of a service, if any are kept.
    pub(super) fn windows_of(&self, service: &ServiceId) -> Option<Arc<ServiceWindows>> {
        self.windows.read().unwrap_or_else(PoisonError::into_inner).of(service)
    }
}
