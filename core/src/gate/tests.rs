//! Verdicts, and what they add up to.

use serde_json::{Value, json};

use super::*;
use crate::id::Counter;
use crate::release::Gate;
use crate::time::Timestamp;
use crate::traffic::{Fault, FaultKind, Tally};

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1000)
}

fn gate(ask: &Value) -> Gate {
    serde_json::from_value(json!({ "ask": ask, "window": "1m", "passes": 3, "fails": 2 })).unwrap()
}

fn error_gate() -> Gate {
    gate(&json!({ "error_rate": { "max": 10, "min_requests": 300, "baseline": true } }))
}

fn latency_gate() -> Gate {
    gate(&json!({ "p95": { "max": "300ms", "min_requests": 100, "baseline": true } }))
}

fn asked(question: Gate) -> Asked {
    Asked {
        gate: "g".into(),
        question,
        step: 1,
        release: Counter(2),
        against: Some(Counter(1)),
        from: at(0),
        until: at(60),
        at_once: false,
        look: 1,
        looks: 3,
    }
}

fn tally(requests: u64, failed: u64) -> Tally {
    Tally { requests, server_error: failed, ..Tally::default() }
}

fn requests(new: Tally, old: Option<Tally>) -> Facts {
    let old = old.map(Box::new);
    Facts::Requests { new: Box::new(new), old, reporting: 10, ingresses: 10, faults: Vec::new() }
}

#[test]
fn error_rates_are_judged_by_ceiling_and_then_by_test() {
    use Verdict::{Fail, Inconclusive, Pass};
    let old = |requests, failed| Some(tally(requests, failed));
    #[rustfmt::skip]
    let table = [
        // Too few, and too few that are clear all the same.
        (tally(299, 0), None, Inconclusive, "299 requests"),
        (tally(299, 9), None, Inconclusive, "299 requests"),
        (tally(19, 19), None, Inconclusive, "19 requests"),
        (tally(20, 6), None, Fail, "30.00 %"),
        (tally(20, 5), None, Inconclusive, "20 requests"),
        // The ceiling is broken above it, and the old release is not asked then.
        (tally(300, 3), None, Pass, "1.00 %"),
        (tally(300, 4), None, Fail, "1.33 %"),
        (tally(300, 4), old(3000, 60), Fail, "1.33 %"),
        (tally(0, 0), None, Inconclusive, "0 requests"),
        // Beside an old release.
        (tally(3000, 28), old(3000, 2), Fail, "worse"),
        (tally(3000, 10), old(3000, 2), Pass, "not worse by much"),
        (tally(300, 3), old(30_000, 60), Pass, "by chance"),
        (tally(300, 3), old(299, 0), Pass, "too few to compare"),
        // An old release that is ill is no measure.
        (tally(300, 3), old(3000, 31), Pass, "above the limit itself"),
    ];
    for (new, old, verdict, words) in table {
        let said = judge(&asked(error_gate()), &requests(new.clone(), old.clone()));
        assert_eq!(said.verdict, verdict, "{new:?} {old:?}: {said:?}");
        assert!(said.why.contains(words), "{new:?} {old:?}: {said:?}");
    }
}

#[test]
fn requests_that_are_no_evidence_do_not_count() {
    let gone = Tally { client_gone: 300, ..tally(500, 0) };
    let said = judge(&asked(error_gate()), &requests(gone, None));
    assert_eq!(said.verdict, Verdict::Inconclusive, "{said:?}");
}

/// A release that begins every response well and breaks it off.
#[test]
fn responses_that_broke_off_fail_a_gate() {
    let broken = Tally { broken: 300, ..tally(500, 0) };
    let said = judge(&asked(error_gate()), &requests(broken, None));
    assert_eq!(said.verdict, Verdict::Fail, "{said:?}");
}

