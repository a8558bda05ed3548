//! Whole rollouts in virtual time, whose gate asks a provider that fails in one way: neither passed nor failed, but paused for a person.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::net::TcpSocket;
use windlass_core::fleet::{Fleet, FleetView, Member, Scheduling};
use windlass_core::gate::{Answer, QuestionKey, Verdict};
use windlass_core::host::{HostFacts, HostPolicy, Limit, Liveness};
use windlass_core::observation::{
    EngineState, Instance, InstanceState, Observation, SlotObservation, SlotStatus, Vitals,
};
use windlass_core::plan::Phase;
use windlass_core::release::Release;
use windlass_core::rollout::{
    Decision, Kind, Rollout, RolloutCommand, Snapshot, State, Target, What, advance, questions, start, steer,
};
use windlass_core::service::{ReleaseRef, Releases, Service, Slots};
use windlass_core::traffic::PortSide;
use windlass_core::view::{self, RolloutView, recomputed};
use windlass_core::{HostId, Size};
use windlass_testkit::release::replicas;

use super::*;

/// Two hosts that do what their plans say, and answers of providers.
#[derive(Debug)]
struct Seen<'a> {
    view: &'a FleetView,
    answers: &'a BTreeMap<QuestionKey, Answer>,
}

impl Fleet for Seen<'_> {
    fn since(&self) -> Timestamp {
        self.view.since
    }
    fn member(&self, host: &HostId) -> Option<&Member> {
        self.view.member(host)
    }
    fn all(&self) -> &BTreeMap<HostId, Member> {
        self.view.all()
    }
    fn answer(&self, key: &QuestionKey) -> Option<Answer> {
        self.answers.get(key).cloned()
    }
}

