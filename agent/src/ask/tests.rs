//! Requests against real sockets.

use std::sync::Mutex;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use windlass_core::Digest;
use windlass_core::release::Release;

use super::*;

/// A server that answers the n-th request with what `answer` says, and keeps what it was sent.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(answer: fn(usize) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = seen.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                loop {
                    let mut part = [0; 4096];
                    let read = stream.read(&mut part).await.unwrap();
                    request.extend_from_slice(&part[..read]);
                    let text = String::from_utf8_lossy(&request).to_lowercase();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head
                        .split_once("content-length: ")
                        .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse::<usize>().unwrap());
                    if body.len() >= length {
                        break;
                    }
                }
                let number = kept.lock().unwrap().len();
                kept.lock().unwrap().push(String::from_utf8(request).unwrap());
                let answer = answer(number);
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
                // The client has read enough, and closes first.
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        Self { port, seen, _tasks: tasks }
    }

    fn instance(&self, asks: serde_json::Value) -> Instance {
        let mut spec = json!({ "ports": { "http": { "container": 80 } } });
        for (key, value) in asks.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let release = Release { version: 3, ..windlass_testkit::release::release(1, spec) };
        windlass_core::verify::check_release(&release).unwrap();
        let release = Arc::new(VerifiedRelease::new(Digest::of(b"r"), release));
        Instance { address: "127.0.0.1".to_owned(), ports: [("http".to_owned(), self.port)].into(), release }
    }
}

fn answered(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn get(path: &str) -> serde_json::Value {
    json!({"path": path, "port": "http", "method": "GET"})
}

async fn tested(instance: &Instance) -> Tested {
    match ask(instance, Question::Smoke(0)).await {
        Some(Done::Tested(0, tested)) => tested,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_arrives_as_the_release_has_it() {
    let server = Server::start(|_| answered(201, r#"{"prediction":0.5}"#)).await;
    let request = json!({
        "path": "/predictions?x=1", "port": "http", "method": "POST", "body": "{\"a\":1}",
        "headers": {"X-API-Key": "k", "Host": "ml.example.com"},
    });
    let expect = json!({"status": [200, 201], "json": {"/prediction": 0.5}});
    let instance = server.instance(json!({"smoke": [
        {"request": request, "expect": expect, "timeout": "10s", "tries": 1, "every": "0s"},
    ]}));
    assert_eq!(tested(&instance).await, Tested::Passed);
    let seen = server.seen.lock().unwrap()[0].clone();
    assert!(
        seen.starts_with("POST /predictions?x=1 HTTP/1.1\r\n") && seen.ends_with("\r\n\r\n{\"a\":1}"),
        "{seen}"
    );
    let lower = seen.to_lowercase();
    assert!(lower.contains("x-api-key: k\r\n") && lower.contains("host: ml.example.com\r\n"), "{seen}");
    assert_eq!(lower.matches("host: ").count(), 1, "{seen}");
    assert_eq!(ask(&instance, Question::Smoke(1)).await, None, "the release has no such request");
}

#[tokio::test]
async fn it_is_tried_again_until_it_passes_or_is_out_of_tries() {
    let server = Server::start(|number| match number {
        0 => answered(503, "starting"),
        1 => answered(200, r#"{"database":"down"}"#),
        _ => answered(200, r#"{"database":"connected"}"#),
    })
    .await;
    let smoke = |tries: u32| {
        let expect = json!({"json": {"/database": "connected"}});
        json!({"smoke": [{"request": get("/health"), "expect": expect, "timeout": "10s", "tries": tries, "every": "1ms"}]})
    };
    let Tested::Failed(failure) = tested(&server.instance(smoke(2))).await else { panic!("it fails") };
    assert_eq!(failure.to_string(), r#"smoke test GET /health: wanted /database = "connected", got "down""#);
    assert_eq!(
        (failure.status, failure.tries, failure.body.as_str()),
        (Some(200), 2, r#"{"database":"down"}"#)
    );
    assert_eq!(tested(&server.instance(smoke(2))).await, Tested::Passed);
    assert_eq!(server.seen.lock().unwrap().len(), 3, "what passed is not asked again");
}

#[tokio::test]
async fn silence_and_floods_are_verdicts_too() {
    let smoke = |timeout: &str, expect: serde_json::Value| json!({"smoke": [{"request": get("/"), "expect": expect, "timeout": timeout, "tries": 1, "every": "0s"}]});
    let silent = Server::start(|_| String::new()).await;
    let Tested::Failed(failure) = tested(&silent.instance(smoke("50ms", json!({})))).await else {
        panic!("nothing came")
    };
    assert_eq!((failure.wanted.as_str(), failure.got.as_str()), ("an answer within 50ms", "none"));

    let flood = Server::start(|_| answered(200, &"x".repeat(MAX_ANSWER + 1))).await;
    let wanted = json!({"json": {"/a": 1}});
    let Tested::Failed(failure) = tested(&flood.instance(smoke("10s", wanted))).await else {
        panic!("it is no JSON")
    };
    assert_eq!(failure.got, "a body that is too long to be read");
    assert_eq!(failure.body.len(), 200);

    let mut nobody = flood.instance(smoke("10s", json!({})));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    nobody.ports.insert("http".to_owned(), closed);
    let Tested::Failed(failure) = tested(&nobody).await else { panic!("nobody listens") };
    assert_eq!((failure.status, failure.got.as_str()), (None, "connection refused"));
}

#[tokio::test]
async fn a_warm_up_ends_when_all_are_sent_or_its_time_is_over() {
    let warm_up = |times: u32, timeout: &str| json!({"warm_up": [{"request": get("/"), "times": times, "timeout": timeout}]});
    let server = Server::start(|_| answered(500, "cold")).await;
    let done = ask(&server.instance(warm_up(20, "60s")), Question::WarmUp(0)).await;
    assert_eq!(done, Some(Done::Warmed(0)), "whatever it answers");
    assert_eq!(server.seen.lock().unwrap().len(), 20);

    let silent = Server::start(|_| String::new()).await;
    let done = ask(&silent.instance(warm_up(20, "50ms")), Question::WarmUp(0)).await;
    assert_eq!(done, Some(Done::Warmed(0)));
    assert_eq!(silent.seen.lock().unwrap().len(), 1, "the rest is not waited for");
}
