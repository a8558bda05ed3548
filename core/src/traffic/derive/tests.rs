use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use windlass_testkit::release::{image, payload, recreate, replicas};

use super::*;
use crate::Counter;
use crate::digest::Digest;
use crate::fixture::want;
use crate::id::{ServiceId, SlotId};
use crate::observation::{
    EngineState, Instance, InstanceState, Observation, SlotObservation, SlotStatus, Vitals,
};
use crate::plan::{Order, Phase, PlanSlot, Previous};
use crate::release::{Release, Route};
use crate::service::{Mode, ReleaseRef, Releases, Service, Slots};
use crate::slot::{self, Slot, Transition};
use crate::traffic::{Endpoint, PortSide, ROUTES_VERSION, Routes, Split, StandsBy, Weight};
use crate::units::Span;

fn release(service: &str, counter: u64) -> Release {
    let probe = json!({
        "check": { "http": { "path": "/ready", "port": "http" } },
        "every": "1s", "timeout": "1s", "failures": 1, "successes": 1,
    });
    let mut release = payload(
        counter,
        json!({
            "image": image("r.example.com/web", "1", Digest::of(b"i")), "scale": replicas(1, 9),
            "ports": { "http": { "container": 80 }, "db": { "container": 5432, "protocol": "tcp" } }, "main_port": "http",
            "health": { "readiness": probe }, "strategy": recreate("0s"), "progress_deadline": "10m",
            "traffic": {
                "routes": [{ "host": format!("{service}.example.com"), "path": "/", "port": "http" }],
                "hold": "10s", "slow_start": "20s",
            },
        }),
    );
    (release["service"], release["version"]) = (service.into(), 2.into());
    serde_json::from_value(release).unwrap()
}

/// An environment that tests change before they derive its table.
struct World {
    services: BTreeMap<ServiceId, Service>,
    slots: BTreeMap<ServiceId, Slots>,
    releases: Releases,
    observations: BTreeMap<HostId, Observation>,
    before: Vec<RoutedService>,
    candidate: Option<Digest>,
    moving: bool,
    recovering: bool,
    standbys: bool,
    issued: u64,
    parts: BTreeMap<SlotId, u64>,
    denied: Vec<String>,
}

impl World {
    /// Service `web` with release 1 good and current, on `hosts` hosts with a slot each that serves.
    fn new(hosts: u32) -> Self {
        let mut world = Self {
            services: BTreeMap::new(),
            slots: BTreeMap::new(),
            releases: Releases::new(),
            observations: BTreeMap::new(),
            before: Vec::new(),
            candidate: None,
            moving: false,
            recovering: false,
            standbys: true,
            issued: 0,
            parts: BTreeMap::new(),
            denied: Vec::new(),
        };
        let first = world.add("web", 1);
        world.service("web").good = vec![first];
        world.service("web").current = Some(first);
        (0..hosts).for_each(|n| world.place("web", n, first, Phase::Running));
        (0..hosts).for_each(|n| world.shows("web", n, first, InstanceState::Healthy));
        world
    }

    fn add(&mut self, service: &str, counter: u64) -> ReleaseRef {
        let release = release(service, counter);
        let digest = Digest::of(format!("{service}{counter}").as_bytes());
        let name = ReleaseRef::of(&release, digest);
        let id = release.service_id();
        self.services.entry(id.clone()).or_insert_with(|| Service::new(id));
        self.releases.insert(digest, release);
        name
    }

    fn id(name: &str) -> ServiceId {
        format!("production/{name}").parse().unwrap()
    }

    fn service(&mut self, name: &str) -> &mut Service {
        self.services.get_mut(&Self::id(name)).unwrap()
    }

    fn slot(name: &str, n: u32) -> SlotId {
        SlotId { service: Self::id(name), index: n }
    }

    fn host(n: u32) -> HostId {
        format!("host-{n}").parse().unwrap()
    }

