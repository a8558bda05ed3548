//! Requests end before an instance stops, wherever a decision stops one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::midway::{Midway, evidence, stop_first};
use crate::digest::Digest;
use crate::fixture::{at, fleet, instance, reference, release, steady};
use crate::fleet::{Fleet, FleetView, Member};
use crate::host::Liveness;
use crate::id::{Counter, EnvironmentId, HostId, ServiceId, SlotId};
use crate::observation::{EngineState, InstanceState, SlotStatus};
use crate::plan::{Order, Phase, Previous};
use crate::rollout::{Advance, Failure, Snapshot, State, advance, restart};
use crate::time::Timestamp;
use crate::traffic::{
    Endpoint, EndpointState, EndpointTraffic, Ingress, IngressReport, PortSide, Processes, Protocol,
    ROUTES_VERSION, ReleaseShare, RoutedPort, RoutedService, Routes, ServiceTraffic, ServiceWindows, Table,
    TableInForce, Traffic,
};

/// A fleet with an ingress on its last host.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) view: FleetView,
    pub(crate) traffic: Traffic,
    pub(crate) windows: Option<Arc<ServiceWindows>>,
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
    fn windows(&self, _: &ServiceId) -> Option<&ServiceWindows> {
        self.windows.as_deref()
    }
}

pub(crate) fn environment() -> EnvironmentId {
    "production".parse().unwrap()
}

/// The table with these endpoints of slots: host, port, release, draining.
pub(super) fn table(seq: u64, endpoints: &[(&HostId, u16, Digest, bool)]) -> Table {
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
        stands_by: None,
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
    busy_ingress(seq, &[])
}

/// An ingress with a request under way on each of these endpoints.
pub(crate) fn busy_ingress(seq: u64, busy: &[(u16, Digest)]) -> Ingress {
    let endpoint = |(port, release): &(u16, Digest)| EndpointTraffic {
        address: ([10, 0, 0, 1], *port).into(),
        release: *release,
        state: EndpointState::Draining,
        in_flight: 1,
        tunnels: 0,
    };
    let web = ServiceTraffic { endpoints: busy.iter().map(endpoint).collect(), ..ServiceTraffic::default() };
    let mut report = IngressReport {
        process: 1,
        started_at: at(90),
        at: at(101),
        program: "test".into(),
        routes_versions: Vec::new(),
        listens: Vec::new(),
        ending: false,
        tables: BTreeMap::new(),
        refused: BTreeMap::new(),
        services: BTreeMap::from([("production/web".parse().unwrap(), web)]),
        unrouted: 0,
        bad_requests: 0,
        cut_services: 0,
    };
    let in_force =
        TableInForce { epoch: 1, seq, digest: Digest::of(&seq.to_be_bytes()), applied_at: at(101) };
    report.tables.insert(environment(), in_force);
    let mut processes = Processes::default();
    processes.take(Arc::new(report), at(101));
    Ingress { processes, since: at(90), serves: BTreeSet::from([environment()]) }
}

pub(super) fn step(midway: &Midway, traffic: Traffic, now: i64) -> Advance {
    let mut view = midway.fleet.clone();
    for member in view.members.values_mut() {
        Arc::make_mut(&mut member.facts).address = "10.0.0.1".into();
    }
    let fleet = Routed { view, traffic, windows: None };
    advance(&Snapshot {
        service: &midway.service,
        slots: &midway.slots,
        rollout: Some(&midway.rollout),
        releases: &midway.releases,
        fleet: &fleet,
        now: at(now),
    })
}

/// Complaint 2 about other proxies (traefik/traefik#7373): the old container stops before the proxy knows.
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

/// Three slots that answer requests at port 20000 and above, in table 5, which the ingress has.
fn three(midway: &mut Midway) -> Vec<(HostId, u16, Digest)> {
    let r1 = midway.r1.clone();
    let old = reference(&r1).digest;
    for n in 0..3 {
        let seen = instance(&midway.slot(n), old, &r1, InstanceState::Healthy);
        midway.seen(n).instances = vec![seen];
    }
    let host = |n: usize| midway.slots[&midway.slot(n)].host().clone();
    (0..3).map(|n| (host(n), 20_000 + u16::try_from(n).unwrap(), old)).collect()
}

