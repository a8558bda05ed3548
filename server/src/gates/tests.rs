//! Providers of every kind, over real connections to this process.

mod prometheus;
mod whole;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use windlass_core::gate::{Answer, AnswerFault, QuestionKey, Said, Substitutes};
use windlass_core::release::GateAsk;
use windlass_core::rollout::Question;
use windlass_core::{Counter, Digest, Span, Timestamp};

use super::{Asker, Networks};

/// A provider that answers each path in its own way; it ends with the test.
struct Provider {
    address: SocketAddr,
    /// The first line of each request.
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

fn vector(series: &Value) -> String {
    json!({ "status": "success", "data": { "resultType": "vector", "result": series } }).to_string()
}

fn sample(seconds: f64, value: &str) -> String {
    vector(&json!([{ "metric": { "job": "web" }, "value": [seconds, value] }]))
}

/// Status and body of each kind of provider at a second; `None` never answers.
fn reply(kind: &str, at: f64) -> Option<(&'static str, String)> {
    let ok = |body: String| Some(("200 OK", body));
    match kind {
        "good" => ok(sample(at, "0.25")),
        "bad" => ok(sample(at, "1.5")),
        "empty" => ok(vector(&json!([]))),
        "nan" => ok(sample(at, "NaN")),
        "infinite" => ok(sample(at, "+Inf")),
        "several" => ok(vector(&json!([{ "value": [1, "1"] }, { "value": [1, "2"] }]))),
        "stale" => ok(sample(at - 1000.0, "1")),
        "future" => ok(sample(at + 100.0, "1")),
        "html" => ok("<html>an error page</html>".to_owned()),
        "huge" => ok(" ".repeat(10 << 20)),
        "broken" => Some(("500 Internal Server Error", "secret words".to_owned())),
        "bad_query" => {
            Some(("400 Bad Request", json!({ "status": "error", "error": "parse error" }).to_string()))
        }
        "moved" => Some(("302 Found\r\nlocation: /good", String::new())),
        "number" => ok(json!({ "data": { "errors": 3, "password": "secret words" } }).to_string()),
        "secrets" => ok(json!({ "password": "secret words" }).to_string()),
        "pass" => ok(json!({ "verdict": "pass" }).to_string()),
        "fail" => ok(json!({ "verdict": "fail" }).to_string()),
        _ => None,
    }
}

async fn provider() -> Provider {
    provider_at(Arc::new(Mutex::new((now(), None)))).await
}

/// A provider whose clock shows the time in `says`, and that answers as the kind there, or as its path says.
async fn provider_at(says: Arc<Mutex<(Timestamp, Option<&'static str>)>>) -> Provider {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (mut serving, asked) = (JoinSet::new(), Arc::new(Mutex::new(Vec::new())));
    let known = asked.clone();
    serving.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (known, says) = (known.clone(), says.clone());
            open.spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                    let mut some = [0; 4096];
                    let count = stream.read(&mut some).await.unwrap();
                    assert!(count > 0 && head.len() < 65_536, "a whole request comes");
                    head.extend_from_slice(&some[..count]);
                }
                let head = String::from_utf8(head).unwrap();
                let kind = head.split('/').nth(1).unwrap().split([' ', '?']).next().unwrap().to_owned();
                known.lock().unwrap().push(head.lines().next().unwrap().to_owned());
                let (at, instead) = *says.lock().unwrap();
                let second = f64::from(u32::try_from(at.as_millis() / 1000).unwrap());
                let Some((status, body)) = reply(instead.unwrap_or(&kind), second) else {
                    return std::future::pending().await;
                };
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
                // A reader that has enough ends the connection in the middle.
                drop(stream.write_all(&[head.into_bytes(), body.into_bytes()].concat()).await);
            });
        }
    });
    Provider { address, asked, _serving: serving }
}