    fn place(&mut self, name: &str, n: u32, release: ReleaseRef, phase: Phase) {
        let slot = Self::slot(name, n);
        let want = PlanSlot { phase, ..want(&slot, release.digest) };
        let assignment = Slot::adopted(Self::host(n), want);
        self.slots.entry(slot.service.clone()).or_default().insert(slot, assignment);
    }

    fn want(&mut self, n: u32) -> &mut Slot {
        self.slots.get_mut(&Self::id("web")).unwrap().get_mut(&Self::slot("web", n)).unwrap()
    }

    /// The host of slot `n` shows an instance of `release`.
    fn shows(&mut self, name: &str, n: u32, release: ReleaseRef, state: InstanceState) {
        let (slot, number) = (Self::slot(name, n), 20_000 + 2 * u64::from(n) + release.counter.0 % 2);
        let number = number + if name == "web" { 0 } else { 1000 };
        let endpoints =
            [("http".to_owned(), format!("9.9.9.9:{number}")), ("db".to_owned(), "9.9.9.9:7".to_owned())];
        let instance = Instance {
            id: format!("{name}-{n}-{}", release.counter),
            container: None,
            release: release.digest,
            counter: release.counter,
            state,
            since: crate::Timestamp::ZERO,
            available: state == InstanceState::Healthy,
            endpoints: endpoints.into(),
            restarts: 0,
            generation: 0,
            readiness_unknown: false,
            side: if release.counter.0.is_multiple_of(2) { PortSide::A } else { PortSide::B },
            vitals: Vitals::default(),
        };
        let observation = self.observations.entry(Self::host(n)).or_default();
        observation.engine = EngineState::Available;
        let known = observation.slots.iter_mut().find(|seen| seen.slot == slot);
        match known {
            Some(seen) => {
                seen.instances.retain(|known| known.id != instance.id);
                seen.instances.insert(0, instance);
            }
            None => observation.slots.push(SlotObservation {
                slot,
                release: Some(release.digest),
                status: SlotStatus::Settled,
                pulled: true,
                checking: false,
                pull: None,
                instances: vec![instance],
                trouble: None,
            }),
        }
    }

    fn instance(&mut self, n: u32) -> &mut Instance {
        let slot = Self::slot("web", n);
        let observation = self.observations.get_mut(&Self::host(n)).unwrap();
        observation.slots.iter_mut().find(|seen| seen.slot == slot).unwrap().instances.first_mut().unwrap()
    }

    fn derive(&self) -> Derived {
        let none = Slots::new();
        let services = self.services.values().map(|service| ServiceSeen {
            service,
            slots: self.slots.get(&service.id).unwrap_or(&none),
            candidate: self.candidate,
            moving: self.moving,
        });
        let hosts = self.observations.iter().enumerate().map(|(n, (host, observation))| {
            let address = Some(format!("10.0.0.{}", n + 1).parse().unwrap());
            let (issued_seq, parts) = (self.issued, Some(&self.parts));
            let recovering = self.recovering;
            (host, HostSeen { address, recovering, observation: Some(observation), issued_seq, parts })
        });
        derive(&TrafficInputs {
            services: services.collect(),
            hosts: hosts.collect(),
            releases: &self.releases,
            before: &self.before,
            standbys: self.standbys,
            allows: &|host| !self.denied.iter().any(|denied| denied == host),
        })
    }

    /// Derives the next table from the one before.
    fn next(&mut self) -> Vec<Endpoint> {
        let derived = self.derive();
        check(&derived).unwrap();
        self.before = derived.services;
        self.before.iter().flat_map(|service| service.endpoints.clone()).collect()
    }
}

fn check(derived: &Derived) -> Result<(), crate::traffic::InvalidRoutes> {
    let Derived { names, services } = derived.clone();
    let table = Routes {
        version: ROUTES_VERSION,
        fleet: "demo".parse().unwrap(),
        environment: "production".parse().unwrap(),
        epoch: 1,
        seq: 1,
        issued_at: crate::Timestamp::ZERO,
        names,
        services,
    };
    table.check()
}

