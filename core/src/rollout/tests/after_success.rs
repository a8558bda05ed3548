//! `restarts` and `unhealthy_for` after the release has succeeded: a state of the service, decided from observations.

use std::sync::Arc;

use serde_json::json;

use super::triggers::{Trial, rules};
use crate::fixture::{at, reference};
use crate::observation::{EngineState, Instance, InstanceState, LastExit, NotReady, Observation, SlotStatus};
use crate::rollout::{Begins, Figures, Kind, Reason, RestartError, Trigger, restart};
use crate::service::{Service, Watch};

/// r2 has succeeded, and is watched for an hour: two restarts, or 2 minutes.
fn watched() -> Trial {
    let mut trial = Trial::new(rules(&json!({ "restarts": 2, "for": "1h" })));
    trial.succeed();
    trial
}

impl Trial {
    fn one(&mut self, n: usize) -> &mut Instance {
        &mut self.midway.seen(n).instances[0]
    }

    /// The instance of a slot is not ready from now on.
    fn unready(&mut self, n: usize) {
        let since = at(self.now);
        let why = NotReady {
            cause: crate::observation::Cause::Probe,
            asked: "readiness GET /health".to_owned(),
            answer: "HTTP 503".to_owned(),
            failed: 3,
            of: 3,
            since,
        };
        let one = self.one(n);
        (one.state, one.available, one.since) = (InstanceState::Unready, false, since);
        one.vitals.not_ready = Some(why);
    }

    fn healthy(&mut self, n: usize) {
        let since = at(self.now);
        let one = self.one(n);
        (one.state, one.available, one.since) = (InstanceState::Healthy, true, since);
        one.vitals.not_ready = None;
    }

    /// So many seconds pass, with a look every two. Answers with the rollback that begins.
    fn passes(&mut self, seconds: i64) -> Option<Begins> {
        for _ in 0..seconds / 2 {
            self.now += 2;
            self.report();
            if let Some(begins) = self.step().begins {
                return Some(begins);
            }
        }
        None
    }

    /// The word of a slot's host about its engine.
    fn observation(&mut self, n: usize) -> &mut Observation {
        let host = self.midway.slots[&self.midway.slot(n)].host().clone();
        Arc::make_mut(self.midway.fleet.members.get_mut(&host).unwrap().observation.as_mut().unwrap())
    }

    /// Instances whose restarts of before are remembered.
    fn remembered(&self) -> usize {
        self.watch().instances.unwrap().restarts_before.values().flatten().count()
    }

    fn watch(&self) -> Watch {
        self.midway.service.watch.clone().unwrap()
    }
}

fn fired(begins: &Begins) -> (Trigger, Figures) {
    let Reason::Trigger { what, figures } = &begins.reason else { panic!("{begins:?}") };
    let stored = serde_json::to_vec(&begins.reason).unwrap();
    assert_eq!(serde_json::from_slice::<Reason>(&stored).unwrap(), begins.reason);
    (*what, (**figures).clone())
}

#[test]
fn an_instance_unready_for_too_long_brings_the_old_one_back() {
    let mut trial = watched();
    let since = trial.now;
    trial.unready(1);
    let next = trial.step();
    assert_eq!((next.begins, next.wake_at), (None, Some(at(since + 2))), "it is looked at all the while");
    assert_eq!(trial.passes(118), None);
    let begins = trial.passes(2).unwrap();
    assert_eq!(begins.to, reference(&trial.midway.r1));
    let (what, figures) = fired(&begins);
    assert_eq!((what, figures.from, figures.until), (Trigger::UnhealthyFor, at(since), at(since + 120)));
    assert_eq!(
        begins.reason.to_string(),
        "web.1.r2 on h0001 was unready for 2m (at most 2m): readiness GET /health → HTTP 503 (3 of 3 failed)"
    );
    assert_eq!(figures.lines(what).len(), 1);
    assert_eq!(trial.midway.service.watch, None, "once");
}

#[test]
fn restarts_since_success_bring_the_old_release_back() {
    let mut trial = Trial::new(rules(&json!({ "restarts": 2, "for": "1h" })));
    trial.soak();
    trial.crash(0, 1);
    trial.succeed_as_it_is();
    assert_eq!(trial.step().begins, None, "one was before the success");
    trial.crash(0, 2);
    trial.crash(1, 1);
    assert_eq!(trial.step().begins, None, "one of each: `crashes` counts those of the service");
    trial.now += 30;
    trial.crash(0, 3);
    trial.one(0).vitals.last_exit = Some(LastExit { code: 137, oom_killed: true, at: at(trial.now) });
    let begins = trial.step().begins.unwrap();
    let (what, figures) = fired(&begins);
    assert_eq!((what, figures.instance.unwrap().restarts), (Trigger::Restarts, 2));
    assert_eq!(
        begins.reason.to_string(),
        "2 restarts of web.0.r2 on h0000 in the 30 s since r2 succeeded (2 are enough): killed for memory (exit 137)"
    );
}