fn question(ask: Value) -> Question {
    let mut ask = ask;
    let inner = ask.as_object_mut().unwrap().values_mut().next().unwrap();
    if inner.get("timeout").is_none() {
        inner["timeout"] = "20s".into();
    }
    let (gate, until) = ("g".to_owned(), now());
    Question {
        key: QuestionKey { rollout: "00000001".parse().unwrap(), gate, until },
        ask: serde_json::from_value::<GateAsk>(ask).unwrap(),
        window: Span::from_secs(60),
        words: Substitutes {
            release: Counter(7),
            digest: Digest::of(b"release"),
            service: "production/web".parse().unwrap(),
            window: Span::from_secs(60),
        },
    }
}

fn asker(allowed: &[&str]) -> Asker {
    let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
    Asker::new(Networks::read(&allowed).unwrap()).unwrap()
}

async fn ask(asker: &Asker, ask: Value) -> Answer {
    asker.ask(&question(ask), now()).await
}

fn fault(answer: &Answer) -> Option<AnswerFault> {
    if let Said::Fault { kind, .. } = answer.said { Some(kind) } else { None }
}

#[tokio::test]
async fn every_provider_that_fails_is_a_fault_of_its_own() {
    use AnswerFault as F;
    let provider = provider().await;
    let asker = asker(&["127.0.0.1/32"]);
    #[rustfmt::skip]
    let table = [
        ("empty", F::Empty), ("nan", F::NotANumber), ("infinite", F::Infinite), ("several", F::SeveralSeries),
        ("stale", F::Stale), ("future", F::Future), ("html", F::NotJson), ("huge", F::TooLarge),
        ("broken", F::Status), ("bad_query", F::QueryFailed), ("moved", F::Status),
    ];
    for (kind, want) in table {
        let url = format!("http://{}/{kind}", provider.address);
        let answer = ask(&asker, json!({ "prometheus": { "url": url, "query": "up", "max": 1 } })).await;
        assert_eq!(fault(&answer), Some(want), "{kind}: {answer:?}");
        assert!(!answer.raw.contains("secret"), "the page of an error is not kept: {answer:?}");
    }
    let url = format!("http://{}/good", provider.address);
    let good = ask(&asker, json!({ "prometheus": { "url": url, "query": "up", "max": 1 } })).await;
    assert!(matches!(good.said, Said::Number(number) if number.get() == 0.25), "{good:?}");
    assert!(good.raw.contains("0.25") && good.sent == "up", "{good:?}");
}

#[tokio::test]
async fn answers_in_json_are_numbers_or_verdicts() {
    let provider = provider().await;
    let asker = asker(&["127.0.0.1/32"]);
    let of = |path: &str| format!("http://{}/{path}", provider.address);
    let number = json!({ "http": { "url": of("number"), "pointer": "/data/errors", "max": 5 } });
    let number = ask(&asker, number).await;
    assert!(matches!(number.said, Said::Number(number) if number.get() == 3.0));
    // Nothing is stored but what the verdict is made from: a gate is no way to read pages.
    assert_eq!(number.raw, r#"{"data":{"errors":3}}"#);
    let page =
        ask(&asker, json!({ "http": { "url": of("secrets"), "pointer": "/nothing", "max": 5 } })).await;
    assert_eq!((fault(&page), page.raw.as_str()), (Some(AnswerFault::Empty), ""));
    for (path, want) in [("pass", Said::Passes(true)), ("fail", Said::Passes(false))] {
        assert_eq!(ask(&asker, json!({ "http": { "url": of(path) } })).await.said, want);
    }
}

#[tokio::test]
async fn a_question_names_the_release_and_the_end_of_its_window() {
    let provider = provider().await;
    let asker = asker(&["127.0.0.1/32"]);
    let base = format!("http://{}/empty/", provider.address);
    let query = "rate(errors{release=\"{{release}}\"}[{{window}}]) & more";
    ask(&asker, json!({ "prometheus": { "url": base, "query": query, "max": 1 } })).await;
    let url =
        format!("http://{}/pass?of={{{{service}}}}.{{{{environment}}}}&r={{{{release}}}}", provider.address);
    ask(&asker, json!({ "http": { "url": url } })).await;
    let asked = provider.asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        [
            "GET /empty/api/v1/query?query=rate%28errors%7Brelease%3D%22r7%22%7D%5B1m%5D%29+%26+more&time=2027-01-15T08%3A00%3A00.000Z HTTP/1.1",
            "GET /pass?of=web.production&r=r7 HTTP/1.1"
        ]
    );
}

