//! Requests end before an instance stops, wherever a decision stops one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fixture::{at, instance, reference};
use super::midway::Midway;
use crate::digest::Digest;
use crate::fleet::{Fleet, FleetView, Member};
use crate::id::{Counter, EnvironmentId, HostId};
use crate::observation::InstanceState;
use crate::plan::Phase;
use crate::rollout::{Advance, Snapshot, State, advance};
use crate::time::Timestamp;
use crate::traffic::{
    Endpoint, Ingress, IngressReport, PortSide, Processes, Protocol, ROUTES_VERSION, ReleaseShare,
    RoutedPort, RoutedService, Routes, Table, TableInForce, Traffic,
};

/// A fleet with an ingress on its last host.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) view: FleetView,
    pub(crate) traffic: Traffic,
}

impl Fleet for Routed {
    fn since(&self) -> Timestamp {
        self.view.since
    }
    fn member(&self, host: &HostId) -> Option<&Member> {
        self.view.member(host)
    }
    fn all(&self) -> &BTreeMap<HostId, Member> {
        self.view.all()
    }
    fn traffic(&self) -> Option<&Traffic> {
        Some(&self.traffic)
    }
}

pub(crate) fn environment() -> EnvironmentId {
    "production".parse().unwrap()
}

/// The table with these endpoints of slots: host, port, release, draining.
fn table(seq: u64, endpoints: &[(&HostId, u16, Digest, bool)]) -> Table {
    let releases: BTreeSet<Digest> = endpoints.iter().map(|(_, _, release, _)| *release).collect();
    let share = |release: Digest| ReleaseShare { release, counter: Counter(1), weight: None };
    let endpoint = |(host, number, release, draining): &(&HostId, u16, Digest, bool)| Endpoint {
        host: (*host).clone(),
        address: "10.0.0.1".parse().unwrap(),
        port: "http".into(),
        number: *number,
        side: PortSide::A,
        release: *release,
        draining: *draining,
    };
    let port = RoutedPort { container: 8000, protocol: Protocol::Http, probe: None };
    let service = RoutedService {
        service: "web".parse().unwrap(),
        ports: BTreeMap::from([("http".to_owned(), port)]),
        releases: releases.into_iter().map(share).collect(),
        matches: Vec::new(),
        salt: String::new(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        hold: None,
        slow_start: None,
        drain: crate::Span::from_secs(30),
    };
    let routes = Routes {
        version: ROUTES_VERSION,
        fleet: "lab".parse().unwrap(),
        environment: environment(),
        epoch: 1,
        seq,
        issued_at: at(100),
        names: Vec::new(),
        services: vec![service],
    };
    Table::next(None, routes, Digest::of(&seq.to_be_bytes()))
}

pub(crate) fn ingress(seq: u64) -> Ingress {
    let mut report = IngressReport {
        process: 1,
        started_at: at(90),
        at: at(101),
        program: "test".into(),
        listens: Vec::new(),
        ending: false,
        tables: BTreeMap::new(),
        refused: BTreeMap::new(),
        services: BTreeMap::new(),
        unrouted: 0,
        cut_services: 0,
    };
    let in_force =
        TableInForce { epoch: 1, seq, digest: Digest::of(&seq.to_be_bytes()), applied_at: at(101) };
    report.tables.insert(environment(), in_force);
    let mut processes = Processes::default();
    processes.take(Arc::new(report), at(101));
    Ingress { processes, since: at(90), serves: BTreeSet::from([environment()]) }
}

fn step(midway: &Midway, traffic: Traffic, now: i64) -> Advance {
    let mut view = midway.fleet.clone();
    for member in view.members.values_mut() {
        Arc::make_mut(&mut member.facts).address = "10.0.0.1".into();
    }
    let fleet = Routed { view, traffic };
    advance(&Snapshot {
        service: &midway.service,
        slots: &midway.slots,
        rollout: Some(&midway.rollout),
        releases: &midway.releases,
        fleet: &fleet,
        now: at(now),
    })
}

#[test]
fn an_old_instance_stops_once_no_request_can_reach_it() {
    let mut midway = Midway::new();
    let (r1, r2) = (midway.r1.clone(), midway.r2.clone());
    let (old, new) = (reference(&r1).digest, reference(&r2).digest);
    let slot = midway.slot(0);
    midway.slots.get_mut(&slot).unwrap().edit(|want| want.phase = Phase::Running);
    midway.see(0, &[(&r2, InstanceState::Healthy), (&r1, InstanceState::Healthy)]);
    midway.seen(0).instances[0].endpoints = BTreeMap::from([("http".into(), "10.0.0.1:30000".into())]);
    let host = midway.slots[&slot].host().clone();
    let ingresses = |seq| BTreeMap::from([("edge".parse().unwrap(), ingress(seq))]);
    let tables = |table: &Table| BTreeMap::from([(environment(), Arc::new(table.clone()))]);
    let other = |next: &Advance| next.slots[&slot].other().map(|other| other.run);

    // Both are in the table: the old one drains.
    let both = table(5, &[(&host, 20_000, old, false), (&host, 30_000, new, false)]);
    let next = step(&midway, Traffic { tables: tables(&both), ingresses: ingresses(5) }, 110);
    assert_eq!(other(&next), Some(Phase::Draining), "{:?}", next.waiting);
    midway.slots = next.slots;

    // The table says so, and the ingress has not taken it: it goes on.
    let drained = table(6, &[(&host, 20_000, old, true), (&host, 30_000, new, false)]);
    let drained = Table::next(Some(&both), drained.routes, drained.digest);
    let next = step(&midway, Traffic { tables: tables(&drained), ingresses: ingresses(5) }, 111);
    assert_eq!(other(&next), Some(Phase::Draining));
    let said: Vec<String> = next.waiting.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|text| text.contains("the ingress on edge to send no more")), "{said:?}");
    assert!(!said.iter().any(|text| text.contains("nothing is heard")), "{said:?}");
    assert_eq!(next.rollout.unwrap().state, State::Advancing);

    // It goes on and says nothing: which one it is, since when, until when, and the way out.
    let next = step(&midway, Traffic { tables: tables(&drained), ingresses: ingresses(5) }, 125);
    let said: Vec<String> = next.waiting.iter().map(ToString::to_string).collect();
    let wanted = format!(
        "the ingress on edge to send no more requests to {slot} on host {host}, until {} at the latest; \
         nothing is heard of the ingress on edge since {}: if it is gone, say so with `windlass routes forget edge`",
        at(700),
        at(101),
    );
    assert!(said.contains(&wanted), "{said:?}\n{wanted}");

    // It has: the old one rests.
    let next = step(&midway, Traffic { tables: tables(&drained), ingresses: ingresses(6) }, 112);
    assert_eq!(other(&next), Some(Phase::Standby), "{:?}", next.waiting);

    // It never does: the drain timeout ends the wait.
    let next = step(&midway, Traffic { tables: tables(&drained), ingresses: ingresses(5) }, 1000);
    assert_eq!(other(&next), Some(Phase::Standby), "{:?}", next.waiting);

    // Nobody routes anything here.
    let next = step(&midway, Traffic::default(), 111);
    assert_eq!(other(&next), Some(Phase::Standby), "{:?}", next.waiting);
}