#[test]
fn the_default_of_restarts_bears_exits_that_crashes_allows() {
    let mut trial = Trial::new(rules(&json!({ "restarts": 1, "crashes": 3, "for": "1h" })));
    trial.soak();
    trial.succeed_as_it_is();
    trial.crash(0, 2);
    assert_eq!(trial.step().begins, None, "three were said to be enough");
    trial.crash(0, 3);
    assert!(trial.step().begins.is_some());
    let mut trial = Trial::new(rules(&json!({ "restarts": 1, "for": "1h" })));
    trial.soak();
    trial.succeed_as_it_is();
    trial.crash(0, 1);
    assert!(trial.step().begins.is_some(), "the first one, where nothing else is said");
}

#[test]
fn an_instance_that_recovers_or_never_served_is_no_reason() {
    type Change = fn(&mut Trial);
    let table: [(&str, Change); 6] = [
        ("it was ready for a moment, seen", |trial| {
            trial.healthy(1);
            trial.passes(2);
            trial.unready(1);
        }),
        ("it was ready for a moment between two looks", |trial| trial.unready(1)),
        ("it is another instance", |trial| trial.one(1).id = "web.1.r2.2".to_owned()),
        ("it has never been ready", |trial| trial.one(1).state = InstanceState::Starting),
        ("its container is paused", |trial| {
            let since = at(trial.now);
            trial.one(1).vitals.not_ready = Some(NotReady::paused(since));
        }),
        ("it is the instance of a restart that failed", |trial| {
            let mut evidence = super::midway::evidence(&trial.midway.r2.clone());
            evidence.instance = Some(trial.one(1).id.clone());
            trial.midway.seen(1).status = SlotStatus::Failed { restored: None, evidence: Box::new(evidence) };
        }),
    ];
    for (case, change) in table {
        let mut trial = watched();
        trial.unready(1);
        assert_eq!(trial.passes(110), None, "{case}");
        change(&mut trial);
        assert_eq!(trial.passes(110), None, "{case}");
        trial.unready(2);
        assert!(trial.passes(122).is_some(), "{case}: the watch goes on");
    }
}

#[test]
fn a_hole_in_the_observations_fires_nothing_by_itself() {
    type Change = fn(&mut Trial);
    let none: Change = |_| {};
    let table: [(&str, Change, Change); 6] = [
        ("its host is away", |trial| trial.midway.is_away(1, true), |trial| trial.midway.is_away(1, false)),
        (
            "its engine is away",
            |trial| trial.observation(1).engine = EngineState::Unavailable("gone".to_owned()),
            |trial| trial.observation(1).engine = EngineState::Available,
        ),
        (
            "its agent begins and has not looked",
            |trial| trial.observation(1).engine = EngineState::Unknown,
            |trial| trial.observation(1).engine = EngineState::Available,
        ),
        (
            "its agent has no answer yet",
            |trial| trial.one(1).readiness_unknown = true,
            |trial| trial.one(1).readiness_unknown = false,
        ),
        (
            "its host has said nothing of the slot",
            |trial| trial.one(1).release = crate::digest::Digest::of(b"another"),
            |trial| trial.one(1).release = reference(&trial.midway.r2.clone()).digest,
        ),
        (
            "the coordinator was away",
            |trial| {
                let stored = serde_json::to_vec(&trial.midway.service).unwrap();
                trial.midway.service = serde_json::from_slice(&stored).unwrap();
                trial.now += 600;
                trial.midway.fleet.since = at(trial.now);
            },
            none,
        ),
    ];
    for (case, begins, ends) in table {
        let mut trial = watched();
        trial.unready(1);
        assert_eq!(trial.passes(118), None, "{case}");
        begins(&mut trial);
        if case != "the coordinator was away" {
            assert_eq!(trial.passes(600), None, "{case}");
        }
        ends(&mut trial);
        assert_eq!(trial.passes(116), None, "{case}: its time begins anew");
        assert!(trial.passes(6).is_some(), "{case}: and ends");
    }
}

#[test]
fn restarts_that_nobody_could_date_do_not_count() {
    let mut trial = Trial::new(rules(&json!({ "restarts": 2, "for": "1h" })));
    trial.soak();
    trial.midway.rollout.stragglers.insert(trial.midway.slots[&trial.midway.slot(2)].host().clone());
    trial.midway.is_away(2, true);
    trial.succeed_as_it_is();
    assert_eq!(trial.watch().instances.unwrap().unheard.len(), 1);
    assert_eq!(trial.passes(60), None);
    trial.crash(2, 7);
    trial.midway.is_away(2, false);
    assert_eq!(trial.passes(60), None, "they may be from before");
    assert!(trial.watch().instances.unwrap().unheard.is_empty());
    trial.crash(2, 9);
    assert!(trial.passes(2).is_some());
    // A host that was heard of at the success and was away for a while has counted them since.
    let mut trial = watched();
    trial.midway.is_away(1, true);
    assert_eq!(trial.passes(60), None);
    trial.crash(1, 2);
    assert_eq!(trial.passes(60), None, "nothing is heard");
    trial.midway.is_away(1, false);
    assert!(trial.passes(2).is_some());
}