struct World {
    fleet: FleetView,
    service: Service,
    slots: Slots,
    rollout: Option<Rollout>,
    releases: Releases,
    answers: BTreeMap<QuestionKey, Answer>,
    decisions: Vec<Decision>,
    now: Timestamp,
    says: Arc<Mutex<(Timestamp, Option<&'static str>)>>,
    asker: Asker,
}

/// A worker with two instances, the first of which goes on when a query says at most 1 three times.
fn release(counter: u64, provider: SocketAddr) -> (ReleaseRef, Release) {
    let url = format!("http://{provider}");
    let spec = json!({
        "scale": replicas(2, 2),
        "strategy": { "canary": {
            "steps": [{ "weight": 500, "gates": ["orders"] }, { "weight": 1000 }],
            "min_instances": 1, "keep_old": "10m", "min_ready": "5s",
        } },
        "gates": { "orders": {
            "ask": { "prometheus": { "url": url, "query": "up", "timeout": "150ms", "max": 1.0 } },
            "window": "1m", "passes": 3, "fails": 2,
        } },
    });
    let usual = windlass_testkit::release::release(counter, spec);
    let release = Release { version: 4, created_at: now(), ..usual };
    (ReleaseRef::of(&release, Digest::of(&serde_json::to_vec(&release).unwrap())), release)
}

fn member() -> Member {
    let policy = HostPolicy {
        registries: vec!["registry.lab:5000".into()],
        max_memory: Limit::Bytes(Size::from_bytes(1 << 30)),
        ..HostPolicy::default()
    };
    Member {
        facts: Arc::new(HostFacts {
            platform: "linux/amd64".into(),
            cpu_millis: 4000,
            memory: 2 << 30,
            policy,
            ..HostFacts::default()
        }),
        liveness: Liveness::Connected,
        last_seen: Some(now()),
        isolated_for: None,
        scheduling: Scheduling::Ready,
        has_ingress: false,
        recovering: false,
        issued_seq: 0,
        parts: Arc::default(),
        observation: None,
        last_report: None,
        taken: Default::default(),
    }
}

impl World {
    /// r1 runs, and r2 is on its way.
    async fn new(provider: SocketAddr, says: Arc<Mutex<(Timestamp, Option<&'static str>)>>) -> Self {
        let members = ["web-1", "web-2"].map(|host| (host.parse().unwrap(), member()));
        let mut service = Service::new("production/web".parse().unwrap());
        service.replicas = 2;
        let mut world = Self {
            fleet: FleetView { since: now(), members: members.into_iter().collect() },
            service,
            slots: Slots::new(),
            rollout: None,
            releases: Releases::new(),
            answers: BTreeMap::new(),
            decisions: Vec::new(),
            now: now(),
            says,
            asker: asker(&["127.0.0.1/32"]),
        };
        for counter in [1, 2] {
            let (to, release) = release(counter, provider);
            world.releases.insert(to.digest, release);
            let (kind, actor) = (Kind::Deploy, "ada".to_owned());
            let target = Target { release: to, kind, actor, supersede: false, retry_quarantined: false };
            let id = format!("00000000-0000-0000-0000-{counter:012}").parse().unwrap();
            let (service, rollout, _) = start(&world.service, None, target, id, world.now).unwrap();
            (world.service, world.rollout) = (service, Some(rollout));
            if counter == 1 {
                world.until("r1 runs", |world| world.state() == State::Succeeded).await;
            }
        }
        world.decisions.clear();
        world
    }

    fn state(&self) -> State {
        self.rollout.as_ref().unwrap().state
    }

    /// One second: the questions are asked, a decision is made, and hosts do what it says.
    async fn second(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        self.says.lock().unwrap().0 = self.now;
        let rollout = self.rollout.clone().unwrap();
        for question in questions(&rollout, &self.releases[&rollout.to.digest], self.now) {
            if !self.answers.contains_key(&question.key) {
                let answer = self.asker.ask(&question, self.now).await;
                self.answers.insert(question.key, answer);
            }
        }
        let next = advance(&Snapshot {
            service: &self.service,
            slots: &self.slots,
            rollout: Some(&rollout).filter(|rollout| !rollout.state.is_final()),
            releases: &self.releases,
            fleet: &Seen { view: &self.fleet, answers: &self.answers },
            now: self.now,
        });
        (self.service, self.slots) = (next.service, next.slots);
        if let Some(mut rollout) = next.rollout {
            self.decisions.extend(rollout.log.take_fresh());
            self.rollout = Some(rollout);
        }
        for (host, member) in &mut self.fleet.members {
            let mine = self.slots.values().filter(|slot| slot.host() == host);
            let slots = mine.map(|slot| observed(&slot.plan(), &self.releases)).collect();
            let engine = EngineState::Available;
            member.observation =
                Some(Arc::new(Observation { revision: 1, engine, slots, ..Observation::default() }));
            member.last_report = member.observation.clone();
        }
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..2000 {
            if holds(self) {
                return;
            }
            self.second().await;
        }
        panic!("never {what}: {:?}", self.rollout);
    }

    fn steer(&mut self, steering: RolloutCommand) {
        self.rollout = Some(steer(self.rollout.as_ref().unwrap(), steering, "ada", self.now).unwrap());
    }

    /// Instances of r1 and r2 that run.
    fn running(&self) -> [usize; 2] {
        [1, 2].map(|counter| {
            let seen = self.fleet.members.values().filter_map(|member| member.observation.as_ref());
            let instances = seen.flat_map(|seen| &seen.slots).flat_map(|slot| &slot.instances);
            instances.filter(|instance| instance.counter == Counter(counter)).count()
        })
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let judged = self.decisions.iter().filter_map(|decision| match &decision.what {
            What::Judged { judged } => Some(judged.verdict),
            _ => None,
        });
        judged.collect()
    }

    fn view(&self) -> RolloutView {
        let rollout = self.rollout.as_ref().unwrap();
        view::rollout(rollout, &self.service, &self.slots, &self.releases, &self.fleet, &[], self.now)
    }
}

/// A slot on a host that has done what the plan says.
fn observed(want: &windlass_core::plan::PlanSlot, releases: &Releases) -> SlotObservation {
    let other = want.previous.as_ref().map(|previous| (previous.release, previous.phase));
    let runs = [Some((want.release, want.phase)), other].into_iter().flatten();
    let running = runs.filter(|(_, phase)| matches!(phase, Phase::Running | Phase::Draining));
    let instances = running.map(|(release, _)| Instance {
        id: format!("web.{}.{}", want.slot.index, releases[&release].counter),
        container: None,
        release,
        counter: releases[&release].counter,
        state: InstanceState::Healthy,
        since: now(),
        available: true,
        endpoints: BTreeMap::new(),
        restarts: 0,
        generation: 0,
        readiness_unknown: false,
        side: PortSide::A,
        vitals: Vitals::default(),
    });
    SlotObservation {
        slot: want.slot.clone(),
        release: Some(want.release),
        status: SlotStatus::Settled,
        pulled: true,
        checking: false,
        pull: None,
        instances: instances.collect(),
        trouble: None,
    }
}

#[tokio::test]
async fn a_provider_that_answers_decides_the_rollout() {
    for (kind, end, running, verdict) in
        [("good", State::Succeeded, [0, 2], Verdict::Pass), ("bad", State::RolledBack, [2, 0], Verdict::Fail)]
    {
        let says = Arc::new(Mutex::new((now(), Some(kind))));
        let provider = provider_at(says.clone()).await;
        let mut world = World::new(provider.address, says).await;
        world.until(kind, |world| world.state().is_final()).await;
        assert_eq!((world.state(), world.running()), (end, running), "{kind}");
        let verdicts = world.verdicts();
        assert!(verdicts.len() >= 2 && verdicts.iter().all(|of| *of == verdict), "{kind}: {verdicts:?}");
    }
}

#[tokio::test]
async fn each_fault_of_a_provider_pauses_the_rollout_for_a_person() {
    use AnswerFault as F;
    #[rustfmt::skip]
    let table = [
        ("down", F::NoConnection), ("empty", F::Empty), ("nan", F::NotANumber), ("infinite", F::Infinite),
        ("several", F::SeveralSeries), ("stale", F::Stale), ("future", F::Future), ("slow", F::TimedOut),
        ("huge", F::TooLarge), ("broken", F::Status), ("html", F::NotJson), ("bad_query", F::QueryFailed),
    ];
    for (kind, fault) in table {
        let says = Arc::new(Mutex::new((now(), Some(kind))));
        let provider = provider_at(says.clone()).await;
        // A port that is taken, and at which nobody listens.
        let closed = TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = if kind == "down" { closed.local_addr().unwrap() } else { provider.address };
        let mut world = World::new(address, says.clone()).await;

        // The metrics are out for the whole canary: it is neither passed nor failed, however often a person resumes.
        for round in 1..=2 {
            world.until("pauses", |world| world.state() == State::Paused || world.state().is_final()).await;
            assert_eq!((world.state(), world.running()), (State::Paused, [1, 1]), "{kind}");
            assert_eq!(world.verdicts(), vec![Verdict::ProviderError; 4 * round], "{kind}");
            let reason = world.view().reason.unwrap();
            assert!(reason.contains("could not be asked") && reason.contains(fault.words()), "{reason}");
            let paused_at = world.now;
            assert!(!world.view().gates[0].pages, "{kind}: it pages after ten minutes");
            while world.now.since(paused_at) < Duration::from_secs(7 * 60) {
                world.second().await;
            }
            assert!(world.view().gates[0].pages, "{kind}: {:?}", world.view().gates);
            world.now = world.now + Duration::from_secs(3 * 24 * 3600);
            world.second().await;
            assert_eq!(
                (world.state(), world.running()),
                (State::Paused, [1, 1]),
                "{kind}: it never ends by itself"
            );
            if round == 1 {
                world.steer(RolloutCommand::Resume);
            }
        }

        let log = world.rollout.as_ref().unwrap().log.clone();
        let explained = view::explain(world.view(), &log, world.decisions.clone());
        let judged = recomputed(&explained);
        assert_eq!((judged.verdicts.len(), judged.differing), (8, 0), "{kind}: {judged:?}");
        let told = serde_json::to_string(&explained).unwrap();
        assert!(told.contains(fault.words()), "{kind}: {told}");

        // Good metrics let it go on, and a person may always go back.
        if kind == "down" {
            world.steer(RolloutCommand::Abort);
        } else {
            says.lock().unwrap().1 = Some("good");
            world.steer(RolloutCommand::Resume);
        }
        world.until("ends", |world| world.state().is_final()).await;
        let end = if kind == "down" { (State::Aborted, [2, 0]) } else { (State::Succeeded, [0, 2]) };
        assert_eq!((world.state(), world.running()), end, "{kind}");
    }
}