fn routed(seq: u64, endpoints: &[(HostId, u16, Digest)], draining: Option<usize>) -> Table {
    let endpoints = endpoints.iter().enumerate();
    let endpoints: Vec<_> =
        endpoints.map(|(n, (host, port, release))| (host, *port, *release, draining == Some(n))).collect();
    table(seq, &endpoints)
}

fn followed(table: &Table) -> Traffic {
    Traffic {
        tables: BTreeMap::from([(environment(), Arc::new(table.clone()))]),
        ingresses: BTreeMap::from([("edge".parse().unwrap(), ingress(table.routes.seq))]),
    }
}

#[test]
fn a_restart_that_stops_first_drains_first() {
    let r1 = release(1, stop_first);
    let mut view = fleet(3);
    let (service, slots, releases) = steady(&r1, 3, &mut view);
    let id = "00000001".parse().unwrap();
    let (service, mut rollout) = restart(&service, None, 0, "ada".into(), id, at(100)).unwrap();
    rollout.state = State::Advancing;
    let (r2, waiting) = (r1.clone(), Vec::new());
    let mut midway = Midway { fleet: view, service, slots, releases, rollout, waiting, r1, r2 };
    let endpoints = three(&mut midway);
    let all = routed(5, &endpoints, None);
    let state = |next: &Advance| -> Vec<(Phase, u64)> {
        next.slots.values().map(|slot| (slot.run(), slot.target().generation)).collect()
    };
    let untouched = (Phase::Running, 0);
    for now in [110, 111, 112] {
        let next = step(&midway, followed(&all), now);
        assert_eq!(state(&next), [(Phase::Draining, 0), untouched, untouched], "{:?}", next.waiting);
        (midway.slots, midway.rollout) = (next.slots, next.rollout.unwrap());
    }
    // No request goes there any more: it is stopped, and the new one starts.
    let drained = routed(6, &endpoints, Some(0));
    let drained = Table::next(Some(&all), drained.routes, drained.digest);
    let next = step(&midway, followed(&drained), 113);
    assert_eq!(state(&next), [(Phase::Running, 1), untouched, untouched], "{:?}", next.waiting);
    assert_eq!(next.slots.values().next().unwrap().order(), Order::StopFirst);
}

#[test]
fn a_deadline_leaves_a_drain_its_time() {
    let mut midway = Midway::new();
    let endpoints = three(&mut midway);
    let all = routed(5, &endpoints, None);
    let next = step(&midway, followed(&all), 110);
    (midway.slots, midway.rollout) = (next.slots, next.rollout.unwrap());
    // Without progress for 2 m, and the drain timeout of 10 m beside it.
    for (now, want) in [(221, State::Advancing), (819, State::Advancing), (820, State::RollingBack)] {
        let next = step(&midway, followed(&all), now);
        assert_eq!(next.rollout.unwrap().state, want, "{now}: {:?}", next.waiting);
    }
}

/// The drain timeout passes at the same moment as the deadline of what began before it.
#[test]
fn a_drain_that_took_its_time_fails_no_rollout() {
    let mut midway = Midway::new();
    let endpoints = three(&mut midway);
    let all = routed(5, &endpoints, None);
    let next = step(&midway, followed(&all), 110);
    (midway.slots, midway.rollout) = (next.slots, next.rollout.unwrap());
    let begun = midway.rollout.progress_at;
    let drains = routed(6, &endpoints, Some(0));
    let drains = Table::next(Some(&all), drains.routes, drains.digest);
    let busy = Traffic {
        tables: BTreeMap::from([(environment(), Arc::new(drains))]),
        ingresses: BTreeMap::from([("edge".parse().unwrap(), busy_ingress(6, &[(20_000, endpoints[0].2)]))]),
    };
    // The table was made at 100: its drain timeout of 10 m has passed, and so has the deadline of 2 m.
    let next = step(&midway, busy, 700);
    assert_eq!(next.rollout.as_ref().unwrap().state, State::Advancing, "{:?}", next.waiting);
    assert_eq!(next.rollout.unwrap().progress_at, at(700), "{begun}: the drain is over");
}