#[test]
fn exits_before_an_instance_has_served_do_not_count() {
    let mut trial = watched();
    let one = trial.one(1);
    (one.id, one.restarts, one.state, one.vitals.unproven) =
        ("web.1.r2.2".to_owned(), 0, InstanceState::Starting, true);
    for restarts in 1..9 {
        assert_eq!(trial.passes(4), None);
        trial.crash(1, restarts);
    }
    assert_eq!(trial.passes(4), None, "its new host may lack what it needs");
    trial.one(1).vitals.unproven = false;
    trial.healthy(1);
    assert_eq!(trial.passes(4), None);
    trial.crash(1, 9);
    trial.unready(1);
    assert_eq!(trial.passes(4), None);
    // The memory is of instances that are there, however many there were.
    assert_eq!(trial.remembered(), 1);
    let known = trial.one(1).clone();
    for n in 3..50 {
        let one = trial.one(1);
        (one.id, one.restarts, one.vitals.unproven) = (format!("web.1.r2.{n}"), 1, true);
        assert_eq!(trial.passes(2), None);
    }
    assert_eq!(trial.remembered(), 1);
    *trial.one(1) = Instance { id: "web.1.r2.50".to_owned(), restarts: 0, ..known };
    assert_eq!(trial.passes(2), None);
    trial.crash(1, 2);
    assert_eq!(fired(&trial.passes(4).unwrap()).0, Trigger::Restarts);
}

#[test]
fn a_restart_that_a_person_asked_for_is_none() {
    let mut trial = watched();
    trial.crash(0, 1);
    assert_eq!(trial.passes(10), None);
    let id = "00000009".parse().unwrap();
    let begun: Result<(Service, _), RestartError> =
        restart(&trial.midway.service, None, 0, "ada".to_owned(), id, at(trial.now));
    let (service, rollout) = begun.unwrap();
    assert_eq!(rollout.kind, Kind::Restart);
    assert!(service.watch.is_some(), "the watch goes on");
    // The rollout of the restart is over: each slot has a new instance, and the old ones were stopped.
    trial.midway.service = Service { rollout: None, ..service };
    for n in 0..3 {
        let one = trial.one(n);
        (one.id, one.restarts, one.generation) = (format!("web.{n}.r2.2"), 0, 1);
        let slot = trial.midway.slot(n);
        trial.midway.slots.get_mut(&slot).unwrap().edit(|want| want.generation = 1);
    }
    assert_eq!(trial.passes(60), None);
    trial.crash(0, 1);
    assert_eq!(trial.passes(10), None, "one before and one after are of two instances");
    trial.crash(0, 2);
    assert!(trial.passes(2).is_some());
}

#[test]
fn the_limits_of_one_instance_end_with_the_watch() {
    let mut trial = watched();
    let until = trial.now + 3600;
    trial.now = until - 100;
    trial.unready(0);
    assert_eq!(trial.passes(98), None);
    assert!(trial.midway.service.watch.is_some());
    trial.crash(1, 50);
    trial.now = until - 2;
    assert_eq!(trial.passes(200), None);
    assert_eq!(trial.midway.service.watch, None);
    // Without `for` agents alone have looked, until the success.
    let mut trial = Trial::new(rules(&json!({ "restarts": 1 })));
    trial.succeed();
    trial.unready(0);
    trial.crash(1, 50);
    assert_eq!(trial.passes(600), None);
}

#[test]
fn a_watch_survives_the_coordinator_with_its_counts() {
    let mut trial = watched();
    trial.crash(0, 1);
    assert_eq!(trial.passes(10), None);
    let stored = serde_json::to_vec(&trial.midway.service).unwrap();
    trial.midway.service = serde_json::from_slice(&stored).unwrap();
    trial.midway.fleet.since = at(trial.now);
    assert_eq!(trial.passes(10), None);
    trial.crash(0, 2);
    assert!(trial.passes(2).is_some(), "one before and one after its restart are two");
}

#[test]
fn a_watch_of_the_version_before_looks_at_no_instance() {
    let mut trial = watched();
    let mut stored = serde_json::to_value(&trial.midway.service).unwrap();
    assert!(stored["watch"].as_object_mut().unwrap().remove("instances").is_some());
    trial.midway.service = serde_json::from_value(stored).unwrap();
    trial.unready(0);
    trial.crash(1, 50);
    assert_eq!(trial.passes(600), None, "its release was signed when agents alone looked");
}
