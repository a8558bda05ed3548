//! The gates of a step, over windows of real counters, in a rollout that advances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::drained::environment;
use super::midway::{Midway, stop_first};
use crate::digest::Digest;
use crate::fixture::{at, reference, release};
use crate::fleet::{Fleet, FleetView, Member};
use crate::gate::{Answer, AnswerFault, GateEnd, Number, QuestionKey, Said, Verdict};
use crate::host::Usage;
use crate::id::{HostId, ServiceId};
use crate::observation::{GpuError, GpuErrors, InstanceState};
use crate::rollout::gating::{Gates, look};
use crate::rollout::planner::Planner;
use crate::rollout::{Decision, Reason, Snapshot, VERDICTS, Waiting, What};
use crate::time::Timestamp;
use crate::traffic::{
    Counts, Ingress, IngressReport, ReleaseTraffic, ServiceTraffic, ServiceWindows, Traffic, Wanted, Windows,
};

#[derive(Debug)]
struct Seen {
    view: FleetView,
    traffic: Traffic,
    windows: Option<Arc<ServiceWindows>>,
    answers: BTreeMap<QuestionKey, Answer>,
    usage: Option<Usage>,
}

impl Fleet for Seen {
    fn usage(&self, _: &HostId, _: &str) -> Option<Usage> {
        self.usage
    }
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
    fn answer(&self, key: &QuestionKey) -> Option<Answer> {
        self.answers.get(key).cloned()
    }
}

/// r2 beside r1 since second 100, in step 1, with an ingress that reports every two seconds.
struct Canary {
    midway: Midway,
    windows: Windows,
    counts: BTreeMap<Digest, Counts>,
    answers: BTreeMap<QuestionKey, Answer>,
    usage: Option<Usage>,
    now: i64,
    since: i64,
    waiting: Vec<Waiting>,
    wake: Option<Timestamp>,
    decisions: Vec<Decision>,
}

#[derive(Debug, PartialEq)]
enum Stands {
    Passed,
    Going,
    Failed(GateEnd),
    Unclear(GateEnd),
}

impl Canary {
    fn new(gates: &Value) -> Self {
        let r2 = release(2, |json| {
            stop_first(json);
            json["version"] = 4.into();
            json["spec"]["gates"] = gates.clone();
        });
        let midway = Midway::between(release(1, stop_first), r2);
        let mut canary = Self {
            midway,
            windows: Windows::default(),
            counts: BTreeMap::new(),
            answers: BTreeMap::new(),
            usage: None,
            now: 100,
            since: 100,
            waiting: Vec::new(),
            wake: None,
            decisions: Vec::new(),
        };
        canary.report();
        canary
    }