fn marks(endpoints: &[Endpoint]) -> Vec<(u16, bool)> {
    endpoints.iter().map(|endpoint| (endpoint.number, endpoint.draining)).collect()
}

#[test]
fn a_settled_service_has_its_ports_name_and_endpoints() {
    let mut world = World::new(2);
    let derived = world.derive();
    assert_eq!(derived, world.derive(), "the same again");
    let [web] = derived.services.as_slice() else { panic!("{derived:?}") };
    assert_eq!(web.ports.keys().collect::<Vec<_>>(), ["http"], "no request goes to TCP");
    assert_eq!(web.ports["http"].probe.as_deref(), Some("/ready"));
    assert_eq!((web.hold, web.slow_start), (None, Some(Span::from_secs(20))), "nothing is under way");
    assert_eq!(web.drain, Span::from_secs(600));
    assert_eq!(derived.names.len(), 1);
    assert_eq!((derived.names[0].host.as_str(), derived.names[0].port.as_str()), ("web.example.com", "http"));
    let endpoints = world.next();
    assert_eq!(marks(&endpoints), [(20_001, false), (20_003, false)]);
    assert_eq!(endpoints[0].address.to_string(), "10.0.0.1", "the certified one, whatever the host says");
    assert_eq!((endpoints[0].side, &web.releases[0].counter), (PortSide::B, &Counter(1)));
}

#[test]
fn a_rolling_step_starts_routes_drains_and_leaves() {
    let mut world = World::new(1);
    world.next();
    let second = world.add("web", 2);
    world.service("web").current = Some(second);
    (world.candidate, world.moving) = (Some(second.digest), true);
    let old = world.want(0).release();
    world.want(0).edit(|want| {
        (want.release, want.good, want.fallback) = (second.digest, false, Some(old));
        want.previous = Some(Previous { release: old, phase: Phase::Running });
    });
    world.shows("web", 0, second, InstanceState::Starting);
    assert_eq!(marks(&world.next()), [(20_001, false)], "what has not been ready gets nothing");
    world.shows("web", 0, second, InstanceState::Healthy);
    world.instance(0).available = false;
    assert_eq!(marks(&world.next()), [(20_001, false)], "a new release first shows that it stays ready");
    world.instance(0).available = true;
    assert_eq!(marks(&world.next()), [(20_000, false), (20_001, false)], "one pool of both");
    let derived = world.derive();
    let web = &derived.services[0];
    assert_eq!(web.releases.iter().map(|share| share.counter.0).collect::<Vec<_>>(), [2, 1]);
    assert!(web.releases.iter().all(|share| share.weight.is_none()));
    assert_eq!(web.hold, Some(Span::from_secs(10)), "a step is under way");
    world.want(0).edit(|want| want.previous = Some(Previous { release: old, phase: Phase::Draining }));
    assert_eq!(marks(&world.next()), [(20_000, false), (20_001, true)]);
    world.want(0).edit(|want| want.previous = None);
    assert_eq!(
        marks(&world.next()),
        [(20_000, false), (20_001, true)],
        "the new one serves: nothing is restored"
    );
}

#[test]
fn states_decide_who_gets_requests() {
    use InstanceState as S;
    let states = [
        (S::Healthy, true),
        (S::Starting, false),
        (S::Unready, false),
        (S::Pulling, false),
        (S::Standby, false),
        (S::Stopped, false),
        (S::Failed, false),
        (S::Refused, false),
        (S::Unknown, false),
    ];
    for (state, routed) in states {
        let mut world = World::new(1);
        world.next();
        world.instance(0).state = state;
        assert_eq!(world.next().len(), usize::from(routed), "{state:?}");
    }
}