#[test]
fn too_few_ingresses_tell_nothing_whatever_they_tell() {
    let fault = |host: &str, what| Fault { host: host.parse().unwrap(), at: at(30), what };
    #[rustfmt::skip]
    let table = [
        (9, 10, vec![], false),
        (8, 10, vec![], true),
        (0, 0, vec![], true),
        (10, 10, vec![fault("a", FaultKind::CounterFell), fault("b", FaultKind::CounterMissing)], true),
        (10, 10, vec![fault("a", FaultKind::CounterFell), fault("a", FaultKind::CounterFell)], false),
        (10, 10, vec![fault("a", FaultKind::HistogramsCut), fault("b", FaultKind::HistogramsCut)], false),
    ];
    for (reporting, ingresses, faults, blind) in table {
        for failed in [0, 30] {
            let new = Box::new(tally(1000, failed));
            let facts = Facts::Requests { new, old: None, reporting, ingresses, faults: faults.clone() };
            let said = judge(&asked(error_gate()), &facts);
            assert_eq!(said.verdict == Verdict::Inconclusive, blind, "{reporting}/{ingresses}: {said:?}");
        }
    }
}

/// So many requests in each bucket.
fn slow(buckets: &[(u16, u32)]) -> Tally {
    let requests = buckets.iter().map(|(_, count)| u64::from(*count)).sum();
    Tally { requests, to_head: buckets.to_vec(), ..Tally::default() }
}

#[test]
fn latencies_are_judged_by_the_bounds_of_their_buckets() {
    use Verdict::{Fail, Inconclusive, Pass};
    // Bucket 64 is from 16 to 17 ms, 96 from 64 to 68 ms, 112 from 128 to 136 ms, 131 from 304 to 320 ms, 130 from 288 to 304 ms.
    #[rustfmt::skip]
    let table = [
        (slow(&[(64, 99)]), None, Inconclusive, "99 requests"),
        (slow(&[(64, 950), (131, 50)]), None, Pass, "from 16 ms to 17 ms"),
        (slow(&[(64, 940), (131, 60)]), None, Fail, "from 304 ms"),
        (slow(&[(64, 940), (130, 60)]), None, Pass, "from 288 ms"),
        (slow(&[(64, 900), (112, 100)]), Some(slow(&[(64, 9000), (96, 1000)])), Fail, "worse"),
        // Clear by chance, and too small.
        (slow(&[(64, 9000), (97, 1000)]), Some(slow(&[(64, 9000), (96, 1000)])), Pass, "not worse by much"),
        // Large, and may be by chance: 6 of 100 where 5 of 100 are to be expected.
        (slow(&[(64, 94), (112, 6)]), Some(slow(&[(64, 960), (96, 40)])), Pass, "by chance"),
        (slow(&[(64, 900), (112, 100)]), Some(slow(&[(64, 99)])), Pass, "too few requests"),
        (slow(&[(64, 900), (112, 100)]), Some(slow(&[(132, 1000)])), Pass, "above the limit itself"),
    ];
    for (new, old, verdict, words) in table {
        let said = judge(&asked(latency_gate()), &requests(new.clone(), old.clone()));
        assert_eq!(said.verdict, verdict, "{new:?} {old:?}: {said:?}");
        assert!(said.why.contains(words), "{new:?} {old:?}: {said:?}");
    }
}

#[test]
fn signals_of_instances_are_judged() {
    use Verdict::{Fail, Inconclusive, Pass};
    let crashes = gate(&json!({ "crashes": { "max": 1 } }));
    let gpus = gate(&json!({ "gpu_errors": { "max": 1 } }));
    let of_gpus =
        |errors, measured, instances| Facts::GpuErrors { errors, measured, instances, faults: Vec::new() };
    let memory = gate(&json!({ "memory": { "max": 900 } }));
    let exits = |exits, instances| Facts::Exits { exits, instances };
    let used = |most, measured| Facts::Used { most, measured, instances: 2 };
    #[rustfmt::skip]
    let table = [
        (&gpus, of_gpus(0, 2, 2), Pass), (&gpus, of_gpus(1, 2, 2), Pass), (&gpus, of_gpus(2, 1, 2), Fail),
        // A GPU that nobody can ask is not one without errors.
        (&gpus, of_gpus(0, 1, 2), Inconclusive), (&gpus, of_gpus(0, 0, 0), Inconclusive),
        (&crashes, exits(1, 2), Pass), (&crashes, exits(2, 2), Fail), (&crashes, exits(0, 0), Inconclusive),
        (&memory, used(Some(900), 2), Pass), (&memory, used(Some(901), 1), Fail),
        (&memory, used(Some(10), 1), Inconclusive), (&memory, used(None, 0), Inconclusive),
        // Facts of another question decide nothing.
        (&memory, exits(0, 2), Inconclusive),
    ];
    for (gate, facts, verdict) in table {
        assert_eq!(judge(&asked(gate.clone()), &facts).verdict, verdict, "{facts:?}");
    }
}

