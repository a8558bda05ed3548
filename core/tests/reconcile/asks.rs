//! Warm-up, smoke tests and checks: what is asked when, what waits for it, and what a bad answer does.

use serde_json::json;
use windlass_core::observation::{Clock, FailureReason, RefusalCode, SlotStatus, SmokeFailure};
use windlass_core::plan::{Phase, PlanSlot};
use windlass_core::reconcile::{Checked, PlanNumber, Question, Tested};
use windlass_core::release::{HostAsk, HostCheck, Request, Smoke, Spec, WarmUp};
use windlass_core::{Span, Timestamp};

use crate::world::*;

fn request(path: &str) -> Request {
    let (path, port, method) = (path.to_owned(), "http".to_owned(), "GET".to_owned());
    Request { path, port, method, headers: Default::default(), body: String::new(), tls: None }
}

fn warm_up(path: &str) -> WarmUp {
    WarmUp { request: request(path), times: 3, timeout: Span::from_secs(30) }
}

fn smoke(path: &str, after: Option<u64>) -> Smoke {
    let expect = serde_json::from_value(json!({"json": {"/database": "connected"}})).unwrap();
    let (timeout, every) = (Span::from_secs(5), Span::from_secs(2));
    Smoke { request: request(path), expect, timeout, tries: 3, every, after: after.map(Span::from_secs) }
}

fn failure() -> SmokeFailure {
    SmokeFailure {
        asked: "GET /health".to_owned(),
        wanted: "/database = \"connected\"".to_owned(),
        got: "\"down\"".to_owned(),
        status: Some(200),
        body: "{\"database\":\"down\"}".to_owned(),
        took: Span::from_millis(4),
        tries: 3,
    }
}

impl World {
    fn questions(&self) -> Vec<Question> {
        self.asks.iter().map(|ask| ask.question).collect()
    }

    /// Everything that is asked now is answered.
    fn answer(&mut self, tested: &Tested) {
        for ask in std::mem::take(&mut self.asks) {
            let answers = &mut self.container(&ask.container).answers;
            if answers.run != ask.run {
                *answers = Default::default();
                answers.run = ask.run;
            }
            match ask.question {
                Question::WarmUp(place) => drop(answers.warmed.insert(place)),
                Question::Smoke(place) => drop(answers.tested.insert(place, tested.clone())),
            }
        }
        self.turn();
    }

    fn pending(&self) -> Option<String> {
        self.seen(&slot(0)).instances[0].vitals.pending.as_ref().map(ToString::to_string)
    }
}

fn asking(spec: &mut Spec) {
    spec.warm_up = vec![warm_up("/a"), warm_up("/b")];
    spec.smoke = vec![smoke("/health", None), smoke("/late", Some(40)), smoke("/detailed", None)];
}

#[test]
fn an_instance_is_warmed_up_then_tested_then_counts() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, asking));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.turn();
    assert_eq!(world.questions(), [], "it is not healthy yet");
    for (question, words) in [
        (Question::WarmUp(0), "warm-up /a"),
        (Question::WarmUp(1), "warm-up /b"),
        (Question::Smoke(0), "smoke test /health"),
        (Question::Smoke(2), "smoke test /detailed"),
    ] {
        world.run(secs(30));
        assert_eq!(world.questions(), [question]);
        assert_eq!(world.pending().map(|text| text.replace("GET ", "")), Some(words.to_owned()));
        assert_eq!(world.picture(&slot(0)), "r2 healthy, r1 healthy+", "{question:?}: it does not count yet");
        world.answer(&Tested::Passed);
    }
    assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 healthy+");
    // It has been healthy for longer than the late one waits.
    world.run(secs(1));
    assert_eq!(world.questions(), [Question::Smoke(1)]);
    world.answer(&Tested::Passed);
    assert_eq!((world.questions(), world.pending()), (vec![], None), "each is asked once");
}

#[test]
fn a_smoke_test_that_fails_restores_the_fallback() {
    let mut world = World::new();
    let change = |spec: &mut Spec| spec.smoke = vec![smoke("/health", None)];
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, change));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(5));
    world.answer(&Tested::Failed(Box::new(failure())));
    world.run(secs(20));
    let SlotStatus::Failed { restored, evidence } = world.status(&slot(0)) else {
        panic!("{:?}", world.status(&slot(0)));
    };
    assert_eq!((*restored, evidence.clock), (Some(one), Clock::Health));
    assert_eq!(evidence.reason, FailureReason::SmokeFailed { test: Box::new(failure()) });
    let words = "smoke test GET /health: wanted /database = \"connected\", got \"down\"";
    assert_eq!(evidence.words(), words);
    assert_eq!((world.picture(&slot(0)).as_str(), world.pending()), ("r2 failed, r1 healthy+", None));
    assert_eq!(world.questions(), [], "what failed is asked nothing more");
}

#[test]
fn a_late_smoke_test_is_asked_while_it_serves() {
    let change = |spec: &mut Spec| spec.smoke = vec![smoke("/sync/status", Some(25))];
    for passes in [true, false] {
        let mut world = World::new();
        let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, change));
        world.plan(vec![good(0, one)]);
        world.run(secs(30));
        world.plan(vec![replacing(0, two, one, Phase::Standby)]);
        world.run(secs(20));
        assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby", "it serves meanwhile");
        assert_eq!(world.questions(), []);
        assert!(
            world.pending().is_some_and(|text| text.starts_with("smoke test GET /sync/status, which is"))
        );
        world.run(secs(5));
        assert_eq!(world.questions(), [], "healthy since one second after its start");
        world.run(secs(1));
        assert_eq!(world.questions(), [Question::Smoke(0)], "the decision wakes up for it");
        // An agent that begins anew has forgotten that it was asked, and asks again.
        world.restart_agent();
        world.turn();
        assert_eq!(world.questions(), [Question::Smoke(0)]);
        assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby");
        world.answer(&if passes { Tested::Passed } else { Tested::Failed(Box::new(failure())) });
        world.run(secs(30));
        if passes {
            assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 standby");
        } else {
            let SlotStatus::Failed { evidence, .. } = world.status(&slot(0)) else { panic!("it failed") };
            assert_eq!(evidence.clock, Clock::Soak);
            assert_eq!(world.picture(&slot(0)), "r2 failed, r1 healthy+");
        }
    }
}