#[test]
fn an_agent_that_begins_again_takes_nothing_from_the_table() {
    let mut world = World::new(1);
    let readiness_unknown = |world: &mut World| {
        let instance = world.instance(0);
        (instance.state, instance.available, instance.readiness_unknown) =
            (InstanceState::Unready, false, true);
    };
    readiness_unknown(&mut world);
    assert_eq!(world.next(), [], "it was not there before");
    world.instance(0).state = InstanceState::Healthy;
    world.instance(0).available = true;
    assert_eq!(world.next().len(), 1);
    readiness_unknown(&mut world);
    assert_eq!(world.next().len(), 1, "nobody knows");
    world.instance(0).readiness_unknown = false;
    assert_eq!(world.next(), [], "its probes have said no");
    world.instance(0).state = InstanceState::Healthy;
    assert_eq!(world.next().len(), 1, "a good release serves as soon as it is ready");
}

#[test]
fn every_way_to_stop_drains_what_was_routed() {
    type Change = fn(&mut World);
    let ways: [(&str, Change); 5] = [
        ("standby", |world| world.want(0).edit(|want| want.phase = Phase::Standby)),
        ("absent", |world| world.want(0).edit(|want| want.phase = Phase::Absent)),
        ("no slot any more", |world| world.slots.clear()),
        ("a slot elsewhere", |world| world.want(0).move_to(World::host(7))),
        ("its agent stops it", |world| world.instance(0).state = InstanceState::Draining),
    ];
    for (way, change) in ways {
        let mut world = World::new(1);
        change(&mut world);
        assert_eq!(world.next(), [], "{way}: what never got a request is not drained");
        let mut world = World::new(1);
        world.next();
        change(&mut world);
        assert_eq!(marks(&world.next()), [(20_001, true)], "{way}");
        assert_eq!(marks(&world.next()), [(20_001, true)], "{way}: as long as it runs");
        world.instance(0).state = InstanceState::Stopped;
        assert_eq!(world.next(), [], "{way}");
    }
}

#[test]
fn a_restored_fallback_serves() {
    let mut world = World::new(1);
    world.next();
    let second = world.add("web", 2);
    world.service("web").current = Some(second);
    let old = world.want(0).release();
    world.want(0).edit(|want| (want.release, want.good, want.fallback) = (second.digest, false, Some(old)));
    assert_eq!(marks(&world.next()), [(20_001, false)]);
}

/// Found by the simulation: a table led requests to what had drained once more, while its host stopped it.
#[test]
fn what_a_restart_stops_first_gets_no_more_requests() {
    let mut world = World::new(1);
    world.next();
    world.want(0).edit(|want| (want.generation, want.order) = (1, Order::StopFirst));
    assert_eq!(marks(&world.next()), [(20_001, true)]);
    // The newer one fails, and its host goes back to this one.
    let evidence = serde_json::json!({
        "instance": null, "release": Digest::of(b"1"), "counter": "r1", "clock": "health",
        "reason": { "exited": { "code": 1 } }, "exit_code": 1, "oom_killed": false, "restarts": 0,
        "log": [], "probes": [], "at": crate::Timestamp::ZERO,
    });
    let failed = serde_json::json!({ "failed": { "restored": null, "evidence": evidence } });
    let observation = world.observations.get_mut(&World::host(0)).unwrap();
    observation.slots[0].status = serde_json::from_value(failed).unwrap();
    assert_eq!(marks(&world.next()), [(20_001, false)]);
}

/// An instance that a restart replaces gets requests again where the newer one turns unready, until it is let go.
#[test]
fn what_was_let_go_gets_no_more_requests() {
    for (lets_go, newer, want) in [
        (false, InstanceState::Healthy, [(20_001, true), (20_003, false)].as_slice()),
        (false, InstanceState::Unready, [(20_001, false)].as_slice()),
        (true, InstanceState::Healthy, [(20_001, true), (20_003, false)].as_slice()),
        (true, InstanceState::Unready, [(20_001, true)].as_slice()),
    ] {
        let mut world = World::new(1);
        world.next();
        let at = world.want(0);
        let start = Transition::Start {
            order: Order::StartFirst,
            generation: 1,
            makes_way: false,
            keeps_older: true,
        };
        *at = slot::apply(Some(at), &start).unwrap();
        if lets_go {
            *at = slot::apply(Some(at), &Transition::LetGo { by_host: false }).unwrap();
        }
        let seen = &mut world.observations.get_mut(&World::host(0)).unwrap().slots[0].instances;
        let mut new = seen[0].clone();
        (new.id, new.generation, new.state) = ("new".to_owned(), 1, newer);
        new.available = newer == InstanceState::Healthy;
        new.endpoints.insert("http".to_owned(), "9.9.9.9:20003".to_owned());
        seen.push(new);
        assert_eq!(marks(&world.next()), want, "let go: {lets_go}, the newer one is {newer:?}");
    }
}

