//! Triggers over windows of counters and over restarts: in the rollout, in the soak, and for some time after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::drained::{Routed, environment};
use super::midway::{Midway, deploy, stop_first};
use crate::digest::Digest;
use crate::fixture::{at, reference, release};
use crate::observation::{GpuError, GpuErrors, InstanceState};
use crate::plan::Phase;
use crate::release::Release;
use crate::rollout::{
    Advance, Reason, RollbackMode, RolloutCommand, Snapshot, State, Trigger, advance, start, steer,
};
use crate::time::Timestamp;
use crate::traffic::{
    Counts, Ingress, IngressReport, ReleaseTraffic, ServiceTraffic, Traffic, Wanted, Windows,
};

/// r2 on trial since second 100, with an ingress that reports every two seconds.
pub(super) struct Trial {
    pub(super) midway: Midway,
    windows: Windows,
    counts: BTreeMap<Digest, Counts>,
    pub(super) now: i64,
}

pub(super) fn rules(rules: &Value) -> Release {
    release(2, |json| {
        stop_first(json);
        json["version"] = 3.into();
        json["spec"]["rollback_on"].as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
    })
}

impl Trial {
    pub(super) fn new(r2: Release) -> Self {
        let midway = Midway::between(release(1, stop_first), r2);
        let mut trial = Self { midway, windows: Windows::default(), counts: BTreeMap::new(), now: 100 };
        trial.report();
        trial
    }

    /// Every slot is at r2, and healthy, and the soak goes on.
    pub(super) fn soak(&mut self) {
        let r2 = self.midway.r2.clone();
        for slot in self.midway.slots.values_mut() {
            slot.edit(|want| (want.phase, want.previous) = (Phase::Running, None));
        }
        (0..3).for_each(|n| self.midway.see(n, &[(&r2, InstanceState::Healthy)]));
        self.midway.rollout.state = State::Soaking;
        self.midway.rollout.soak_since = Some(at(self.now));
    }

    pub(super) fn report(&mut self) {
        let of = |(release, counts): (&Digest, &Counts)| {
            (*release, ReleaseTraffic { weighted: counts.clone(), ..ReleaseTraffic::default() })
        };
        let releases = self.counts.iter().map(of).collect();
        let id = self.midway.service.id.clone();
        let report = IngressReport {
            process: 1,
            started_at: at(1),
            at: at(self.now),
            program: "test".into(),
            routes_versions: Vec::new(),
            listens: Vec::new(),
            ending: false,
            tables: BTreeMap::new(),
            refused: BTreeMap::new(),
            services: BTreeMap::from([(
                id.clone(),
                ServiceTraffic { releases, ..ServiceTraffic::default() },
            )]),
            unrouted: 0,
            bad_requests: 0,
            cut_services: 0,
        };
        let both = [&self.midway.r1, &self.midway.r2].map(|release| reference(release).digest);
        let wanted = Wanted::from([(id, BTreeSet::from(both))]);
        self.windows.take(&"edge".parse().unwrap(), &Arc::new(report), at(self.now), &wanted, |_| true);
    }