#[test]
fn a_good_release_is_warmed_up_and_never_tested() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, asking);
    world.plan(vec![good(0, one)]);
    world.run(secs(300));
    assert_eq!(world.questions(), [Question::WarmUp(0)]);
    assert_eq!(
        world.picture(&slot(0)),
        "r1 starting",
        "a good release gets requests as soon as it is healthy"
    );
    world.answer(&Tested::Passed);
    world.answer(&Tested::Passed);
    world.run(secs(20));
    assert_eq!((world.questions(), world.picture(&slot(0))), (vec![], "r1 healthy+".to_owned()));
    // An agent that begins anew has no answers, and asks nothing of what served.
    world.observed.containers[0].answers = Default::default();
    world.restart_agent();
    world.run(secs(5));
    assert_eq!((world.questions(), world.picture(&slot(0))), (vec![], "r1 healthy+".to_owned()));
    // Another run begins cold.
    let id = world.observed.containers[0].id.clone();
    let now = world.now;
    world.container(&id).state = windlass_core::reconcile::ContainerState::Running { started_at: now };
    world.run(secs(5));
    assert_eq!(world.questions(), [Question::WarmUp(0)]);
}

#[test]
fn a_warm_up_takes_nothing_from_the_time_to_get_healthy() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, |spec| spec.warm_up = vec![warm_up("/")]);
    world.plan(vec![running(0, one)]);
    world.run(secs(200));
    assert_eq!(world.picture(&slot(0)), "r1 healthy");
    assert_eq!(world.status(&slot(0)), &SlotStatus::Converging);
}

fn checked(world: &mut World, failed: &[&str]) {
    for wanted in std::mem::take(&mut world.checks) {
        let failed = failed.iter().map(|text| (*text).to_owned()).collect();
        world.observed.checks.insert(wanted.release.digest, Checked { plan: wanted.plan, failed });
    }
    world.turn();
}

fn with_checks(spec: &mut Spec) {
    let ask = HostAsk::Postgres { address: "db:5432".to_owned() };
    spec.checks = vec![HostCheck { name: "database".to_owned(), ask, timeout: Span::from_secs(5) }];
}

#[test]
fn nothing_is_touched_before_the_checks_have_passed() {
    let mut world = World::new();
    let (one, two) = (world.release(1, HEALTHY, |_| {}), world.release(2, HEALTHY, with_checks));
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    let before = world.journal.len();
    let pulled = |world: &World| PlanSlot {
        phase: Phase::Pulled,
        ..replacing(0, two, one, world.plan.slots[0].phase)
    };
    let slots = vec![pulled(&world)];
    world.plan(slots.clone());
    world.run(secs(60));
    assert_eq!(world.journal[before..], ["30 pull registry/web:2".to_owned()], "the image comes meanwhile");
    let seen = world.seen(&slot(0));
    assert_eq!((seen.pulled, seen.checking, &seen.status), (false, true, &SlotStatus::Converging));
    assert_eq!(world.checks.len(), 1);

    checked(&mut world, &["database (postgres db:5432): connection refused", "cache: no answer within 5s"]);
    let SlotStatus::Refused(refusal) = world.status(&slot(0)) else { panic!("it is refused") };
    assert_eq!(refusal.code, RefusalCode::CheckFailed);
    assert_eq!(refusal.detail, "database (postgres db:5432): connection refused; cache: no answer within 5s");
    assert_eq!(world.picture(&slot(0)), "r1 healthy+");
    let asked = world.checks[0].plan;
    assert_eq!(asked, world.observed.checks[&two].plan, "not again under this plan");

    // A new plan is a new try, and what passed is not asked again.
    world.plan(slots);
    world.turn();
    assert_eq!(world.status(&slot(0)), &SlotStatus::Converging);
    assert_eq!(world.checks[0].plan, PlanNumber { epoch: 1, seq: asked.seq + 1 });
    checked(&mut world, &[]);
    assert_eq!((world.seen(&slot(0)).pulled, world.status(&slot(0))), (true, &SlotStatus::Settled));
    world.plan(vec![replacing(0, two, one, Phase::Running)]);
    world.run(secs(30));
    assert_eq!(world.picture(&slot(0)), "r2 healthy+, r1 healthy+");
    assert_eq!(world.checks, [], "one that runs is not checked for");
}

#[test]
fn a_start_waits_for_checks_and_a_good_release_has_none() {
    let mut world = World::new();
    let one = world.release(1, HEALTHY, with_checks);
    world.plan(vec![running(0, one)]);
    world.run(secs(60));
    assert_eq!((world.picture(&slot(0)).as_str(), world.checks.len()), ("", 1));
    checked(&mut world, &["database: nothing there"]);
    world.run(secs(600));
    assert!(matches!(world.status(&slot(0)), SlotStatus::Refused(_)));
    assert_eq!(world.picture(&slot(0)), "", "nor does it start later by itself");
    world.plan(vec![good(0, one)]);
    world.run(secs(30));
    assert_eq!((world.picture(&slot(0)).as_str(), world.checks.len()), ("r1 healthy+", 0));
    assert!(world.now > Timestamp::ZERO);
}