    fn report(&mut self) {
        let of = |(release, counts): (&Digest, &Counts)| {
            (*release, ReleaseTraffic { weighted: counts.clone(), ..ReleaseTraffic::default() })
        };
        let releases = self.counts.iter().map(of).collect();
        let id = self.midway.service.id.clone();
        let service = ServiceTraffic { releases, ..ServiceTraffic::default() };
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
            services: BTreeMap::from([(id.clone(), service)]),
            unrouted: 0,
            bad_requests: 0,
            cut_services: 0,
        };
        let both = [&self.midway.r1, &self.midway.r2].map(|release| reference(release).digest);
        let wanted = Wanted::from([(id, BTreeSet::from(both))]);
        self.windows.take(&"edge".parse().unwrap(), &Arc::new(report), at(self.now), &wanted, |_| true);
    }

    /// So many seconds pass, with so many requests each two seconds to r2, of which some fail; r1 gets ten times as many.
    fn seconds(&mut self, seconds: i64, requests: u64, failed: u64) -> Stands {
        let mut stands = Stands::Going;
        for _ in 0..seconds / 2 {
            for (release, requests, failed) in
                [(&self.midway.r2, requests, failed), (&self.midway.r1, requests * 10, 0)]
            {
                let counts = self.counts.entry(reference(release).digest).or_default();
                counts.requests += requests;
                counts.server_error += failed;
                counts.to_head = vec![(10, counts.requests)];
            }
            self.now += 2;
            self.report();
            stands = self.step();
            if stands != Stands::Going {
                break;
            }
        }
        stands
    }

    /// Decisions until nothing is left to do at once.
    fn step(&mut self) -> Stands {
        for _ in 0..50 {
            let stands = self.once();
            if self.wake != Some(at(self.now)) {
                return stands;
            }
        }
        panic!("decisions without an end at {}", self.now);
    }

    fn once(&mut self) -> Stands {
        let ingress = Ingress {
            processes: crate::traffic::Processes::default(),
            since: Timestamp::ZERO,
            serves: BTreeSet::from([environment()]),
        };
        let ingresses = BTreeMap::from([("edge".parse().unwrap(), ingress)]);
        let fleet = Seen {
            view: self.midway.fleet.clone(),
            traffic: Traffic { tables: BTreeMap::new(), ingresses },
            windows: self.windows.of(&self.midway.service.id),
            answers: self.answers.clone(),
            usage: self.usage,
        };
        let snapshot = Snapshot {
            service: &self.midway.service,
            slots: &self.midway.slots,
            rollout: Some(&self.midway.rollout),
            releases: &self.midway.releases,
            fleet: &fleet,
            now: at(self.now),
        };
        let mut planner = Planner::new(&snapshot);
        let named = ["named".to_owned()];
        let stands = match look(&mut planner, 1, &named, at(self.since)) {
            Gates::Passed => Stands::Passed,
            Gates::Going => Stands::Going,
            Gates::Failed(reason) => Stands::Failed(end(&reason)),
            Gates::Unclear(reason) => Stands::Unclear(end(&reason)),
        };
        let advance = planner.finish();
        self.midway.rollout = advance.rollout.unwrap();
        self.decisions.extend(self.midway.rollout.log.take_fresh());
        (self.waiting, self.wake) = (advance.waiting, advance.wake_at);
        stands
    }

    /// A letter per verdict, in their order, of one gate.
    fn verdicts(&self, gate: &str) -> String {
        let of = |decision: &Decision| {
            let What::Judged { judged } = &decision.what else { return None };
            (judged.asked.gate == gate).then_some(match judged.verdict {
                Verdict::Pass => 'p',
                Verdict::Fail => 'f',
                Verdict::Inconclusive => 'i',
                Verdict::ProviderError => 'e',
            })
        };
        self.decisions.iter().filter_map(of).collect()
    }

    fn key(&self, gate: &str, until: i64) -> QuestionKey {
        QuestionKey { rollout: self.midway.rollout.id.clone(), gate: gate.into(), until: at(until) }
    }

    fn say(&mut self, gate: &str, until: i64, said: Said) {
        let answer =
            Answer { sent: "q".into(), at: at(until), took_ms: 1, said, raw: String::new(), cut: false };
        self.answers.insert(self.key(gate, until), answer);
    }
}

fn end(reason: &Reason) -> GateEnd {
    let Reason::Gate { gate, end, why } = reason else { panic!("{reason:?}") };
    assert!(!why.is_empty() && reason.to_string().contains(gate.as_str()), "{reason}");
    *end
}

fn errors() -> Value {
    json!({ "ask": { "error_rate": { "max": 10, "min_requests": 100, "baseline": true } },
        "window": "20s", "passes": 3, "fails": 2 })
}

fn query() -> Value {
    json!({ "ask": { "prometheus": { "url": "http://p", "query": "q", "timeout": "10s", "max": 1.0 } },
        "window": "20s", "passes": 2, "fails": 2 })
}