fn prometheus(max: f64) -> Gate {
    gate(&json!({ "prometheus": { "url": "http://p:9090", "query": "up", "timeout": "10s", "max": max } }))
}

fn answer(said: Said) -> Facts {
    let (sent, raw) = ("up".to_owned(), String::new());
    Facts::Answer(Box::new(Answer { sent, at: at(60), took_ms: 3, said, raw, cut: false }))
}

#[test]
fn no_fault_of_a_provider_ever_passes_or_fails() {
    for kind in AnswerFault::ALL {
        let said = judge(&asked(prometheus(1.0)), &answer(Said::fault(kind, "so")));
        assert_eq!(said.verdict, Verdict::ProviderError, "{said:?}");
        assert!(said.why.starts_with(kind.words()) && said.why.ends_with("so"), "{said:?}");
    }
    let number = |value| Said::Number(Number::new(value).unwrap());
    for (said, verdict) in [
        (number(1.0), Verdict::Pass),
        (number(1.01), Verdict::Fail),
        (number(-5.0), Verdict::Pass),
        (Said::Passes(false), Verdict::Fail),
        (Said::Passes(true), Verdict::Pass),
    ] {
        assert_eq!(judge(&asked(prometheus(1.0)), &answer(said)).verdict, verdict);
    }
}