/// A rollout that is about to end, and an instance of the old release beyond the count, which drains.
fn draining_surplus() -> (Midway, Vec<(HostId, u16, Digest)>, SlotId) {
    let mut midway = Midway::new();
    let r2 = midway.r2.clone();
    let new = reference(&r2).digest;
    let endpoints = three(&mut midway);
    let third = midway.slot(2);
    for n in 0..2 {
        let slot = midway.slot(n);
        midway.see(n, &[(&r2, InstanceState::Healthy)]);
        midway
            .slots
            .get_mut(&slot)
            .unwrap()
            .edit(|want| (want.phase, want.previous) = (Phase::Running, None));
    }
    // The third one is of the old release and beyond the count.
    let old = endpoints[2].2;
    midway.slots.get_mut(&third).unwrap().edit(|want| {
        (want.release, want.good, want.phase) = (old, true, Phase::Running);
        (want.fallback, want.previous) = (None, None);
    });
    midway.seen(2).release = Some(old);
    midway.service.replicas = 2;
    (midway.rollout.state, midway.rollout.soak_since) = (State::Soaking, Some(at(110)));
    for n in 0..2 {
        midway.seen(n).release = Some(new);
    }
    let all = routed(5, &endpoints[2..], None);
    let next = step(&midway, followed(&all), 130);
    assert_eq!(next.rollout.as_ref().unwrap().state, State::Soaking, "{:?}", next.waiting);
    assert_eq!(next.slots[&third].run(), Phase::Draining, "it finishes what it has");
    (midway.slots, midway.rollout) = (next.slots, next.rollout.unwrap());
    (midway, endpoints, third)
}

/// Found by the simulation: a coordinator that was started again, or a stream that broke, ended a drain at once.
#[test]
fn a_drain_goes_on_while_its_host_has_not_reported_anew() {
    let (mut midway, endpoints, third) = draining_surplus();
    let all = routed(5, &endpoints[2..], None);
    let member = midway.fleet.members.get_mut(&endpoints[2].0).unwrap();
    member.last_report = member.observation.take();
    let next = step(&midway, followed(&all), 131);
    assert_eq!(next.slots.get(&third).map(|slot| slot.run()), Some(Phase::Draining), "{:?}", next.waiting);
}

/// Found by the simulation (seeds 636, 1888): a host that had not been heard of since the coordinator began, or whose engine did not
/// answer for a moment, had its instances stopped with requests under way.
#[test]
fn what_serves_on_a_host_that_cannot_act_drains_too() {
    let (midway, endpoints, third) = draining_surplus();
    let (host, port, old) = endpoints[2].clone();
    let all = routed(5, &endpoints[2..], None);
    let drained = routed(6, &endpoints[2..], Some(0));
    let drained = Table::next(Some(&all), drained.routes, drained.digest);
    let busy = Traffic {
        tables: BTreeMap::from([(environment(), Arc::new(drained.clone()))]),
        ingresses: BTreeMap::from([("edge".parse().unwrap(), busy_ingress(6, &[(port, old)]))]),
    };
    type Change = fn(&mut Member);
    let changes: [Change; 2] = [
        |member| (member.observation, member.last_report) = (None, None),
        |member| {
            let seen = Arc::make_mut(member.observation.as_mut().unwrap());
            seen.engine = EngineState::Unavailable("it hangs".to_owned());
        },
    ];
    for change in changes {
        let mut midway = midway.clone();
        change(midway.fleet.members.get_mut(&host).unwrap());
        for traffic in [followed(&all), busy.clone()] {
            let next = step(&midway, traffic, 131);
            let run = next.slots.get(&third).map(|slot| slot.run());
            assert_eq!(run, Some(Phase::Draining), "{:?}", next.waiting);
        }
        let next = step(&midway, followed(&drained), 131);
        assert!(!next.slots.contains_key(&third), "{:?}", next.waiting);
        midway.fleet.members.get_mut(&host).unwrap().liveness = Liveness::Lost;
        assert!(
            !step(&midway, followed(&all), 131).slots.contains_key(&third),
            "nothing ends on a lost host"
        );
    }
}

