//! Which tables an ingress follows, and for how long.

use windlass_agent::traffic::wire::Down;
use windlass_certs::keys::SigningKey;
use windlass_core::Digest;
use windlass_core::observation::RefusalCode;
use windlass_core::traffic::{Hold, IngressReport};

use crate::http::{Endpoint, get};
use crate::world::{FakeAgent, LONG, World, release, signed, table, until};

const WEB: &str = "web.example.com";
const HTTP: [&str; 2] = ["--http", "127.0.0.1:0"];

fn at(seq: u64) -> impl Fn(&IngressReport) -> bool {
    move |report| report.tables.values().any(|table| table.seq == seq)
}

fn refused(code: RefusalCode) -> impl Fn(&IngressReport) -> bool {
    move |report| report.refused.values().any(|refusal| refusal.code == code)
}

#[tokio::test]
async fn requests_follow_the_newest_table_that_is_signed() {
    let world = World::new();
    let (one, two) = (Endpoint::listen("one").await, Endpoint::listen("two").await);
    let mut agent = world.agent(vec![world.keys.table(5, &[one.address])]);
    let _ingress = world.start(&[HTTP[0], HTTP[1], "--metrics", "127.0.0.1:0"]);
    let report = agent.report("table 5", at(5)).await;
    let (http, metrics) = (agent.http().await, agent.at("metrics").await);
    assert_eq!(get(http, WEB, "/").await.unwrap().body, "one");
    assert_eq!(get(http, "other.example.com", "/").await.unwrap().status, 404);

    agent.say(world.keys.table(6, &[two.address]));
    let newer = agent.report("table 6", at(6)).await;
    assert_ne!(newer.tables.values().next().unwrap().digest, report.tables.values().next().unwrap().digest);
    assert_eq!(get(http, WEB, "/").await.unwrap().body, "two");

    // A table never goes back, and only the dispatch key signs one.
    agent.say(world.keys.table(5, &[one.address]));
    agent.report("an older one is refused", refused(RefusalCode::Stale)).await;
    agent.say(world.keys.table(6, &[one.address]));
    agent.report("another with its number is refused", refused(RefusalCode::Equivocation)).await;
    agent.say(signed(&table(7, &[one.address]), &SigningKey::generate().unwrap()));
    agent.report("one of a foreign key is refused", refused(RefusalCode::UnknownKey)).await;
    assert_eq!(get(http, WEB, "/").await.unwrap().body, "two");

    let counted = |report: &IngressReport| {
        let service = report.services.get(&"production/web".parse().unwrap());
        service.and_then(|s| s.releases.get(&release())).is_some_and(|r| r.weighted.success == 3)
    };
    let report = agent.report("three requests are counted", counted).await;
    assert_eq!(report.unrouted, 1);
    assert_eq!(report.tables.values().next().unwrap().seq, 6);
    let text = get(metrics, "metrics", "/metrics").await.unwrap().body;
    for line in [
        "windlass_ingress_table_seq{environment=\"production\"} 6",
        "windlass_ingress_table_refused{environment=\"production\"} 1",
        "windlass_ingress_unrouted_total 1",
        "# TYPE windlass_ingress_broken_total counter",
        "windlass_ingress_responses_total{service=\"production/web\",release=\"r1\",by=\"weight\",class=\"2xx\"} 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let sums = text.lines().filter(|line| line.starts_with("windlass_ingress_latency_seconds_sum{"));
    let sums: Vec<f64> = sums.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(sums.iter().any(|sum| *sum > 0.0), "a histogram has a sum: {text}");
    assert!(!text.contains("unconfirmed"), "{text}");
}

#[tokio::test]
async fn a_table_of_a_new_key_waits_for_its_trust_document() {
    let world = World::new();
    let one = Endpoint::listen("one").await;
    let mut agent = world.agent(Vec::new());
    let _ingress = world.start(&HTTP);
    let fresh = SigningKey::generate().unwrap();
    agent.say(signed(&table(1, &[one.address]), &fresh));
    agent.report("the key is not known", refused(RefusalCode::UnknownKey)).await;
    agent.say(world.keys.trust(2, &fresh));
    let report = agent.report("the table is taken after all", at(1)).await;
    assert!(report.refused.is_empty());
    let http = agent.http().await;
    assert_eq!(get(http, WEB, "/").await.unwrap().body, "one");
}

/// The first answer of an ingress that begins.
async fn first_answer(http: std::net::SocketAddr) -> String {
    let end = tokio::time::Instant::now() + LONG;
    loop {
        if let Ok(answer) = get(http, WEB, "/").await {
            return answer.body;
        }
        assert!(tokio::time::Instant::now() < end, "it never answers");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// An ingress that failed to write a trust document once was not told it again, and refused every table of its keys.
#[tokio::test]
async fn a_trust_document_that_was_not_kept_is_asked_for_again() {
    let world = World::new();
    let one = Endpoint::listen("one").await;
    let mut agent = FakeAgent::listen(&world.folder, Vec::new());
    let _ingress = world.start(&HTTP);
    let http = agent.http().await;
    // A file cannot take the place of a folder with something in it.
    let in_the_way = world.folder.join("ingress/trust.json");
    std::fs::create_dir_all(in_the_way.join("something")).unwrap();
    agent.say(world.keys.trust(1, &world.keys.0.dispatch));
    agent.say(world.keys.table(5, &[one.address]));
    // It connects anew, and cannot keep it then either.
    until("another link", || agent.links() >= 3).await;
    assert_eq!(get(http, WEB, "/").await.unwrap().status, 404);
    std::fs::remove_dir_all(&in_the_way).unwrap();
    agent.report("the table is taken after all", at(5)).await;
    assert_eq!(get(http, WEB, "/").await.unwrap().body, "one");
}

/// Complaint 12 about other proxies (linkerd/linkerd2#10491): endpoints that are long gone.
#[tokio::test]
async fn an_ingress_that_was_away_serves_by_the_newest_table() {
    let world = World::new();
    let (one, two) = (Endpoint::listen("one").await, Endpoint::listen("two").await);
    let mut agent = world.agent(vec![world.keys.table(5, &[one.address])]);
    let mut ingress = world.start(&HTTP);
    agent.report("table 5", at(5)).await;
    let http = agent.http().await;
    ingress.kill();
    drop(agent);
    // Meanwhile another instance has the port of the old table, and its agent takes a moment.
    let trust = world.keys.trust(1, &world.keys.0.dispatch);
    let said = vec![trust, world.keys.table(6, &[two.address])];
    let _agent = FakeAgent::listen_slowly(&world.folder, said, std::time::Duration::from_millis(700));
    let _ingress = world.start(&["--http", &http.to_string()]);
    assert_eq!(first_answer(http).await, "two");
}

#[tokio::test]
async fn an_ingress_goes_on_while_the_agent_is_away() {
    let world = World::new();
    let (one, two) = (Endpoint::listen("one").await, Endpoint::listen("two").await);
    let mut agent = world.agent(vec![world.keys.table(5, &[one.address])]);
    let mut ingress = world.start(&HTTP);
    agent.report("table 5", at(5)).await;
    let http = agent.http().await;
    drop(agent);
    assert_eq!(get(http, WEB, "/").await.unwrap().body, "one");

    // Killed, it begins anew from what it has written, with nobody to ask.
    ingress.kill();
    assert!(get(http, WEB, "/").await.is_err());
    let address = http.to_string();
    let _ingress = world.start(&["--http", &address]);
    assert_eq!(first_answer(http).await, "one");

    // The agent comes back, and what was in force before still counts.
    let mut agent = world.agent(vec![world.keys.table(4, &[two.address])]);
    agent.report("an older table is refused", refused(RefusalCode::Stale)).await;
    agent.say(world.keys.table(6, &[two.address]));
    agent.report("table 6", at(6)).await;
    assert_eq!(get(http, WEB, "/").await.unwrap().body, "two");
}

#[tokio::test]
async fn a_trust_document_of_other_roots_is_not_believed() {
    let world = World::new();
    let one = Endpoint::listen("one").await;
    let mut agent = world.agent(vec![world.keys.table(5, &[one.address])]);
    let mut ingress = world.start(&HTTP);
    agent.report("table 5", at(5)).await;
    drop(agent);
    ingress.kill();
    // Another root signs another first version: the one that was pinned stays.
    let mut stranger = World::new();
    stranger.folder.clone_from(&world.folder);
    let mut agent = stranger.agent(vec![stranger.keys.table(9, &[one.address])]);
    let mut ingress = world.start(&HTTP);
    agent.report("the key is not known", refused(RefusalCode::UnknownKey)).await;
    let report = agent.report("table 5 stays", at(5)).await;
    assert!(!at(9)(&report) && !ingress.has_ended());
}

#[tokio::test]
async fn each_request_is_a_line_of_the_access_log() {
    let world = World::new();
    let one = Endpoint::listen("one").await;
    let mut agent = world.agent(vec![world.keys.table(5, &[one.address])]);
    let log = world.folder.join("access.log");
    let _ingress = world.start(&[HTTP[0], HTTP[1], "--access-log", log.to_str().unwrap()]);
    agent.report("table 5", at(5)).await;
    let http = agent.http().await;
    let lines = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    assert_eq!(get(http, WEB, "/cart?token=secret").await.unwrap().status, 200);
    assert_eq!(get(http, "other.example.com", "/").await.unwrap().status, 404);
    until("two lines", || lines().len() == 2).await;
    let written = lines();
    assert_eq!(
        (&written[0]["path"], &written[0]["status"], &written[0]["ended"]),
        (&"/cart".into(), &200.into(), &"whole".into())
    );
    assert_eq!(written[0]["service"], "production/web");
    assert_eq!(written[0]["release"], release().to_string());
    assert_eq!(written[0]["endpoint"], one.address.to_string());
    assert_eq!((&written[1]["host"], &written[1]["status"]), (&"other.example.com".into(), &404.into()));
    assert!(written[1].get("endpoint").is_none());
    // A client that leaves is a line too, and a file that was moved away is made anew.
    std::fs::rename(&log, world.folder.join("access.log.1")).unwrap();
    let under_way = agent.report("the request is under way", |report| report.under_way() == 1);
    tokio::select! {
        answer = get(http, WEB, "/wait/60000") => panic!("nobody answers it: {answer:?}"),
        _ = under_way => {}
    }
    until("a line in the new file", || lines().len() == 1).await;
    assert_eq!((&lines()[0]["status"], &lines()[0]["ended"]), (&499.into(), &"client_gone".into()));
}

#[tokio::test]
async fn what_its_agent_has_restored_answers_before_a_new_table_comes() {
    let world = World::new();
    let (failed, old) = (Endpoint::listen("failed").await, Endpoint::listen("old").await);
    let new = Endpoint::listen("new").await;
    let mut agent = world.agent(vec![world.keys.table(5, &[failed.address])]);
    let mut ingress = world.start(&HTTP);
    agent.report("table 5", at(5)).await;
    let http = agent.http().await;
    assert_eq!(get(http, WEB, "/").await.unwrap().body, "failed");
    let hold = Hold {
        service: "production/web".parse().unwrap(),
        port: "http".to_owned(),
        number: old.address.port(),
        release: Digest::of(b"r0"),
        failed: release(),
        instead_of: Some(failed.address.port()),
    };
    agent.say(Down::Holds { holds: vec![hold] });
    let end = tokio::time::Instant::now() + LONG;
    while get(http, WEB, "/").await.unwrap().body != "old" {
        assert!(tokio::time::Instant::now() < end, "requests never went to the restored release");
    }
    // The agent is away, and the ingress begins anew: killed, or with a successor.
    drop(agent);
    ingress.kill();
    let address = http.to_string();
    let mut ingress = world.start(&["--http", &address]);
    assert_eq!(first_answer(http).await, "old");
    let _successor = world.start(&["--http", &address, "--drain", "1s"]);
    assert!(ingress.end().await);
    assert_eq!(first_answer(http).await, "old");
    // The agent says it no more, and the table leads elsewhere: nothing of it is left.
    let mut agent = world.agent(vec![Down::Holds { holds: Vec::new() }, world.keys.table(6, &[new.address])]);
    agent.report("table 6", at(6)).await;
    assert_eq!(get(http, WEB, "/").await.unwrap().body, "new");
    let kept = world.folder.join("ingress/holds.json");
    until("nothing is kept", || std::fs::read_to_string(&kept).unwrap() == "[]").await;
}

#[test]
fn an_ingress_in_a_misspelt_folder_ends_and_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("misspelt");
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_windlass-agent"));
    let ended = program.args(["ingress", "--http", "127.0.0.1:0", "--data"]).arg(&data).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("misspelt/") && said.contains("`--data DIR`"), "{said}");
    assert!(!data.exists(), "nothing is made");
}
