//! Probes against real sockets.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use windlass_core::Span;
use windlass_core::reconcile::Health;
use windlass_core::release::{Check, Probe};

use super::state::Kind;
use super::*;
use crate::clock::now;
use crate::runtime::fake::FakeEngine;

const LIMIT: Duration = Duration::from_secs(10);

fn probe(check: Check, every: u64) -> Probe {
    let (every, timeout) = (Span::from_millis(every), Span::from_millis(300));
    Probe { check, every, timeout, failures: 2, successes: 1 }
}

fn http() -> Check {
    Check::Http { path: "/health?x=1".to_owned(), port: "http".to_owned() }
}

fn subject(port: u16, probes: release::Health) -> Subject {
    Subject {
        container: "c1".to_owned(),
        run: Timestamp::ZERO,
        address: "127.0.0.1".to_owned(),
        ports: [("http".to_owned(), port)].into(),
        probes,
        history: History::default(),
        answers: Answers::default(),
    }
}

struct Asked {
    reports: mpsc::Receiver<Report>,
    history: History,
    _tasks: JoinSet<()>,
}

fn ask(subject: Subject) -> Asked {
    let (sender, reports) = mpsc::channel(16);
    let history = subject.history.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(watch(Arc::new(FakeEngine::new(now)), subject, sender, now));
    Asked { reports, history, _tasks: tasks }
}

impl Asked {
    async fn until(&mut self, mut wanted: impl FnMut(&Health) -> bool) -> Duration {
        let begun = Instant::now();
        let waiting = async {
            while let Some(report) = self.reports.recv().await {
                if wanted(&report.health) {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.expect("the health comes");
        begun.elapsed()
    }

    fn details(&self) -> Vec<String> {
        self.history.lock().unwrap().iter().map(|seen| seen.detail.clone()).collect()
    }
}

/// Answers with what `answer` says for the n-th request; an empty answer closes the connection.
async fn serve(listener: TcpListener, answer: fn(usize) -> &'static str, asked: Arc<AtomicUsize>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let number = asked.fetch_add(1, Ordering::SeqCst);
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        assert!(text.is_empty() || text.starts_with("GET /health?x=1 HTTP/1.1\r\n"), "{text}");
        stream.write_all(answer(number).as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_service_is_seen_as_soon_as_it_listens() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    drop(held);
    // Far longer than anybody waits here: it is seen because it is asked sooner than that.
    let probes = release::Health { startup: Some(probe(http(), 600_000)), ..release::Health::default() };
    let mut asked = ask(subject(address.port(), probes));
    asked.until(|health| !health.ready).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut server = JoinSet::new();
    let listener = TcpListener::bind(address).await.unwrap();
    server.spawn(serve(listener, |_| "HTTP/1.1 204 No Content\r\n\r\n", Arc::default()));
    asked.until(|health| health.ready && health.was_ready).await;
    assert_eq!(asked.details().first().unwrap(), "connection refused");
    assert_eq!(asked.details().last().unwrap(), "HTTP 204");
}

#[tokio::test]
async fn readiness_comes_and_goes_and_only_the_status_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    let answer = |number: usize| match number {
        0 => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        1..4 => "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 99999999\r\n\r\nbody",
        4 | 6 => "HTTP/1.1 500 Oops\r\n\r\n", // one bad answer is none
        5 | 9.. => "HTTP/1.1 200 OK\r\n\r\n",
        _ => "",
    };
    server.spawn(serve(listener, answer, Arc::default()));
    let probes = release::Health { readiness: Some(probe(http(), 20)), ..release::Health::default() };
    let mut asked = ask(subject(port, probes));
    asked.until(|health| health.ready && !health.unbroken).await;
    asked.until(|health| !health.ready && health.was_ready).await;
    asked.until(|health| health.ready).await;
    let details = asked.details();
    assert!(details.contains(&"connection closed".to_owned()) && details.len() <= HISTORY, "{details:?}");
}

/// After a restart of the agent such an instance stays available.
#[tokio::test]
async fn a_good_startup_probe_before_readiness_breaks_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    server.spawn(serve(listener, |_| "HTTP/1.1 200 OK\r\n\r\n", Arc::default()));
    let (startup, readiness) = (Some(probe(http(), 20)), Some(probe(http(), 20)));
    let mut asked = ask(subject(port, release::Health { startup, readiness, ..release::Health::default() }));
    asked.until(|health| health.ready && health.unbroken).await;
}

/// The address of a host may go, by DHCP or a router, while its instances serve on.
#[tokio::test]
async fn an_instance_is_probed_though_its_host_lost_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    server.spawn(serve(listener, |_| "HTTP/1.1 200 OK\r\n\r\n", Arc::default()));
    let probes = release::Health { readiness: Some(probe(http(), 20)), ..release::Health::default() };
    let mut asked = ask(Subject { address: "203.0.113.9".to_owned(), ..subject(port, probes) });
    asked.until(|health| health.ready).await;
}

#[tokio::test]
async fn the_figures_of_its_answers_are_told_while_it_runs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    let answer = |number: usize| match number {
        0 => "HTTP/1.1 200 OK\r\n\r\n",
        _ => "HTTP/1.1 503 Oops\r\n\r\n",
    };
    server.spawn(serve(listener, answer, Arc::default()));
    let probes = release::Health { readiness: Some(probe(http(), 20)), ..release::Health::default() };
    let subject = subject(port, probes);
    let answers = subject.answers.clone();
    let mut asked = ask(subject);
    asked.until(|health| health.ready).await;
    asked.until(|health| !health.ready).await;
    let figures = answers.all()["c1"];
    assert!(!figures.ok && figures.answers >= 3 && figures.failures == figures.answers - 1, "{figures:?}");
    assert!(figures.seconds > 0.0 && figures.seconds < LIMIT.as_secs_f64(), "{figures:?}");
    drop(asked);
    let begun = Instant::now();
    while !answers.all().is_empty() {
        assert!(begun.elapsed() < LIMIT, "of one that is asked no more nothing is told");
        tokio::task::yield_now().await;
    }
}