#[test]
fn a_step_passes_after_as_many_windows_as_it_wants() {
    let mut canary = Canary::new(&json!({ "named": errors() }));
    assert_eq!(canary.step(), Stands::Going);
    let words = canary.waiting.iter().map(ToString::to_string).collect::<String>();
    assert!(words.contains("gate named: 0 of 3 windows"), "{words}");
    assert!(canary.wake.is_some_and(|wake| wake <= at(102)), "requests are looked at as often as they come");
    assert_eq!(canary.seconds(58, 20, 0), Stands::Going);
    assert_eq!(canary.verdicts("named"), "pp");
    assert_eq!(canary.seconds(2, 20, 0), Stands::Passed);
    assert_eq!(canary.verdicts("named"), "ppp");
    let judged = canary.decisions.iter().find_map(|decision| {
        let What::Judged { judged } = &decision.what else { return None };
        Some(judged.clone())
    });
    let judged = judged.unwrap();
    assert_eq!((judged.asked.from, judged.asked.until), (at(100), at(120)));
    assert!(judged.test.is_some() && judged.why.contains("of 200 requests"), "{judged:?}");
    assert_eq!(crate::gate::recompute(&judged).verdict, Verdict::Pass);
    for decision in &canary.decisions {
        let stored = serde_json::to_string(decision).unwrap();
        assert_eq!(&serde_json::from_str::<Decision>(&stored).unwrap(), decision, "{stored}");
    }
    let stored = serde_json::to_string(&canary.midway.rollout).unwrap();
    let read: crate::rollout::Rollout = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.gates, canary.midway.rollout.gates);
}

#[test]
fn two_failed_windows_fail_the_step_and_one_does_not() {
    let mut canary = Canary::new(&json!({ "named": errors() }));
    assert_eq!(canary.seconds(20, 20, 1), Stands::Going);
    assert_eq!(canary.seconds(20, 20, 0), Stands::Going);
    assert_eq!(canary.seconds(20, 20, 1), Stands::Going);
    assert_eq!(canary.seconds(20, 20, 1), Stands::Failed(GateEnd::Failed));
    assert_eq!(canary.verdicts("named"), "fpff");
    // It stays so, and nothing is judged any more, until the step is watched anew.
    assert_eq!(canary.seconds(20, 20, 0), Stands::Failed(GateEnd::Failed));
    assert_eq!(canary.verdicts("named"), "fpff");
    canary.since = canary.now;
    assert_eq!(canary.step(), Stands::Going);
    assert_eq!(canary.seconds(60, 20, 0), Stands::Passed);
}

#[test]
fn what_fails_clearly_stops_the_step_at_once() {
    let mut canary = Canary::new(&json!({ "named": errors() }));
    assert_eq!(canary.seconds(2, 19, 19), Stands::Going, "19 requests are too few");
    assert_eq!(canary.seconds(2, 1, 1), Stands::Failed(GateEnd::Failed));
    assert_eq!(canary.now, 104);
    let mut dry = errors();
    dry["dry_run"] = true.into();
    let mut canary = Canary::new(&json!({ "named": dry }));
    assert_eq!(canary.seconds(60, 20, 20), Stands::Passed, "a dry run decides nothing");
    let mut canary = Canary::new(&json!({ "named": errors(), "other": { "ask": { "crashes": { "max": 0 } },
        "window": "20s", "passes": 1, "fails": 2, "from_step": 1 } }));
    let slot = canary.midway.slot(0);
    canary.midway.see(0, &[(&canary.midway.r2.clone(), InstanceState::Healthy)]);
    assert_eq!(canary.step(), Stands::Going);
    let host = canary.midway.slots[&slot].host().clone();
    let member = canary.midway.fleet.members.get_mut(&host).unwrap();
    for seen in [&mut member.observation, &mut member.last_report] {
        let Some(seen) = seen else { continue };
        let seen = Arc::make_mut(seen);
        seen.slots.iter_mut().flat_map(|slot| &mut slot.instances).for_each(|one| one.restarts += 1);
    }
    assert_eq!(canary.step(), Stands::Failed(GateEnd::Failed), "a crash waits for no window");
}

#[test]
fn what_fails_clearly_late_in_a_step_stops_it_too() {
    let mut canary = Canary::new(
        &json!({ "named": { "ask": { "error_rate": { "max": 10, "min_requests": 100, "baseline": false } },
        "window": "1m", "passes": 20, "fails": 2 } }),
    );
    assert_eq!(canary.seconds(600, 100, 0), Stands::Going);
    let good_until = canary.now;
    assert_eq!(canary.seconds(60, 100, 100), Stands::Failed(GateEnd::Failed));
    assert!(canary.now - good_until <= 4, "{} s", canary.now - good_until);
}

