//! One service of a table: its ports, releases and endpoints.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::id::Counter;
use crate::release::{Check, Release, Route, Spec};
use crate::service::Mode;
use crate::traffic::bounds::{MAX_PORTS, MAX_RELEASES};
use crate::traffic::{
    Endpoint, MAX_RULES, Match, MatchOn, MatchRule, Name, ReleaseShare, RoutedPort, RoutedService, Split,
    Weight,
};

use super::endpoints::{Place, Places, port_of};

/// The part of a service in a table.
pub(super) struct Part {
    pub(super) routed: RoutedService,
    pub(super) names: Vec<Name>,
}

/// The service with at most `room` endpoints; `None` if no request can be routed to it.
pub(super) fn derive(places: &Places<'_>, room: usize, allows: &dyn Fn(&str) -> bool) -> Option<Part> {
    let seen = places.seen;
    let all = places.all();
    let leading = leading(places, &all)?;
    let releases = releases(places, &all);
    let ports = ports(places, leading, &releases);
    let endpoints = endpoints(&all, &ports, &releases, room);
    if ports.is_empty() || (seen.service.mode == Mode::Removed && endpoints.is_empty()) {
        return None;
    }
    let used: BTreeSet<Digest> = endpoints.iter().map(|endpoint| endpoint.release).collect();
    let mut releases: Vec<ReleaseShare> =
        releases.into_iter().filter(|share| used.contains(&share.release)).collect();
    let split = seen.service.split.as_ref().filter(|split| divides(split, &endpoints));
    for share in &mut releases {
        share.weight = split.map(|split| split.share(&share.release));
    }
    let beside = split.filter(|split| used.contains(&split.new));
    let previews: Vec<&Route> =
        beside.map(|split| previews(places, split, &ports, allows)).unwrap_or_default();
    let mut names = names(places, leading, &ports, allows);
    names.extend(previews.iter().map(|route| name(places, route)));
    let traffic = &leading.spec.traffic;
    let routed = RoutedService {
        service: seen.service.id.name.clone(),
        ports,
        releases,
        matches: beside.map(|split| matches(split, &previews)).unwrap_or_default(),
        salt: split.map(|split| split.salt.clone()).unwrap_or_default(),
        endpoints,
        hold: traffic.hold.filter(|_| seen.moving),
        slow_start: traffic.slow_start,
        drain: traffic.drain_timeout(),
    };
    Some(Part { routed, names })
}

/// The rules by which requests go to the new release whatever its share. Those for a preview's name stand first.
fn matches(split: &Split, previews: &[&Route]) -> Vec<Match> {
    let host =
        |route: &&Route| MatchRule { on: MatchOn::Header, name: "host".into(), value: route.host.clone() };
    let rules = previews.iter().map(host).chain(split.matches.iter().cloned());
    let rules = rules.map(|MatchRule { on, name, value }| Match { release: split.new, on, name, value });
    rules.take(MAX_RULES).collect()
}

/// The names that lead to the new release alone: a name that serves otherwise, for another path or by the old release, is none
/// of them, as the rule of a preview is about every request for its name.
fn previews<'a>(
    places: &Places<'a>,
    split: &Split,
    ports: &BTreeMap<String, RoutedPort>,
    allows: &dyn Fn(&str) -> bool,
) -> Vec<&'a Route> {
    let routes = |release| {
        let release = places.releases.get(release);
        release.into_iter().flat_map(|release| &release.spec.traffic.routes)
    };
    let serves = |host: &str| {
        let all = routes(&split.new).chain(routes(&split.old));
        all.into_iter().any(|route| !route.preview && route.host == host)
    };
    routes(&split.new)
        .filter(|route| route.preview && ports.contains_key(&route.port))
        .filter(|route| allows(&route.host) && !serves(&route.host))
        .collect()
}

/// Whether the requests are divided. Where a release with a share has no instance that answers, all that do are one pool: a
/// request that some instance can answer is not refused.
fn divides(split: &Split, endpoints: &[Endpoint]) -> bool {
    let serves = |release: &Digest| endpoints.iter().any(|of| &of.release == release && !of.draining);
    let has_share = [split.new, split.old].into_iter().filter(|release| split.share(release) > Weight::NONE);
    has_share.into_iter().all(|release| serves(&release))
}

