//! A port of a service, made ready for requests: its endpoints, releases and counters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use windlass_core::traffic::{Protocol, RoutedService};
use windlass_core::{Digest, EnvironmentId, ServiceId};

use crate::counters::ReleaseCounters;
use crate::upstream::Endpoint;

/// A port of a service.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) id: ServiceId,
    pub(crate) service: Arc<RoutedService>,
    pub(crate) protocol: Protocol,
    /// The endpoints of all releases, and of each in the order of the service's releases.
    pub(crate) all: Vec<Arc<Endpoint>>,
    pub(crate) releases: Vec<Release>,
    /// The counters, by weight and by a match, of releases that the table does not name and that answer all the same.
    pub(crate) unnamed: Vec<(Digest, Arc<ReleaseCounters>, Arc<ReleaseCounters>)>,
    /// The counters of releases of which an endpoint stands by, for what it answers in another one's place.
    pub(crate) standbys: BTreeMap<Digest, Arc<ReleaseCounters>>,
    /// Counters of requests for which no release was chosen: none can be blamed.
    pub(crate) nobody: Arc<ReleaseCounters>,
    pub(crate) hold: Option<Duration>,
    pub(crate) slow_start: Option<Duration>,
    /// Requests of the service that wait for an endpoint.
    pub(crate) waiting: Arc<std::sync::atomic::AtomicUsize>,
}

/// A release of a service at one port.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) counters: Arc<ReleaseCounters>,
    pub(crate) matched: Arc<ReleaseCounters>,
}

impl Target {
    /// Whether its endpoints are asked in HTTP/2.
    pub(crate) const fn is_http2(&self) -> bool {
        matches!(self.protocol, Protocol::H2c | Protocol::Grpc)
    }

    /// Whether the gRPC status of a call counts.
    pub(crate) const fn is_grpc(&self) -> bool {
        matches!(self.protocol, Protocol::Grpc)
    }

    /// The release of an endpoint of this target.
    pub(crate) fn release_of(&self, endpoint: &Endpoint) -> Option<&Release> {
        let index = self.service.releases.iter().position(|share| share.release == endpoint.key.release)?;
        self.releases.get(index)
    }
}

/// The full name of a service of an environment.
pub(crate) fn full_name(environment: &EnvironmentId, service: &RoutedService) -> ServiceId {
    ServiceId::new(environment.clone(), service.service.clone())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn target(name: &str) -> Arc<Target> {
        let json =
            format!(r#"{{"service":"{name}","ports":{{}},"releases":[],"endpoints":[],"drain":"30s"}}"#);
        Arc::new(Target {
            id: format!("production/{name}").parse().unwrap(),
            service: Arc::new(windlass_json(&json)),
            protocol: Protocol::Http,
            all: Vec::new(),
            releases: Vec::new(),
            unnamed: Vec::new(),
            standbys: BTreeMap::new(),
            nobody: Arc::default(),
            hold: None,
            slow_start: None,
            waiting: Arc::default(),
        })
    }

    fn windlass_json(json: &str) -> RoutedService {
        serde_json::from_str(json).unwrap()
    }
}