#[test]
fn no_traffic_is_no_pass_and_pauses_after_four_windows() {
    let mut canary = Canary::new(&json!({ "named": errors() }));
    assert_eq!(canary.seconds(78, 0, 0), Stands::Going);
    assert_eq!(canary.seconds(2, 0, 0), Stands::Unclear(GateEnd::Inconclusive));
    assert_eq!(canary.verdicts("named"), "iiii");
}

#[test]
fn no_report_of_any_ingress_is_no_pass() {
    let mut canary = Canary::new(&json!({ "named": errors() }));
    canary.seconds(10, 20, 0);
    canary.now = 180;
    let stands = canary.step();
    assert_ne!(stands, Stands::Passed);
    assert!(!canary.verdicts("named").contains('p'), "{}", canary.verdicts("named"));
}

#[test]
fn answers_of_providers_decide_and_their_absence_never_fails() {
    let mut canary = Canary::new(&json!({ "named": query() }));
    let number = |value| Said::Number(Number::new(value).unwrap());
    assert_eq!(canary.seconds(22, 0, 0), Stands::Going);
    assert_eq!(canary.verdicts("named"), "", "the answer is waited for");
    canary.say("named", 120, number(0.5));
    canary.say("named", 140, number(0.5));
    assert_eq!(canary.seconds(20, 0, 0), Stands::Passed);
    let mut canary = Canary::new(&json!({ "named": query() }));
    for until in [120, 140, 160, 180] {
        canary.say("named", until, Said::fault(AnswerFault::NoConnection, "refused"));
    }
    assert_eq!(canary.seconds(80, 0, 0), Stands::Unclear(GateEnd::ProviderError));
    assert_eq!(canary.verdicts("named"), "eeee");
    let mut canary = Canary::new(&json!({ "named": query() }));
    canary.say("named", 120, number(2.0));
    canary.say("named", 140, number(2.0));
    assert_eq!(canary.seconds(40, 0, 0), Stands::Failed(GateEnd::Failed));
    // Nobody asks at all: each window ends with an error of its own.
    let mut canary = Canary::new(&json!({ "named": query() }));
    assert_eq!(canary.seconds(44, 0, 0), Stands::Going);
    assert_eq!(canary.seconds(300, 0, 0), Stands::Unclear(GateEnd::ProviderError));
    assert_eq!(canary.verdicts("named"), "eeee");
}

#[test]
fn the_worst_of_several_gates_decides() {
    let mut canary = Canary::new(&json!({ "named": errors(), "query": query() }));
    // The other one is neither named nor asked from a step on.
    assert_eq!(canary.seconds(60, 20, 0), Stands::Passed);
    let mut background = query();
    background["from_step"] = 1.into();
    let mut canary = Canary::new(&json!({ "named": errors(), "query": background }));
    assert_eq!(canary.seconds(60, 20, 0), Stands::Going, "the provider has not answered");
    let mut later = query();
    later["from_step"] = 2.into();
    let mut canary = Canary::new(&json!({ "named": errors(), "query": later }));
    assert_eq!(canary.seconds(60, 20, 0), Stands::Passed);
    let mut canary = Canary::new(&json!({ "another": errors() }));
    assert_eq!(canary.step(), Stands::Unclear(GateEnd::Inconclusive), "a name that no gate has never passes");
}

#[test]
fn verdicts_are_bounded_and_the_one_that_ends_is_written() {
    let mut gate = errors();
    (gate["window"], gate["dry_run"]) = ("10s".into(), true.into());
    let mut canary = Canary::new(&json!({ "named": gate }));
    for n in 1..i64::from(VERDICTS) + 50 {
        canary.now = 100 + n * 10;
        canary.step();
    }
    assert_eq!(canary.decisions.len(), VERDICTS as usize);
    let mut canary = Canary::new(&json!({ "named": errors() }));
    canary.midway.rollout.log = serde_json::from_value({
        let mut log = serde_json::to_value(&canary.midway.rollout.log).unwrap();
        log["verdicts"] = VERDICTS.into();
        log
    })
    .unwrap();
    assert_eq!(canary.seconds(20, 20, 1), Stands::Going);
    assert_eq!(canary.verdicts("named"), "");
    assert_eq!(canary.seconds(20, 20, 1), Stands::Failed(GateEnd::Failed));
    assert_eq!(canary.verdicts("named"), "f");
}