/// Found by the simulation (seed 194): a retry stopped what its host had restored, with requests under way.
#[test]
fn what_a_host_has_restored_drains_before_a_retry() {
    let mut midway = Midway::new();
    let (r1, r2) = (midway.r1.clone(), midway.r2.clone());
    let endpoints = three(&mut midway);
    let slot = midway.slot(0);
    for n in 0..3 {
        midway.begin(n);
    }
    for n in 1..3 {
        midway.see(n, &[(&r2, InstanceState::Healthy)]);
    }
    midway.fails(0, &r2);
    midway.rollout.retry_quarantined = true;
    let failure = Failure {
        host: endpoints[0].0.clone(),
        slot: slot.clone(),
        evidence: Some(evidence(&r2)),
        refusal: None,
    };
    midway.rollout.failures = vec![failure];
    let all = routed(5, &endpoints[..1], None);
    let state = |next: &Advance| {
        let slot = &next.slots[&slot];
        (slot.run(), slot.other().map(|other| (other.release, other.run)), slot.retries())
    };
    let old = reference(&r1).digest;
    let next = step(&midway, followed(&all), 110);
    assert_eq!(state(&next), (Phase::Pulled, Some((old, Phase::Running)), true), "{:?}", next.waiting);
    (midway.slots, midway.rollout) = (next.slots, next.rollout.unwrap());
    midway.seen(0).status = SlotStatus::Settled;
    let next = step(&midway, followed(&all), 111);
    assert_eq!(state(&next), (Phase::Pulled, Some((old, Phase::Draining)), true), "{:?}", next.waiting);
    (midway.slots, midway.rollout) = (next.slots, next.rollout.unwrap());
    let drained = routed(6, &endpoints[..1], Some(0));
    let drained = Table::next(Some(&all), drained.routes, drained.digest);
    let next = step(&midway, followed(&drained), 112);
    assert_eq!(state(&next), (Phase::Running, Some((old, Phase::Standby)), true), "{:?}", next.waiting);
}

/// Found by the simulation (seed 1988): of slots whose hosts had restored a release in the place of a failed predecessor, all were
/// taken for down, and stopped at once.
#[test]
fn what_is_restored_for_a_predecessor_counts_and_drains() {
    let mut midway = Midway::new();
    let (r1, r3) = (midway.r1.clone(), release(3, stop_first));
    let endpoints = three(&mut midway);
    let (old, between) = (reference(&r1).digest, reference(&r3).digest);
    midway.releases.insert(between, r3);
    for slot in midway.slots.values_mut() {
        slot.edit(|want| want.previous = Some(Previous { release: between, phase: Phase::Running }));
    }
    let begun = |next: &Advance| next.slots.values().filter(|slot| slot.run() == Phase::Running).count();
    let next = step(&midway, Traffic::default(), 110);
    assert_eq!(begun(&next), 1, "one of three may be down: {:?}", next.waiting);
    let next = step(&midway, followed(&routed(5, &endpoints, None)), 110);
    let given = next.slots.values().filter(|slot| slot.other().map(|other| other.release) == Some(old));
    assert_eq!((begun(&next), given.count()), (0, 1), "it gets a place to drain in: {:?}", next.waiting);
}

#[test]
fn a_rollout_ends_after_what_it_stops_has_drained() {
    let (midway, endpoints, third) = draining_surplus();
    let all = routed(5, &endpoints[2..], None);
    let drained = routed(6, &endpoints[2..], Some(0));
    let drained = Table::next(Some(&all), drained.routes, drained.digest);
    let next = step(&midway, followed(&drained), 131);
    assert_eq!(next.rollout.unwrap().state, State::Succeeded, "{:?}", next.waiting);
    assert!(!next.slots.contains_key(&third));
}