#[tokio::test]
async fn nobody_who_is_silent_holds_a_question_up() {
    let provider = provider().await;
    let asker = asker(&["127.0.0.1/32"]);
    let began = Instant::now();
    let url = format!("http://{}/silent", provider.address);
    let answer = ask(&asker, json!({ "http": { "url": url, "timeout": "300ms" } })).await;
    assert_eq!(fault(&answer), Some(AnswerFault::TimedOut), "{answer:?}");
    assert!(answer.took_ms >= 300 && began.elapsed() < Duration::from_secs(15), "{answer:?}");
    // A port at which nobody listens any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let answer = ask(&asker, json!({ "http": { "url": format!("http://{gone}/") } })).await;
    assert_eq!(fault(&answer), Some(AnswerFault::NoConnection), "{answer:?}");
    let answer = ask(&asker, json!({ "http": { "url": "http://no-such-name.invalid/" } })).await;
    assert_eq!(fault(&answer), Some(AnswerFault::NoConnection), "{answer:?}");
}

#[tokio::test]
async fn no_address_is_asked_that_the_coordinator_may_not_ask() {
    let provider = provider().await;
    let port = provider.address.port();
    let none = asker(&[]);
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "10.0.0.1"]
    {
        let answer = ask(&none, json!({ "http": { "url": format!("http://{host}:{port}/pass") } })).await;
        assert_eq!(fault(&answer), Some(AnswerFault::NotAllowed), "{host}: {answer:?}");
        let Said::Fault { detail, .. } = &answer.said else { unreachable!() };
        assert!(detail.contains("gates.allow"), "{detail}");
    }
    let all = asker(&["0.0.0.0/0", "::/0"]);
    for host in ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "0xa9fea9fe"] {
        let answer = ask(&all, json!({ "http": { "url": format!("http://{host}/latest/meta-data") } })).await;
        assert_eq!(fault(&answer), Some(AnswerFault::NotAllowed), "{host}: {answer:?}");
    }
    let answer = ask(&all, json!({ "http": { "url": format!("http://localhost:{port}/pass") } })).await;
    assert_eq!(answer.said, Said::Passes(true), "a name that leads where it may");
}

#[test]
fn no_rollout_and_no_provider_keeps_others_waiting() {
    let at = |provider: &str, rollout: &str, gate: &str, second: i64| {
        let url = format!("http://{provider}/x");
        let mut question = question(json!({ "http": { "url": url } }));
        question.key = QuestionKey {
            rollout: rollout.parse().unwrap(),
            gate: gate.to_owned(),
            until: Timestamp::from_millis(second * 1000),
        };
        question
    };
    let of = |rollout: &str, gate: &str, second: i64| at("p", rollout, gate, second);
    let open: Vec<Question> = ["a", "b", "c", "d"].map(|gate| of("00000001", gate, 1)).into();
    let all: Vec<Question> = open.iter().cloned().chain([of("00000002", "a", 2)]).collect();
    let keys =
        |of: &[Question]| of.iter().map(|q| format!("{} {}", q.key.rollout, q.key.gate)).collect::<Vec<_>>();
    assert_eq!(keys(&super::next(all.clone(), [].iter(), 8)), ["00000001 a", "00000001 b", "00000002 a"]);
    let under_way = [super::Place::of(&open[0]), super::Place::of(&open[1])];
    assert_eq!(keys(&super::next(all, under_way.iter(), 6)), ["00000002 a"]);

    // Four rollouts hang at a provider that does not answer; whoever asks another one is asked all the same.
    let hang: Vec<_> =
        (1..=4).map(|n| super::Place::of(&at("silent", &format!("0000000{n}"), "a", 1))).collect();
    let open = vec![at("silent", "00000005", "a", 2), at("well", "00000005", "b", 3)];
    assert_eq!(keys(&super::next(open, hang.iter(), 28)), ["00000005 b"]);
}