    /// Two seconds pass, with requests of `release`, of which some fail; all take as long as `bucket` says.
    fn requests_of(&mut self, release: &Release, requests: u64, failed: u64, bucket: u16) {
        let counts = self.counts.entry(reference(release).digest).or_default();
        counts.requests += requests;
        counts.server_error += failed;
        match counts.to_head.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(at) => counts.to_head[at].1 += requests,
            Err(at) if requests > 0 => counts.to_head.insert(at, (bucket, requests)),
            Err(_) => {}
        }
        self.now += 2;
        self.report();
    }

    pub(super) fn requests(&mut self, requests: u64, failed: u64) {
        self.requests_of(&self.midway.r2.clone(), requests, failed, 10);
    }

    /// One decision.
    pub(super) fn step(&mut self) -> Advance {
        let ingress = Ingress {
            processes: crate::traffic::Processes::default(),
            since: Timestamp::ZERO,
            serves: BTreeSet::from([environment()]),
        };
        let fleet = Routed {
            view: self.midway.fleet.clone(),
            traffic: Traffic {
                tables: BTreeMap::new(),
                ingresses: BTreeMap::from([("edge".parse().unwrap(), ingress)]),
            },
            windows: self.windows.of(&self.midway.service.id),
        };
        let next = advance(&Snapshot {
            service: &self.midway.service,
            slots: &self.midway.slots,
            rollout: Some(&self.midway.rollout).filter(|rollout| !rollout.state.is_final()),
            releases: &self.midway.releases,
            fleet: &fleet,
            now: at(self.now),
        });
        let Advance { service, slots, rollout, .. } = next.clone();
        (self.midway.service, self.midway.slots) = (service, slots);
        rollout.into_iter().for_each(|rollout| self.midway.rollout = rollout);
        next
    }

    fn state(&self) -> State {
        self.midway.rollout.state
    }

    /// The reason for the rollout's state.
    fn reason(&self) -> String {
        self.midway.rollout.reason.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// The rollout has succeeded, and r2 is watched.
    pub(super) fn succeed(&mut self) {
        self.soak();
        self.succeed_as_it_is();
    }

    /// The same, of slots as they are.
    pub(super) fn succeed_as_it_is(&mut self) {
        self.now += 12;
        self.report();
        self.step();
        assert_eq!(self.state(), State::Succeeded, "{}", self.reason());
    }

    /// The GPU of an instance has reported so many errors.
    fn gpu(&mut self, n: usize, count: u32) {
        let last = GpuError { gpu: format!("GPU-{n}"), what: "XID 79".to_owned(), at: at(self.now) };
        self.midway.seen(n).instances[0].vitals.gpu_errors = Some(GpuErrors { count, last: Some(last) });
    }

    pub(super) fn crash(&mut self, n: usize, restarts: u32) {
        self.midway.seen(n).instances[0].restarts = restarts;
    }
}

/// The bucket of about 0.5 s.
const SLOW: u16 = 143;

#[test]
fn each_trigger_fires_with_its_figures_and_not_on_too_little() {
    let rate = json!({ "error_rate": { "max": 50 } });
    let strict = json!({ "error_rate": { "max": 0, "min_requests": 1 } });
    let answers = json!({ "status_5xx": { "count": 10, "within": "1m" } });
    let slow = json!({ "p95": { "max": "400ms" } });
    #[rustfmt::skip]
    let table = [
        ("more than 5 %", &rate, 500, 62, 10, Some("error rate 12.4 % (62 of 500 requests in 2 s, at most 5 %)")),
        ("exactly 5 %", &rate, 100, 5, 10, None),
        ("too few requests", &rate, 99, 20, 10, None),
        ("few are enough where most fail", &rate, 20, 6, 10, Some("error rate 30 % (6 of 20 requests in 2 s, at most 5 %)")),
        ("fewer are not", &rate, 19, 19, 10, None),
        ("one of one", &strict, 1, 1, 10, Some("error rate 100 % (1 of 1 requests in 2 s, at most 0 %)")),
        ("ten answers", &answers, 2000, 10, 10, Some("10 answers with status 5xx of 2000 in 2 s (10 are enough)")),
        ("nine answers", &answers, 2000, 9, 10, None),
        ("slow", &slow, 100, 0, SLOW, Some("p95 of the latency is 496ms or more (100 requests in 2 s, at most 400ms)")),
        ("slow, of too few", &slow, 99, 0, SLOW, None),
        ("fast", &slow, 5000, 0, 100, None),
        ("nothing was asked for", &json!({}), 500, 500, SLOW, None),
    ];
    for state in [State::Advancing, State::Soaking] {
        for (case, said, requests, failed, bucket, want) in &table {
            let r2 = rules(said);
            let mut trial = Trial::new(r2.clone());
            if state == State::Soaking {
                trial.soak();
            }
            trial.requests_of(&r2, *requests, *failed, *bucket);
            trial.step();
            match want {
                Some(words) => {
                    assert_eq!(trial.state(), State::RollingBack, "{case}");
                    assert_eq!(&trial.reason(), words, "{case}");
                    let back = trial.midway.rollout.going_back;
                    assert_eq!(back, Some(RollbackMode::RolledBack), "{case}");
                }
                None => assert_ne!(trial.state(), State::RollingBack, "{case}: {}", trial.reason()),
            }
        }
    }
}