#[test]
fn what_stops_first_drains_first_and_counts_as_down_meanwhile() {
    let mut midway = Midway::new();
    let r1 = midway.r1.clone();
    let old = reference(&r1).digest;
    for n in 0..3 {
        let slot = midway.slot(n);
        let seen = instance(&slot, old, &r1, InstanceState::Healthy);
        midway.seen(n).instances = vec![seen];
    }
    let hosts: Vec<HostId> = (0..3).map(|n| midway.slots[&midway.slot(n)].host().clone()).collect();
    let endpoints: Vec<_> =
        (0..3).map(|n| (&hosts[n], 20_000 + u16::try_from(n).unwrap(), old, false)).collect();
    let traffic = || Traffic {
        tables: BTreeMap::from([(environment(), Arc::new(table(5, &endpoints)))]),
        ingresses: BTreeMap::from([("edge".parse().unwrap(), ingress(5))]),
    };
    for now in [110, 111, 112] {
        let next = step(&midway, traffic(), now);
        let runs: Vec<Phase> =
            next.slots.values().filter_map(|slot| slot.other().map(|other| other.run)).collect();
        let draining = runs.iter().filter(|run| **run == Phase::Draining).count();
        assert_eq!((draining, runs.contains(&Phase::Standby)), (1, false), "{runs:?}: {:?}", next.waiting);
        midway.slots = next.slots;
    }
}
