//! The counters of an ingress, as its report says them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use windlass_core::ServiceId;
use windlass_core::traffic::{Counts, EndpointState, EndpointTraffic, ServiceTraffic};

use crate::counters::ReleaseSnapshot;
use crate::ingress::Ingress;
use crate::limits::Limits;
use crate::registry::Population;
use crate::upstream::Endpoint;

/// Releases of a service in a report; those without a request under way give way first.
const MOST_RELEASES: usize = 32;

impl Ingress {
    /// The traffic of each service since the process began.
    pub fn traffic(&self) -> BTreeMap<ServiceId, ServiceTraffic> {
        let mut services: BTreeMap<ServiceId, ServiceTraffic> = BTreeMap::new();
        let registry = self.0.registry();
        for ((service, release, population), counters) in registry.all_counters() {
            let service = services.entry(service.clone()).or_default();
            let counts = counts(counters.snapshot());
            match (release, population) {
                (None, _) => service.nobody = counts,
                (Some(release), Population::Weighted) => {
                    service.releases.entry(*release).or_default().weighted = counts;
                }
                (Some(release), Population::Matched) => {
                    service.releases.entry(*release).or_default().matched = counts;
                }
                (Some(release), Population::Unconfirmed) => {
                    service.releases.entry(*release).or_default().unconfirmed = counts;
                }
            }
        }
        let now = Instant::now();
        for (service, endpoint) in registry.all_endpoints() {
            services.entry(service.clone()).or_default().endpoints.push(seen(endpoint, &self.0.limits, now));
        }
        for (id, service) in &mut services {
            for (release, traffic) in &mut service.releases {
                traffic.counter = registry.number_of(id, *release);
            }
            service.endpoints.sort_by_key(|endpoint| (endpoint.address, endpoint.release));
            let named: Vec<_> = service.endpoints.iter().map(|endpoint| endpoint.release).collect();
            let mut spare = service.releases.len().saturating_sub(MOST_RELEASES);
            service.releases.retain(|release, traffic| {
                let busy = named.contains(release) || traffic.all().iter().any(|of| of.in_flight > 0);
                let keep = busy || spare == 0;
                spare -= usize::from(!keep);
                keep
            });
        }
        services
    }

    /// Records of the access log that were lost because it was too slow.
    pub fn access_log_dropped(&self) -> u64 {
        self.0.access.as_ref().map_or(0, crate::access::AccessLog::dropped)
    }

    /// Requests for a name that no table has.
    pub fn unrouted(&self) -> u64 {
        self.0.unrouted.load(Relaxed)
    }

    /// Requests that were refused before they were routed: what is no HTTP, is ambiguous or too large, or is for another name
    /// than the certificate of its connection.
    pub fn bad_requests(&self) -> u64 {
        self.0.bad_requests.load(Relaxed)
    }
}

fn seen(endpoint: &Endpoint, limits: &Limits, now: Instant) -> EndpointTraffic {
    let state = if endpoint.takes(limits, now) && endpoint.is_draining() {
        EndpointState::Healthy
    } else if endpoint.stands_by() {
        EndpointState::StandsBy
    } else if endpoint.is_draining() {
        EndpointState::Draining
    } else if endpoint.is_ejected(now) {
        EndpointState::Ejected
    } else if endpoint.is_unready(limits) {
        EndpointState::Unready
    } else {
        EndpointState::Healthy
    };
    EndpointTraffic {
        address: endpoint.key.address,
        release: endpoint.key.release,
        state,
        in_flight: gauge(endpoint.in_flight()),
        tunnels: gauge(endpoint.tunnels()),
    }
}

/// A gauge is below zero only between two steps of a count.
fn gauge(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn counts(seen: ReleaseSnapshot) -> Counts {
    Counts {
        requests: seen.requests,
        informational: seen.informational,
        success: seen.success,
        redirection: seen.redirection,
        client_error: seen.client_error,
        server_error: seen.server_error,
        client_gone: seen.client_gone,
        cut: seen.cut,
        broken: seen.broken,
        own_answers: seen.own_answers,
        grpc_failed: seen.grpc_failed,
        connect_errors: seen.connect_errors,
        retries: seen.retries,
        held: seen.held,
        in_flight: gauge(seen.in_flight),
        tunnels: gauge(seen.tunnels),
        to_head: sparse(&seen.to_head),
        to_head_us: seen.to_head_us,
        to_end: sparse(&seen.to_end),
    }
}

fn sparse(buckets: &[u64]) -> Vec<(u16, u64)> {
    (0..).zip(buckets.iter().copied()).filter(|(_, count)| *count > 0).collect()
}