#[test]
fn answers_are_read_or_are_named_faults() {
    use AnswerFault as F;
    let vector = |series: Value| {
        json!({ "status": "success", "data": { "resultType": "vector", "result": series } }).to_string()
    };
    let one = |at: f64, value: &str| vector(json!([{ "metric": {}, "value": [at, value] }]));
    #[rustfmt::skip]
    let table = [
        (one(1000.5, "0.25"), Ok(0.25)),
        (json!({ "status": "success", "data": { "resultType": "scalar", "result": [1000, "3"] } }).to_string(), Ok(3.0)),
        (vector(json!([])), Err(F::Empty)),
        (vector(json!([{ "value": [1000, "1"] }, { "value": [1000, "1"] }])), Err(F::SeveralSeries)),
        (one(1000.0, "NaN"), Err(F::NotANumber)),
        (one(1000.0, "+Inf"), Err(F::Infinite)),
        (one(1000.0, "-Inf"), Err(F::Infinite)),
        (one(1000.0, "many"), Err(F::NotJson)),
        (one(879.0, "1"), Err(F::Stale)),
        (one(880.0, "1"), Ok(1.0)),
        (one(1060.0, "1"), Ok(1.0)),
        (one(1061.0, "1"), Err(F::Future)),
        (one(-1.0, "1"), Err(F::NotJson)),
        (one(1e300, "1"), Err(F::NotJson)),
        (json!({ "status": "error", "error": "parse error" }).to_string(), Err(F::QueryFailed)),
        (json!({ "status": "success", "data": { "resultType": "matrix", "result": [] } }).to_string(), Err(F::NotJson)),
        ("<html>".to_owned(), Err(F::NotJson)),
        ("{}".to_owned(), Err(F::NotJson)),
    ];
    for (text, want) in table {
        let got = read_prometheus(text.as_bytes(), crate::Span::from_secs(60), at(1000));
        assert_eq!(kind(got), want, "{text}");
    }
    #[rustfmt::skip]
    let table = [
        (r#"{"data":{"errors":0.5}}"#, Some("/data/errors"), Ok(0.5)),
        (r#"{"data":{"errors":"0.5"}}"#, Some("/data/errors"), Ok(0.5)),
        (r#"[7]"#, Some("/0"), Ok(7.0)),
        (r#"{"data":{"errors":"NaN"}}"#, Some("/data/errors"), Err(F::NotANumber)),
        (r#"{"data":{"errors":"inf"}}"#, Some("/data/errors"), Err(F::Infinite)),
        (r#"{"data":{"errors":null}}"#, Some("/data/errors"), Err(F::Empty)),
        (r#"{"data":{}}"#, Some("/data/errors"), Err(F::Empty)),
        (r#"{"data":{"errors":true}}"#, Some("/data/errors"), Err(F::NotJson)),
        (r#"{"data":1e999}"#, Some("/data"), Err(F::NotJson)),
        (r#"{"verdict":"pass"}"#, None, Ok(1.0)),
        (r#"{"verdict":"fail"}"#, None, Ok(0.0)),
        (r#"{"verdict":"maybe"}"#, None, Err(F::Empty)),
        (r#"{"verdict":1}"#, None, Err(F::Empty)),
    ];
    for (text, pointer, want) in table {
        assert_eq!(kind(read_json(text.as_bytes(), pointer)), want, "{text}");
    }
}

fn kind(said: Said) -> Result<f64, AnswerFault> {
    match said {
        Said::Number(number) => Ok(number.get()),
        Said::Passes(passes) => Ok(f64::from(u8::from(passes))),
        Said::Fault { kind, .. } => Err(kind),
    }
}

#[test]
fn a_stored_verdict_is_computed_again_from_its_record() {
    let of_requests = Judged::new(asked(error_gate()), requests(tally(3000, 28), Some(tally(3000, 2))));
    let mut of_latency = latency_gate();
    of_latency.dry_run = true;
    let of_latency =
        Judged::new(asked(of_latency), requests(slow(&[(64, 900), (112, 100)]), Some(slow(&[(96, 1000)]))));
    let raw = r#"{"status":"success","data":{"resultType":"scalar","result":[60,"2"]}}"#;
    let said = read_prometheus(raw.as_bytes(), crate::Span::from_secs(60), at(60));
    let Facts::Answer(of_answer) = answer(said) else { unreachable!() };
    let of_answer =
        Judged::new(asked(prometheus(1.0)), Facts::Answer(Box::new(of_answer.with_raw(raw.as_bytes()))));
    for judged in [of_requests, of_latency, of_answer.clone()] {
        let stored = serde_json::to_string(&judged).unwrap();
        let read: Judged = serde_json::from_str(&stored).unwrap();
        assert_eq!(read, judged, "{stored}");
        assert_eq!(recompute(&read).verdict, judged.verdict);
        assert_eq!(recompute(&read).why, judged.why);
        assert!(!read.lines().is_empty() && read.words().contains(judged.verdict.as_str()));
    }
    // A number that somebody wrote beside the answer is found out: the answer itself is read again.
    let mut forged = of_answer;
    let Facts::Answer(answer) = &mut forged.facts else { unreachable!() };
    answer.said = Said::Number(Number::new(0.5).unwrap());
    forged.verdict = Verdict::Pass;
    assert_eq!(recompute(&forged).verdict, Verdict::Fail);
}

#[test]
fn a_long_answer_is_cut_and_its_number_counts() {
    let Facts::Answer(long) = answer(Said::Number(Number::ZERO)) else { unreachable!() };
    let long = long.with_raw("ä".repeat(3000).as_bytes());
    assert!(long.cut && long.raw.len() == 2048);
    let judged = Judged::new(asked(prometheus(1.0)), Facts::Answer(Box::new(long)));
    assert_eq!(recompute(&judged).verdict, Verdict::Pass);
}

/// `p`, `f`, `i` and `e` for the verdicts.
fn course(letters: &str, gate: &Gate) -> GateState {
    let mut course = GateCourse::default();
    for (n, letter) in (1..).zip(letters.chars()) {
        let verdict = match letter {
            'p' => Verdict::Pass,
            'f' => Verdict::Fail,
            'i' => Verdict::Inconclusive,
            _ => Verdict::ProviderError,
        };
        let asked = Asked { from: at(n * 60 - 60), until: at(n * 60), ..asked(gate.clone()) };
        let facts = Facts::Exits { exits: 0, instances: 0 };
        course.add(&Judged { asked, facts, test: None, verdict, why: letter.to_string() });
    }
    course.standing(gate)
}

#[test]
fn windows_add_up_to_the_standing_of_a_step() {
    use GateState::{Failed, Going, Passed, Unasked, Unclear};
    #[rustfmt::skip]
    let table = [
        ("", Going), ("pp", Going), ("ppp", Passed), ("pppp", Passed),
        // A failure holds the step until a window passes; two in a row fail it, whatever told nothing between them.
        ("pppf", Going), ("pppfp", Passed), ("ff", Failed), ("fpf", Going), ("fif", Failed), ("fef", Failed),
        // Three of the last ten; one that was longer ago does not count.
        ("fpfpf", Failed), ("fpppppfpppf", Going), ("fppppfpppf", Failed),
        // Nothing told: four in a row.
        ("iii", Going), ("iiii", Unclear), ("iiip", Going), ("iiipppi", Going), ("pppi", Going), ("pppiiii", Unclear),
        ("eee", Going), ("eeee", Unasked), ("eeeieee", Going), ("pppe", Going), ("pppep", Passed),
    ];
    for (letters, want) in table {
        assert_eq!(course(letters, &error_gate()), want, "{letters}");
    }
    let strict = Gate { passes: 1, fails: 1, ..error_gate() };
    assert_eq!((course("f", &strict), course("p", &strict)), (Failed, Passed));
    assert!(Failed > Unasked && Unasked > Unclear && Unclear > Going && Going > Passed);
}

#[test]
fn a_provider_that_is_away_pages_after_ten_minutes() {
    let gate = error_gate();
    let mut course = GateCourse::default();
    for n in 1..=3 {
        let asked = Asked { from: at(n * 290), until: at(n * 300), ..asked(gate.clone()) };
        let facts = answer(Said::fault(AnswerFault::TimedOut, ""));
        course.add(&Judged::new(Asked { question: prometheus(1.0), ..asked }, facts));
        assert_eq!(course.pages(at(n * 300)), n == 3, "{n}");
    }
}

#[test]
fn a_window_follows_the_other_and_missed_ones_are_left_out() {
    let gate = error_gate();
    let next = |course: Option<&Course>, now| Course::next(course, (1, at(100)), "g", &gate, at(now));
    assert_eq!(next(None, 100), (at(100), at(160)));
    assert_eq!(next(None, 219), (at(100), at(160)));
    assert_eq!(next(None, 221), (at(160), at(220)), "the first one is long gone");
    let mut course = Course::begin(None, (1, at(100)), Default::default());
    let one = GateCourse { until: Some(at(220)), looks: 7, passes: 2, ..GateCourse::default() };
    course.gates.insert("g".into(), one);
    assert_eq!(next(Some(&course), 230), (at(220), at(280)));
    let again = Course::begin(Some(&course), (1, at(500)), Default::default());
    assert_eq!((again.gates["g"].looks, again.gates["g"].passes), (7, 0), "a step begins anew");
    assert_eq!(Course::next(Some(&again), (1, at(500)), "g", &gate, at(500)), (at(500), at(560)));
    assert_eq!(next(Some(&again), 100), (at(100), at(160)), "the course of another step says nothing");
}

#[test]
fn placeholders_are_filled_and_escaped() {
    let words = Substitutes {
        release: Counter(7),
        digest: crate::Digest::of(b"x"),
        service: "production/web".parse().unwrap(),
        window: crate::Span::from_secs(60),
    };
    let query =
        r#"rate(errors{service="{{service}}",env="{{environment}}",release="{{release}}"}[{{window}}])"#;
    assert_eq!(words.query(query), r#"rate(errors{service="web",env="production",release="r7"}[1m])"#);
    assert_eq!(words.url("http://h/q?r={{release}}&w={{window}}"), "http://h/q?r=r7&w=1m");
    assert!(words.url("http://h/{{digest}}").starts_with("http://h/sha256%3A"));
}

#[test]
fn a_step_watched_anew_forgets_no_exit_and_no_gpu_error() {
    let counts = |n: u32| std::collections::BTreeMap::from([("i".to_owned(), n)]);
    let first = Course::begin(None, (1, at(0)), (counts(1), counts(2)));
    // The coordinator was away while both rose.
    let anew = Course::begin(Some(&first), (1, at(90)), (counts(3), counts(4)));
    assert_eq!((anew.restarts_before, anew.gpu_errors_before), (counts(1), counts(2)));
    let next = Course::begin(Some(&first), (2, at(90)), (counts(3), counts(4)));
    assert_eq!((next.restarts_before, next.gpu_errors_before), (counts(3), counts(4)));
}