/// Found by the simulation (seed 1988): what a host had restored in the place of a failed predecessor got no requests.
#[test]
fn a_fallback_serves_in_the_place_of_a_predecessor() {
    let mut world = World::new(1);
    world.next();
    let old = world.want(0).release();
    let (second, third) = (world.add("web", 2), world.add("web", 3));
    world.service("web").current = Some(third);
    world.want(0).edit(|want| {
        (want.release, want.phase, want.good) = (third.digest, Phase::Pulled, false);
        want.fallback = Some(old);
        want.previous = Some(Previous { release: second.digest, phase: Phase::Running });
    });
    assert_eq!(marks(&world.next()), [(20_001, false)]);
    world.shows("web", 0, second, InstanceState::Healthy);
    assert_eq!(marks(&world.next()), [(20_000, false), (20_001, true)], "the predecessor serves after all");
}

/// Found by the simulation: a deploy, rollback or restart led requests to what was still stopping for the plan before.
#[test]
fn what_drained_gets_requests_once_its_host_says_it_runs_on() {
    let mut world = World::new(2);
    world.next();
    world.want(0).edit(|want| want.phase = Phase::Standby);
    assert_eq!(marks(&world.next()), [(20_001, true), (20_003, false)]);
    world.observations.values_mut().for_each(|seen| seen.seq = 1);
    (0..2).for_each(|n| world.want(n).edit(|want| want.phase = Phase::Running));
    world.issued = 2;
    assert_eq!(marks(&world.next()), [(20_001, true), (20_003, false)], "what serves stays where it is");
    world.observations.values_mut().for_each(|seen| seen.seq = 2);
    world.instance(0).state = InstanceState::Draining;
    assert_eq!(marks(&world.next()), [(20_001, true), (20_003, false)], "its stop is under way");
    world.instance(0).state = InstanceState::Healthy;
    assert_eq!(marks(&world.next()), [(20_001, false), (20_003, false)]);
    // A later plan that leaves the slot as it is needs no new word.
    world.want(0).edit(|want| want.phase = Phase::Draining);
    assert_eq!(marks(&world.next()), [(20_001, true), (20_003, false)]);
    world.want(0).edit(|want| want.phase = Phase::Running);
    (world.issued, world.parts) = (3, BTreeMap::from([(World::slot("web", 0), 2)]));
    assert_eq!(marks(&world.next()), [(20_001, false), (20_003, false)]);
}

/// Found on engines: the first table of a coordinator that came back left out the instance that its host had restored.
#[test]
fn what_its_host_has_restored_serves_before_it_confirms() {
    let mut world = World::new(1);
    world.next();
    let second = world.add("web", 2);
    world.service("web").current = Some(second);
    let old = world.want(0).release();
    world.want(0).edit(|want| (want.release, want.good, want.fallback) = (second.digest, false, Some(old)));
    world.instance(0).state = InstanceState::Standby;
    world.shows("web", 0, second, InstanceState::Healthy);
    assert_eq!(marks(&world.next()), [(20_000, false), (20_001, true)]);
    // Nobody is there while the second one fails; then the slot is taken back by a part that its host has yet to take.
    let seen = &mut world.observations.get_mut(&World::host(0)).unwrap().slots[0];
    (seen.instances[0].state, seen.instances[1].state) = (InstanceState::Failed, InstanceState::Healthy);
    world.want(0).edit(|want| (want.release, want.good, want.fallback) = (old, true, None));
    world.issued = 2;
    let before = world.before.clone();
    assert_eq!(marks(&world.next()), [(20_001, true)], "a stop may be under way, as far as its host says");
    world.before = before;
    let evidence = crate::rollout::tests::midway::evidence(&release("web", 2));
    world.observations.get_mut(&World::host(0)).unwrap().slots[0].status =
        SlotStatus::Failed { restored: Some(old), evidence: Box::new(evidence) };
    assert_eq!(marks(&world.next()), [(20_001, false)]);
}

