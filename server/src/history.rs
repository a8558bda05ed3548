//! Figures of hosts and services: rings in memory. They begin anew with the coordinator; Prometheus keeps more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use windlass_core::series::{HOST, Rings, SERVICE};
use windlass_core::view::{self, HistoryView};
use windlass_core::{HostId, ServiceId, Timestamp};

/// All rings. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct History(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    hosts: BTreeMap<HostId, Rings>,
    services: BTreeMap<ServiceId, Rings>,
}

/// Figures of a host, in the order of [`HOST`].
pub(crate) type OfHost = [f32; HOST.columns.len()];
/// Figures of a service, in the order of [`SERVICE`].
pub(crate) type OfService = [f32; SERVICE.columns.len()];

impl History {
    /// Forgets all but these, which are sorted.
    pub(crate) fn keep_only(&self, hosts: &[HostId], services: &[ServiceId]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.hosts.retain(|host, _| hosts.binary_search(host).is_ok());
        kept.services.retain(|service, _| services.binary_search(service).is_ok());
    }

    /// Puts in how a host does.
    pub(crate) fn put_host(&self, host: HostId, now: Timestamp, figures: &OfHost) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.hosts.entry(host).or_insert_with(|| Rings::new(&HOST)).push(now, figures);
    }

    /// Puts in how a service does.
    pub(crate) fn put_service(&self, service: ServiceId, now: Timestamp, figures: &OfService) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.services.entry(service).or_insert_with(|| Rings::new(&SERVICE)).push(now, figures);
    }

    /// The figures of a host; `None` if nothing was measured.
    pub(crate) fn host(&self, host: &HostId, now: Timestamp) -> Option<HistoryView> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.hosts.get(host).map(|rings| view::history(rings, &HOST, now))
    }

    /// The figures of a service; `None` if nothing was measured.
    pub(crate) fn service(&self, service: &ServiceId, now: Timestamp) -> Option<HistoryView> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.services.get(service).map(|rings| view::history(rings, &SERVICE, now))
    }

    /// Rings there are, and the bytes that they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = kept.hosts.values().chain(kept.services.values()).map(Rings::bytes).sum();
        (kept.hosts.len() + kept.services.len(), bytes)
    }
}
