//! The tables in force, made ready for requests: what a host name leads to, and the endpoints of each release.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use windlass_core::traffic::{Protocol, RoutedService};
use windlass_core::{Digest, EnvironmentId, ServiceId};

use crate::counters::ReleaseCounters;
use crate::inner::Networks;
use crate::upstream::Endpoint;

/// Every table in force, compiled.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// By host name in lower case; those with a wildcard by what follows `*.`. Longest path first.
    exact: HashMap<String, Vec<Route>>,
    wildcard: HashMap<String, Vec<Route>>,
    /// The inner networks of this host.
    pub(crate) inner: Networks,
}

/// A path prefix and where it leads.
#[derive(Debug)]
pub(crate) struct Route {
    path: String,
    target: Arc<Target>,
}

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

impl Table {
    /// Whether no name leads anywhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }

    /// Adds a name of a table.
    pub(crate) fn add(&mut self, host: &str, path: &str, target: Arc<Target>) {
        let routes = match host.strip_prefix("*.") {
            Some(parent) => self.wildcard.entry(parent.to_owned()).or_default(),
            None => self.exact.entry(host.to_owned()).or_default(),
        };
        let at = routes.partition_point(|route| route.path.len() >= path.len());
        routes.insert(at, Route { path: path.to_owned(), target });
    }

    /// The target of a request, by the longest path that fits the most exact host name.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Arc<Target>> {
        let exact = self.exact.get(host).and_then(|routes| longest(routes, path));
        exact.or_else(|| {
            let (label, parent) = host.split_once('.')?;
            let routes = self.wildcard.get(parent).filter(|_| !label.is_empty())?;
            longest(routes, path)
        })
    }

    /// Whether some name stands for `host`.
    pub(crate) fn knows(&self, host: &str) -> bool {
        let below = host.split_once('.').is_some_and(|(_, parent)| self.wildcard.contains_key(parent));
        self.exact.contains_key(host) || below
    }
}

fn longest<'r>(routes: &'r [Route], path: &str) -> Option<&'r Arc<Target>> {
    let fits = |route: &&Route| {
        let prefix = route.path.trim_end_matches('/');
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    routes.iter().find(fits).map(|route| &route.target)
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

    fn found(table: &Table, host: &str, path: &str) -> Option<String> {
        table.find(host, path).map(|target| target.service.service.to_string())
    }

    #[test]
    fn the_longest_path_at_the_most_exact_name_wins() {
        let mut table = Table::default();
        for (host, path, name) in
            [("a.b", "/", "root"), ("a.b", "/v1", "one"), ("a.b", "/v1/x/", "deep"), ("*.b", "/", "any")]
        {
            table.add(host, path, target(name));
        }
        let cases = [
            ("a.b", "/", Some("root")),
            ("a.b", "/v1", Some("one")),
            ("a.b", "/v12", Some("root")),
            ("a.b", "/v1/x", Some("deep")),
            ("a.b", "/v1/x/y", Some("deep")),
            ("c.b", "/v1", Some("any")),
            ("c.a.b", "/", None),
            (".b", "/", None),
            ("b", "/", None),
            ("other", "/", None),
        ];
        for (host, path, expected) in cases {
            assert_eq!(found(&table, host, path).as_deref(), expected, "{host}{path}");
        }
        assert!(table.knows("x.b") && table.knows("a.b") && !table.knows("x.y"));
    }
}