/// Found by the simulation (seed 162): a deploy over another one led requests again to what was about to stop for that one.
#[test]
fn what_has_drained_gets_no_requests_as_a_fallback() {
    let mut world = World::new(1);
    world.next();
    let old = world.want(0).release();
    world.want(0).edit(|want| want.phase = Phase::Draining);
    assert_eq!(marks(&world.next()), [(20_001, true)]);
    let second = world.add("web", 2);
    world.service("web").current = Some(second);
    world.want(0).edit(|want| {
        (want.release, want.phase) = (second.digest, Phase::Running);
        (want.good, want.fallback) = (false, Some(old));
    });
    assert_eq!(marks(&world.next()), [(20_001, true)]);
}

#[test]
fn an_older_generation_drains_when_the_newer_one_serves() {
    let mut world = World::new(1);
    world.next();
    world.want(0).edit(|want| want.generation = 1);
    assert_eq!(marks(&world.next()), [(20_001, false)]);
    let mut newer = world.instance(0).clone();
    (newer.id, newer.generation) = ("newer".to_owned(), 1);
    newer.endpoints = [("http".to_owned(), "9.9.9.9:20000".to_owned())].into();
    let observation = world.observations.get_mut(&World::host(0)).unwrap();
    observation.slots[0].instances.insert(0, newer);
    assert_eq!(marks(&world.next()), [(20_000, false), (20_001, true)]);
}

#[test]
fn a_silent_host_keeps_its_endpoints_until_it_is_replaced() {
    let mut world = World::new(1);
    world.next();
    let first = world.service("web").current.unwrap();
    world.place("web", 1, first, Phase::Running);
    world.want(1).stand_in_for(World::slot("web", 0));
    world.shows("web", 1, first, InstanceState::Starting);
    assert_eq!(marks(&world.next()), [(20_001, false)]);
    world.shows("web", 1, first, InstanceState::Healthy);
    assert_eq!(marks(&world.next()), [(20_001, true), (20_003, false)]);
    world.observations.remove(&World::host(0));
    assert_eq!(marks(&world.next()), [(20_003, false)], "evicted");
}

#[test]
fn a_store_that_was_set_back_drains_nothing() {
    let mut world = World::new(1);
    world.next();
    world.slots.clear();
    world.recovering = true;
    assert_eq!(marks(&world.next()), [(20_001, false)]);
}

#[test]
fn names_follow_the_release_that_answers() {
    let mut world = World::new(1);
    world.next();
    let second = world.add("web", 2);
    let renamed =
        Route { host: "new.example.com".into(), path: "/".into(), port: "http".into(), preview: false };
    world.releases.get_mut(&second.digest).unwrap().spec.traffic.routes = vec![renamed];
    world.service("web").current = Some(second);
    let name = |world: &World| world.derive().names[0].host.clone();
    assert_eq!(name(&world), "web.example.com", "nothing of the new one answers");
    let old = world.want(0).release();
    world.want(0).edit(|want| want.release = second.digest);
    world.want(0).edit(|want| want.previous = Some(Previous { release: old, phase: Phase::Running }));
    world.shows("web", 0, second, InstanceState::Healthy);
    assert_eq!(name(&world), "new.example.com");
    world.denied = vec!["new.example.com".to_owned()];
    assert_eq!(world.derive().names, [], "hosts would refuse the whole table");
}

#[test]
fn a_removed_service_leaves_when_its_last_instance_does() {
    let mut world = World::new(1);
    world.next();
    world.service("web").mode = Mode::Removed;
    world.want(0).edit(|want| want.phase = Phase::Absent);
    let derived = world.derive();
    assert_eq!((derived.names.len(), derived.services.len()), (0, 1));
    world.observations.clear();
    assert_eq!(world.derive(), Derived::default());
}