/// The release whose names and times count: the one with the larger share, the current one, and the last good one as long as nothing of the current
/// one answers.
fn leading<'a>(places: &Places<'a>, all: &[Place<'_>]) -> Option<&'a Release> {
    let service = places.seen.service;
    let answers =
        |release: &Digest| all.iter().any(|place| &place.instance.release == release && !place.draining);
    let current = service.current.map(|current| current.digest);
    let good = service.last_good().map(|good| good.digest);
    let known = |release: Option<Digest>| release.and_then(|digest| places.releases.get(&digest));
    let is_up = |release: &Option<Digest>| release.is_some_and(|digest| answers(&digest));
    let leads = service.split.as_ref().map(Split::leads).filter(|release| answers(release));
    let up = leads.or_else(|| current.filter(|_| is_up(&current))).or_else(|| good.filter(|_| is_up(&good)));
    known(up).or_else(|| known(current)).or_else(|| known(good))
}

/// The releases of instances, the candidate first, then the newest; all are one pool.
fn releases(places: &Places<'_>, all: &[Place<'_>]) -> Vec<ReleaseShare> {
    let found: BTreeMap<Digest, Counter> =
        all.iter().map(|place| (place.instance.release, place.instance.counter)).collect();
    let serving: BTreeSet<Digest> =
        all.iter().filter(|place| !place.draining).map(|place| place.instance.release).collect();
    let share = |(release, counter)| ReleaseShare { release, counter, weight: None };
    let mut shares: Vec<ReleaseShare> = found.into_iter().map(share).collect();
    let candidate = places.seen.candidate;
    let rank = |share: &ReleaseShare| {
        let is_candidate = Some(share.release) == candidate;
        (!is_candidate, !serving.contains(&share.release), std::cmp::Reverse(share.counter), share.release)
    };
    shares.sort_by_key(rank);
    shares.truncate(MAX_RELEASES);
    shares
}

/// The ports of the leading release, and those that only another one has.
fn ports(places: &Places<'_>, leading: &Release, releases: &[ReleaseShare]) -> BTreeMap<String, RoutedPort> {
    let others = releases.iter().filter_map(|share| places.releases.get(&share.release));
    let mut ports = BTreeMap::new();
    for release in std::iter::once(leading).chain(others) {
        for name in in_order(&release.spec) {
            if ports.len() < MAX_PORTS && !ports.contains_key(name) {
                ports.extend(routed(&release.spec, name).map(|port| (name.clone(), port)));
            }
        }
    }
    ports
}

/// Names of ports: those that routes lead to, the main one, then the others.
fn in_order(spec: &Spec) -> impl Iterator<Item = &String> {
    let routes = spec.traffic.routes.iter().map(|route| &route.port);
    routes.chain(spec.main_port.as_ref()).chain(spec.ports.keys())
}

fn routed(spec: &Spec, name: &str) -> Option<RoutedPort> {
    let port = spec.ports.get(name)?;
    let probe = spec.health.readiness.as_ref().and_then(|probe| match &probe.check {
        // A path that a table cannot carry is not asked: a connection is enough then.
        Check::Http { path, port } if port == name && path.len() <= 512 && !path.contains('#') => {
            Some(path.clone())
        }
        Check::Http { .. } | Check::Request(_) | Check::Tcp { .. } | Check::Exec { .. } => None,
    });
    Some(RoutedPort { container: port.container, protocol: port.protocol.routed()?, probe })
}

fn endpoints(
    all: &[Place<'_>],
    ports: &BTreeMap<String, RoutedPort>,
    releases: &[ReleaseShare],
    room: usize,
) -> Vec<Endpoint> {
    let known: BTreeSet<Digest> = releases.iter().map(|share| share.release).collect();
    let mut found = Vec::new();
    // An address answers for one instance. Where two claim it, the one that serves has it.
    let mut taken = BTreeSet::new();
    let (serving, draining): (Vec<_>, Vec<_>) = all.iter().partition(|place| !place.draining);
    for place in serving.into_iter().chain(draining) {
        let Some(address) = place.seen.address else { continue };
        for (port, text) in place.instance.endpoints.iter().filter(|(port, _)| ports.contains_key(*port)) {
            let Some(number) = port_of(text).filter(|_| known.contains(&place.instance.release)) else {
                continue;
            };
            if found.len() < room && taken.insert((address, number)) {
                found.push(Endpoint {
                    host: place.host.clone(),
                    address,
                    port: port.clone(),
                    number,
                    side: place.instance.side,
                    release: place.instance.release,
                    draining: place.draining,
                    stands_by: place.stands_by(port),
                });
            }
        }
    }
    found.sort_by(|a, b| (&a.host, &a.port, a.number).cmp(&(&b.host, &b.port, b.number)));
    found
}

fn names(
    places: &Places<'_>,
    leading: &Release,
    ports: &BTreeMap<String, RoutedPort>,
    allows: &dyn Fn(&str) -> bool,
) -> Vec<Name> {
    let service = places.seen.service;
    if service.mode == Mode::Removed {
        return Vec::new();
    }
    let routes = leading.spec.traffic.routes.iter();
    // A name that the trust document took back would have every host refuse the whole table.
    let routes =
        routes.filter(|route| !route.preview && ports.contains_key(&route.port) && allows(&route.host));
    routes.map(|route| name(places, route)).collect()
}

fn name(places: &Places<'_>, route: &Route) -> Name {
    Name {
        host: route.host.clone(),
        path: route.path.clone(),
        service: places.seen.service.id.name.clone(),
        port: route.port.clone(),
    }
}