/// A service that fell back to its processor answers 200, and is not healthy.
#[tokio::test]
async fn what_the_answer_says_counts_where_it_is_wanted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    let answer = |number: usize| match number {
        0..6 => "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"gpu\":false}",
        6..8 => "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{\"gpu\":true}",
        _ => "HTTP/1.1 503 Oops\r\ncontent-length: 12\r\n\r\n{\"gpu\":true}",
    };
    server.spawn(serve(listener, answer, Arc::default()));
    let wants = serde_json::json!({"request": {
        "request": {"path": "/health?x=1", "port": "http", "method": "GET"},
        "expect": {"status": ["200-399"], "json": {"/gpu": true}},
    }});
    let gpu = serde_json::from_value(wants).unwrap();
    let probes = release::Health { readiness: Some(probe(gpu, 20)), ..release::Health::default() };
    let mut asked = ask(subject(port, probes));
    let mut why = None;
    asked
        .until(|health| {
            why = why.take().or_else(|| health.why.clone());
            health.ready
        })
        .await;
    let why = why.expect("it was said why it is not ready");
    let asked_at = format!("readiness GET http://127.0.0.1:{port}/health?x=1");
    assert_eq!((why.asked, why.answer.as_str()), (asked_at, "wanted /gpu = true, got false"));
    asked.until(|health| !health.ready && health.was_ready).await;
    let details = asked.details();
    assert!(details.contains(&"wanted status 200-399, got HTTP 503".to_owned()), "{details:?}");
}

#[test]
fn a_question_names_the_address_that_is_asked() {
    let asks = |address: &str, check: serde_json::Value| {
        let probe = probe(serde_json::from_value(check).unwrap(), 20);
        let subject = Subject { address: address.to_owned(), ..subject(20_000, release::Health::default()) };
        check::words(&probe, &subject)
    };
    let request = |tls: serde_json::Value, port: &str| {
        let mut request = serde_json::json!({"path": "/v1", "port": port, "method": "POST"});
        if !tls.is_null() {
            request["tls"] = tls;
        }
        serde_json::json!({"request": {"request": request, "expect": {"status": ["200"]}}})
    };
    let http = |port: &str| serde_json::json!({"http": {"path": "/health", "port": port}});
    let (none, tls) = (serde_json::Value::Null, serde_json::json!({}));
    #[rustfmt::skip]
    let table = [
        ("127.0.0.1", http("http"),                                       "GET http://127.0.0.1:20000/health"),
        ("::1",       http("http"),                                       "GET http://[::1]:20000/health"),
        ("localhost", request(none.clone(), "http"),                      "POST http://localhost:20000/v1"),
        ("127.0.0.1", request(tls, "http"),                               "POST https://127.0.0.1:20000/v1"),
        ("127.0.0.1", serde_json::json!({"tcp": {"port": "http"}}),       "TCP 127.0.0.1:20000"),
        ("127.0.0.1", serde_json::json!({"exec": {"argv": ["a", "b"]}}),  "exec a b"),
        // No port of that name: there is no address.
        ("127.0.0.1", http("other"),                                      "GET /health"),
        ("127.0.0.1", request(none, "other"),                             "POST /v1"),
        ("127.0.0.1", serde_json::json!({"tcp": {"port": "other"}}),      "TCP port other"),
    ];
    for (address, check, words) in table {
        assert_eq!(asks(address, check), words);
    }
}