#[test]
fn the_figures_can_be_counted_up_again() {
    let r2 = rules(&json!({ "error_rate": { "max": 50 } }));
    let mut trial = Trial::new(r2);
    trial.requests(300, 0);
    trial.requests(200, 62);
    let next = trial.step();
    let Some(Reason::Trigger { what: Trigger::ErrorRate, figures }) = &trial.midway.rollout.reason else {
        panic!("{:?}", trial.midway.rollout.reason)
    };
    assert_eq!((figures.requests, figures.errors, figures.server_errors), (500, 62, 62));
    assert_eq!((figures.from, figures.until), (at(100), at(104)));
    assert_eq!((figures.reporting, figures.ingresses), (1, 1));
    let written = serde_json::to_value(next.rollout.unwrap().log.fresh()).unwrap().to_string();
    assert!(written.contains(r#""what":"error_rate""#) && written.contains(r#""errors":62"#), "{written}");
    let read: Reason =
        serde_json::from_value(serde_json::to_value(&trial.midway.rollout.reason).unwrap()).unwrap();
    assert_eq!(Some(&read), trial.midway.rollout.reason.as_ref());
}

#[test]
fn only_the_new_release_counts_and_only_in_its_rollout() {
    let said = json!({ "status_5xx": { "count": 10, "within": "1m" } });
    let mut trial = Trial::new(rules(&said));
    trial.requests_of(&trial.midway.r1.clone(), 5000, 5000, 10);
    trial.step();
    assert_eq!(trial.state(), State::Advancing, "the old release fails, which is no reason to keep it");
    // Requests from before the rollout was made, or before this coordinator began, are not of this trial.
    let mut trial = Trial::new(rules(&said));
    trial.requests(5000, 5000);
    trial.midway.rollout.created_at = at(101);
    trial.step();
    assert_eq!(trial.state(), State::Advancing);
    let mut trial = Trial::new(rules(&said));
    trial.requests(5000, 5000);
    trial.midway.fleet.since = at(101);
    trial.step();
    assert_eq!(trial.state(), State::Advancing);
    // Ten, but not in one minute.
    let mut trial = Trial::new(rules(&said));
    for n in 0..60 {
        trial.requests(10, u64::from(n % 4 == 0));
        trial.step();
        assert_eq!(trial.state(), State::Advancing, "{n}: {}", trial.reason());
    }
}

#[test]
fn a_pause_by_a_trigger_goes_on_with_new_counts() {
    let mut r2 = rules(&json!({ "status_5xx": { "count": 10, "within": "1m" }, "crashes": 2 }));
    r2.spec.on_failure = crate::release::OnFailure::Pause;
    let mut trial = Trial::new(r2.clone());
    trial.soak();
    trial.crash(0, 1);
    trial.requests(100, 10);
    trial.step();
    assert_eq!(trial.state(), State::Paused, "{}", trial.reason());
    trial.midway.rollout =
        steer(&trial.midway.rollout, RolloutCommand::Resume, "ada", at(trial.now)).unwrap();
    trial.crash(1, 1);
    trial.requests(100, 9);
    trial.step();
    assert_ne!(trial.state(), State::Paused, "neither is enough since: {}", trial.reason());
    trial.crash(1, 2);
    trial.step();
    assert_eq!(trial.state(), State::Paused);
    assert!(trial.reason().starts_with("2 exits of instances of r2"), "{}", trial.reason());

    r2.spec.on_failure = crate::release::OnFailure::RollbackFailed;
    let mut trial = Trial::new(r2);
    trial.requests(100, 10);
    trial.step();
    let back = trial.midway.rollout.going_back;
    assert_eq!((trial.state(), back), (State::RollingBack, Some(RollbackMode::RolledBack)));
}

#[test]
fn a_trigger_brings_a_paused_rollout_back() {
    let said = json!({ "status_5xx": { "count": 10, "within": "1m" } });
    let mut trial = Trial::new(rules(&said));
    trial.midway.rollout = steer(&trial.midway.rollout, RolloutCommand::Pause, "ada", at(trial.now)).unwrap();
    trial.requests(100, 9);
    trial.step();
    assert_eq!(trial.state(), State::Paused);
    trial.requests(100, 1);
    trial.step();
    assert_eq!(trial.state(), State::RollingBack, "its release has requests all the while");
    // A trigger that pauses has a person look already.
    let mut r2 = rules(&said);
    r2.spec.on_failure = crate::release::OnFailure::Pause;
    let mut trial = Trial::new(r2);
    trial.midway.rollout = steer(&trial.midway.rollout, RolloutCommand::Pause, "ada", at(trial.now)).unwrap();
    trial.requests(100, 50);
    trial.step();
    assert_eq!(trial.state(), State::Paused);
    assert!(trial.reason().contains("ada"), "{}", trial.reason());
}

#[test]
fn crashes_are_counted_over_the_whole_service() {
    let mut trial = Trial::new(rules(&json!({ "crashes": 2 })));
    trial.soak();
    trial.crash(0, 1);
    trial.step();
    assert_eq!(trial.state(), State::Soaking);
    trial.crash(2, 1);
    trial.now += 1;
    trial.step();
    assert_eq!(trial.state(), State::RollingBack);
    assert_eq!(trial.reason(), "2 exits of instances of r2 in 1 s (2 are enough)");
}

#[test]
fn errors_of_gpus_bring_a_release_back_with_evidence() {
    let mut trial = Trial::new(rules(&json!({ "gpu_errors": 2, "for": "1h" })));
    trial.soak();
    trial.gpu(0, 1);
    trial.step();
    assert_eq!(trial.state(), State::Soaking);
    trial.gpu(2, 1);
    trial.now += 1;
    trial.step();
    assert_eq!(trial.state(), State::RollingBack);
    let words = "2 errors of GPUs of instances of r2 in 1 s (2 are enough): GPU-0 XID 79 at ";
    assert!(trial.reason().starts_with(words), "{}", trial.reason());
    let Some(Reason::Trigger { what, figures }) = &trial.midway.rollout.reason else { panic!("a trigger") };
    let read: crate::rollout::Figures =
        serde_json::from_slice(&serde_json::to_vec(figures).unwrap()).unwrap();
    assert_eq!((*what, read.gpu_errors, read.gpu_faults.len()), (Trigger::GpuErrors, 2, 2));

    // After its success too, and what a person let pass is not counted again.
    let mut paused = rules(&json!({ "gpu_errors": 1, "for": "1h" }));
    paused.spec.on_failure = crate::release::OnFailure::Pause;
    let mut trial = Trial::new(paused);
    trial.soak();
    trial.gpu(1, 1);
    trial.step();
    assert_eq!(trial.state(), State::Paused);
    trial.midway.rollout =
        steer(&trial.midway.rollout, RolloutCommand::Resume, "ada", at(trial.now)).unwrap();
    trial.succeed();
    assert_eq!(trial.step().begins, None);
    trial.gpu(1, 2);
    assert!(trial.step().begins.is_some());
}

fn watched() -> Trial {
    Trial::new(rules(
        &json!({ "restarts": 100, "status_5xx": { "count": 10, "within": "1m" }, "crashes": 3, "for": "1h" }),
    ))
}

#[test]
fn a_release_that_turns_bad_after_success_goes_back_by_itself() {
    let mut trial = watched();
    let (r1, r2) = (trial.midway.r1.clone(), trial.midway.r2.clone());
    trial.crash(0, 0);
    trial.succeed();
    let watch = trial.midway.service.watch.clone().unwrap();
    assert_eq!((watch.release, watch.from), (reference(&r2), reference(&r1)));
    assert_eq!(watch.until, at(trial.now + 3600));
    trial.requests(100, 9);
    let next = trial.step();
    assert_eq!(next.begins, None);
    assert_eq!(next.wake_at, Some(at(trial.now + 2)), "it is looked at while ingresses report");
    trial.requests(100, 1);
    let begins = trial.step().begins.unwrap();
    assert_eq!(begins.to, reference(&r1));
    let words = begins.reason.to_string();
    assert!(words.starts_with("10 answers with status 5xx of 200 in "), "{words}");
    assert_eq!(trial.midway.service.watch, None, "once");
    assert_eq!(trial.step().begins, None);
    // A crash does it too.
    let mut trial = watched();
    trial.succeed();
    (0..3).for_each(|n| trial.crash(n, 1));
    assert!(trial.step().begins.is_some());
}

#[test]
fn a_watch_ends_in_time_and_with_another_rollout() {
    let mut trial = watched();
    trial.succeed();
    let until = trial.now + 3600;
    trial.now = until - 4;
    trial.report();
    assert_eq!(trial.step().begins, None);
    assert!(trial.midway.service.watch.is_some());
    trial.requests(100, 9);
    trial.now = until - 1;
    trial.requests(100, 50);
    assert_eq!(trial.step().begins, None, "too late");
    assert_eq!(trial.midway.service.watch, None);

    let mut trial = watched();
    trial.succeed();
    let r3 = release(3, stop_first);
    let id = "00000003".parse().unwrap();
    let (service, _, _) = start(&trial.midway.service, None, deploy(&r3, false), id, at(trial.now)).unwrap();
    assert_eq!(service.watch, None, "another deploy ends it");
    // Without `for`, or with nothing to go back to, there is none.
    let mut trial = Trial::new(rules(&json!({ "crashes": 1 })));
    trial.succeed();
    assert_eq!(trial.midway.service.watch, None);
    let mut trial = watched();
    trial.midway.rollout.from = None;
    trial.succeed();
    assert_eq!(trial.midway.service.watch, None);
}

#[test]
fn a_watch_survives_the_coordinator_and_counts_anew() {
    let mut trial = watched();
    trial.succeed();
    trial.requests(100, 9);
    assert_eq!(trial.step().begins, None);
    let stored = serde_json::to_vec(&trial.midway.service).unwrap();
    trial.midway.service = serde_json::from_slice(&stored).unwrap();
    (trial.windows, trial.midway.fleet.since) = (Windows::default(), at(trial.now));
    trial.requests(0, 0);
    trial.requests(100, 9);
    assert_eq!(trial.step().begins, None, "9 before and 9 after: {:?}", trial.midway.service.watch);
    trial.requests(100, 1);
    assert!(trial.step().begins.is_some());
}

#[test]
fn a_release_that_is_being_marked_good_is_not_taken_back() {
    let mut trial = watched();
    trial.soak();
    let slot = trial.midway.slot(0);
    trial.midway.slots.get_mut(&slot).unwrap().edit(|want| want.good = true);
    trial.requests(100, 50);
    assert_eq!(trial.step().begins, None, "the end of the rollout is stored first");
    assert_eq!(trial.state(), State::Succeeded, "{}", trial.reason());
    assert!(trial.step().begins.is_some(), "its watch does that");
}