#[test]
fn of_two_claims_to_one_name_or_address_one_holds() {
    let mut world = World::new(1);
    let other = world.add("api", 1);
    world.service("api").current = Some(other);
    world.releases.get_mut(&other.digest).unwrap().spec.traffic.routes[0].host = "web.example.com".into();
    let derived = world.derive();
    check(&derived).unwrap();
    assert_eq!(derived.names.len(), 1);
    assert_eq!(derived.names[0].service.as_str(), "api", "the first by name");
    let first = world.service("web").current.unwrap();
    world.place("web", 5, first, Phase::Running);
    world.want(5).move_to(World::host(0));
    let mut twin = world.observations[&World::host(0)].slots[0].clone();
    twin.slot = World::slot("web", 5);
    world.observations.get_mut(&World::host(0)).unwrap().slots.push(twin);
    assert_eq!(world.next().len(), 1);
}

#[test]
fn a_thousand_services_of_ten_fit_and_take_moments() {
    let mut world = World::new(10);
    let names: Vec<String> = (1..1000).map(|n| format!("s{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let release = world.add(name, 1);
        world.service(name).good = vec![release];
        world.service(name).current = Some(release);
        for host in 0..10 {
            world.place(name, host, release, Phase::Running);
            world.shows(name, host, release, InstanceState::Healthy);
            let slots = &mut world.observations.get_mut(&World::host(host)).unwrap().slots;
            let instance = &mut slots.last_mut().unwrap().instances[0];
            instance.endpoints.insert("http".to_owned(), format!("9.9.9.9:{}", 30_000 + n));
        }
    }
    let endpoints = world.next();
    assert_eq!(endpoints.len(), 10_000);
}

fn any_state() -> impl Strategy<Value = InstanceState> {
    use InstanceState as S;
    prop::sample::select(vec![
        S::Healthy,
        S::Starting,
        S::Unready,
        S::Draining,
        S::Standby,
        S::Stopped,
        S::Failed,
    ])
}

fn any_phase() -> impl Strategy<Value = Phase> {
    prop::sample::select(vec![Phase::Pulled, Phase::Running, Phase::Draining, Phase::Standby, Phase::Absent])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever hosts report and plans say, in whatever order: every table is one that hosts accept, the same state gives the
    /// same table, and what serves is not left out.
    #[test]
    fn every_derived_table_holds(
        steps in prop::collection::vec((0_u32..4, 1_u64..4, any_state(), any_phase(), any::<[bool; 6]>(), any::<u16>()), 1..30),
    ) {
        let mut world = World::new(2);
        for (n, counter, state, phase, [readiness_unknown, good, moving, recovering, removed, fallback], port) in steps {
            let release = world.add("web", counter);
            world.place("web", n, release, phase);
            world.shows("web", n, release, state);
            let instance = world.instance(n);
            instance.readiness_unknown = readiness_unknown;
            if port % 3 == 0 {
                instance.endpoints.insert("http".to_owned(), format!("9.9.9.9:{}", port % 4));
            }
            if good {
                world.service("web").mark_good(release);
            }
            world.service("web").current = Some(release);
            world.service("web").mode = if removed { Mode::Removed } else { Mode::Running };
            world.want(n).edit(|want| want.fallback = fallback.then_some(release.digest));
            (world.moving, world.recovering, world.candidate) = (moving, recovering, Some(release.digest));
            let derived = world.derive();
            prop_assert_eq!(check(&derived), Ok(()));
            prop_assert_eq!(&world.derive(), &derived);
            if state == InstanceState::Healthy && phase == Phase::Running && port % 3 != 0 {
                let serves = |endpoint: &Endpoint| endpoint.release == release.digest && !endpoint.draining;
                prop_assert!(derived.services[0].endpoints.iter().any(serves));
            }
            world.before = derived.services;
        }
    }
}

#[test]
fn a_preview_never_takes_a_name_that_serves() {
    let route = |path: &str, preview| Route {
        host: "web.example.com".into(),
        path: path.into(),
        port: "http".into(),
        preview,
    };
    let own = Route { host: "next.example.com".into(), path: "/".into(), port: "http".into(), preview: true };
    // By the new release itself, for another path; by the old one; and a name of its own.
    for (routes, has_rule) in [
        (vec![route("/", false), route("/next", true)], false),
        (vec![route("/", true)], false),
        (vec![route("/", false), own], true),
    ] {
        let mut world = World::new(2);
        let second = world.add("web", 2);
        world.releases.get_mut(&second.digest).unwrap().spec.traffic.routes = routes.clone();
        let old = world.want(0).release();
        world.place("web", 1, second, Phase::Running);
        world.shows("web", 1, second, InstanceState::Healthy);
        world.service("web").split = Some(Split {
            new: second.digest,
            weight: Weight::NONE,
            old,
            salt: "salt".into(),
            matches: Vec::new(),
        });
        let derived = world.derive();
        check(&derived).unwrap();
        assert_eq!(!derived.services[0].matches.is_empty(), has_rule, "{routes:?}");
        assert!(derived.names.iter().any(|name| name.host == "web.example.com" && name.path == "/"));
        assert!(derived.names.iter().all(|name| name.path == "/"), "{:?}", derived.names);
    }
}

#[test]
fn what_a_host_would_restore_stands_by_for_what_is_on_trial() {
    let trial = |states: [InstanceState; 2], previous: Option<Phase>| {
        let mut world = World::new(1);
        world.next();
        let second = world.add("web", 2);
        world.service("web").current = Some(second);
        let old = world.want(0).release();
        world.want(0).edit(|want| {
            (want.release, want.good, want.fallback) = (second.digest, false, Some(old));
            want.previous = previous.map(|phase| Previous { release: old, phase });
        });
        world.instance(0).state = states[0];
        world.shows("web", 0, second, states[1]);
        (world, second)
    };
    let stands = |endpoints: &[Endpoint]| -> Vec<(u16, bool, Option<StandsBy>)> {
        endpoints.iter().map(|of| (of.number, of.draining, of.stands_by)).collect()
    };
    let behind = |number| Some(StandsBy { instead_of: number });
    let (up, rests) = (InstanceState::Healthy, InstanceState::Standby);
    let serving = (20_000, false, None);
    let (mut world, second) = trial([rests, up], None);
    assert_eq!(stands(&world.next()), [serving, (20_001, true, behind(Some(20_000)))], "it rests");
    assert_eq!(Routes::version_for(&world.before), 2);
    assert_eq!(world.before[0].releases.len(), 2, "both are known, so that both are probed often");
    // The release has proved itself: nothing is restored any more.
    world.want(0).edit(|want| want.good = true);
    assert_eq!(stands(&world.next()), [serving]);
    assert_eq!(Routes::version_for(&world.before), 1, "everybody reads it again");
    let (mut world, _) = trial([up, up], Some(Phase::Draining));
    assert_eq!(stands(&world.next()), [serving, (20_001, true, behind(Some(20_000)))], "it drains");
    let (mut world, _) = trial([up, InstanceState::Starting], Some(Phase::Draining));
    assert_eq!(stands(&world.next()), [(20_001, true, None)], "it stops before the new one starts");
    let (mut world, _) = trial([rests, InstanceState::Starting], None);
    assert_eq!(stands(&world.next()), [(20_001, true, behind(Some(20_000)))], "it has stopped");
    let (mut world, _) = trial([rests, up], None);
    world.want(0).edit(|want| want.phase = Phase::Absent);
    assert!(stands(&world.next()).iter().all(|(.., stands)| stands.is_none()), "nothing is on trial");
    let (mut world, _) = trial([rests, up], None);
    world.standbys = false;
    assert_eq!(stands(&world.next()), [serving], "somebody would not read it");
    assert_eq!(second.counter, Counter(2));
}