#[tokio::test]
async fn liveness_waits_for_startup_and_a_silent_service_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = Check::Http { path: "/health".to_owned(), port: "http".to_owned() };
    let probes = release::Health {
        startup: Some(probe(Check::Tcp { port: "http".to_owned() }, 20)),
        liveness: Some(probe(silent, 20)),
        ..release::Health::default()
    };
    let mut asked = ask(subject(port, probes));
    asked.until(|health| health.ready && health.live).await;
    asked.until(|health| !health.live).await;
    assert!(asked.details().contains(&"timed out after 300ms".to_owned()), "{:?}", asked.details());
    drop(listener);
}

#[tokio::test]
async fn a_proxy_that_closes_is_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    server.spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let tcp = Check::Tcp { port: "http".to_owned() };
    let probes = release::Health { readiness: Some(probe(tcp, 600_000)), ..release::Health::default() };
    let mut asked = ask(subject(port, probes));
    asked.until(|health| !health.ready).await;
    let begun = Instant::now();
    while asked.details().len() <= 2 {
        assert!(begun.elapsed() < LIMIT, "asked again soon: {:?}", asked.details());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(asked.details().iter().all(|detail| detail == "connection closed"));
}

#[test]
fn readiness_probe_or_any_failed_probe_decides_serving() {
    use Kind::{Liveness, Readiness, Startup};
    #[rustfmt::skip]
    // Which probe answers, and whether its count of good or of bad answers is full.
    type Answers = &'static [(Kind, bool, bool)];
    let table: [(&str, &[Kind], Answers, bool); 10] = [
        ("asked, and no count is full", &[Startup], &[(Startup, false, false)], false),
        ("it has started", &[Startup], &[(Startup, true, false)], true),
        ("it never started", &[Startup], &[(Startup, false, true)], true),
        ("started, readiness still to be asked", &[Startup, Readiness], &[(Startup, true, false)], false),
        (
            "started and not ready",
            &[Startup, Readiness],
            &[(Startup, true, false), (Readiness, false, true)],
            true,
        ),
        ("ready", &[Readiness], &[(Readiness, true, false)], true),
        ("alive says nothing of ready", &[Readiness, Liveness], &[(Liveness, true, false)], false),
        ("not alive", &[Readiness, Liveness], &[(Liveness, false, true)], true),
        ("alive, and nothing else is asked", &[Liveness], &[(Liveness, true, false)], true),
        (
            "once decided, it stays so",
            &[Readiness],
            &[(Readiness, true, false), (Readiness, false, false)],
            true,
        ),
    ];
    for (case, kinds, answers, decided) in table {
        let mut probes = release::Health::default();
        for kind in kinds {
            let probe = Some(probe(http(), 1000));
            match kind {
                Startup => probes.startup = probe,
                Readiness => probes.readiness = probe,
                Liveness => probes.liveness = probe,
            }
        }
        let mut state = State::new(&subject(1, probes), Timestamp::ZERO);
        let mut reported = false;
        for (kind, yes, no) in answers {
            let report = state.judge(*kind, *yes, *no, None, Timestamp::ZERO);
            reported |= report.is_some_and(|health| health.decided);
        }
        assert_eq!((state.health.decided, reported), (decided, decided), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_hangs_is_the_only_one_of_its_probe() {
    let engine = Arc::new(FakeEngine::new(now));
    engine.world().exec_hangs = true;
    let exec = Check::Exec { argv: vec!["hang".to_owned()] };
    let probes = release::Health { readiness: Some(probe(exec, 1000)), ..release::Health::default() };
    let (sender, mut reports) = mpsc::channel(1024);
    let mut tasks = JoinSet::new();
    tasks.spawn(watch(engine.clone(), subject(1, probes), sender, now));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(engine.world().execs, 1, "none is begun beside it");
    let mut all = Vec::new();
    while let Ok(report) = reports.try_recv() {
        all.push(report.health);
    }
    assert!(all.iter().all(|health| !health.ready));
    assert!(all.len() <= 16, "an answer as bad as before is said now and then: {}", all.len());
    let why = all.last().and_then(|health| health.why.clone()).expect("why it is not ready");
    assert_eq!(why.asked, "readiness exec hang");
    assert_eq!(why.answer, "the command before this one still runs");
    assert!(why.failed > 40 && why.failed == why.of, "{why}");
    // It has ended, and the next one is begun.
    (engine.world().exec_hangs, engine.world().exec_runs) = (false, false);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(reports.try_recv().is_ok_and(|report| report.health.ready && report.health.why.is_none()));
}