#[test]
fn memory_and_processor_are_judged_by_fresh_figures_only() {
    let gate = |ask: Value| json!({ "named": { "ask": ask, "window": "20s", "passes": 1, "fails": 1 } });
    let usage = |used, cpu_percent, second| Usage {
        cpu_percent,
        throttled_percent: 0.0,
        memory_used: used,
        memory_limit: 1000,
        gpu_memory_used: used,
        gpu_memory_limit: 1000,
        at: at(second),
    };
    let memory = json!({ "memory": { "max": 900 } });
    // The release may use a tenth of a core: 9.5 % of a core are 95 % of that.
    let cpu = json!({ "cpu": { "max": 900 } });
    let gpu = json!({ "gpu_memory": { "max": 900 } });
    let unknown = Usage { gpu_memory_limit: 0, ..usage(1, 0.0, 119) };
    #[rustfmt::skip]
    let table = [
        (&memory, Some(usage(900, 0.0, 119)), "p"), (&memory, Some(usage(901, 0.0, 119)), "f"),
        (&cpu, Some(usage(999, 9.0, 119)), "p"), (&cpu, Some(usage(0, 9.5, 119)), "f"),
        (&gpu, Some(usage(900, 0.0, 119)), "p"), (&gpu, Some(usage(901, 0.0, 119)), "f"), (&gpu, Some(unknown), "i"),
        // Old, or never measured: nothing is known.
        (&memory, Some(usage(999, 0.0, 89)), "i"), (&memory, None, "i"), (&cpu, Some(usage(0, f64::NAN, 119)), "i"),
    ];
    for (ask, told, want) in table {
        let mut canary = Canary::new(&gate(ask.clone()));
        (0..3).for_each(|n| canary.midway.see(n, &[(&canary.midway.r2.clone(), InstanceState::Healthy)]));
        canary.usage = told;
        canary.step();
        canary.now = 120;
        canary.step();
        assert_eq!(canary.verdicts("named"), want, "{ask} {told:?}");
    }
}

#[test]
fn an_error_of_a_gpu_fails_its_gate_at_once() {
    let gates = json!({ "named": { "ask": { "gpu_errors": { "max": 0 } }, "window": "20s", "passes": 1, "fails": 1 } });
    let mut canary = Canary::new(&gates);
    let r2 = canary.midway.r2.clone();
    let tells = |canary: &mut Canary, n: usize, count: Option<u32>| {
        canary.midway.see(n, &[(&r2, InstanceState::Healthy)]);
        let error = GpuError { gpu: format!("GPU-{n}"), what: "XID 79".to_owned(), at: at(99) };
        let errors = |count| GpuErrors { count, last: (count > 0).then_some(error) };
        canary.midway.seen(n).instances[0].vitals.gpu_errors = count.map(errors);
    };
    // One was reported before the step began.
    (0..3).for_each(|n| tells(&mut canary, n, Some(u32::from(n == 0))));
    canary.step();
    canary.now = 120;
    assert_eq!(canary.step(), Stands::Passed);
    // Nobody knows of one: that is no pass.
    let mut canary = Canary::new(&gates);
    (0..3).for_each(|n| tells(&mut canary, n, (n > 0).then_some(0)));
    canary.step();
    canary.now = 120;
    canary.step();
    assert_eq!(canary.verdicts("named"), "i");
    canary.now = 125;
    tells(&mut canary, 2, Some(1));
    assert_eq!(canary.step(), Stands::Failed(GateEnd::Failed), "it waits for no window");
    let What::Judged { judged } = &canary.decisions.last().unwrap().what else { panic!("it is judged") };
    assert!(
        judged.lines().contains(&"GPU-2 XID 79 at 1970-01-01T00:01:39.000Z of web.2.r2 on h0002".to_owned()),
        "{:?}",
        judged.lines()
    );
    assert_eq!(crate::gate::recompute(judged).verdict, judged.verdict);
}
