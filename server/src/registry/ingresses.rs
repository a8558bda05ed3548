//! What the ingresses of hosts report.

use std::sync::Arc;

use windlass_core::traffic::{IngressReport, Processes};
use windlass_core::{HostId, Timestamp};

use super::Registry;

impl Registry {
    /// An ingress process of a host reported. The newest report of each process counts.
    pub(crate) fn ingress_reported(&self, host: &HostId, report: Arc<IngressReport>, now: Timestamp) {
        self.with(host, |live| {
            live.seen(now, &self.clock);
            live.ingress.take(report, now);
        });
    }

    /// What the ingress processes of a host last reported.
    pub(crate) fn ingress_reports(&self, host: &HostId) -> Processes {
        self.look(host, |live| live.ingress.clone()).unwrap_or_default()
    }

    /// The ingress of a host counts no more.
    pub(crate) fn ingress_forgotten(&self, host: &HostId) {
        self.with(host, |live| live.ingress = Processes::default());
    }
}
