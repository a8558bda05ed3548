//! A canary whose gate asks a provider of this process: the answer decides, is stored, and can be computed again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use windlass_core::release::Release;
use windlass_core::view::{ExplainView, recomputed};
use windlass_proto::pb;
use windlass_server::{Config, Networks};

use crate::agent::{Agent, Players};
use crate::fleet::Fleet;
use crate::release::release;
use crate::rollouts::{deploy, follow, request, status};

/// A provider that answers with the number that it was told last; it ends with the test.
struct Provider {
    address: SocketAddr,
    number: Arc<AtomicU32>,
    asked: Arc<AtomicU64>,
    _serving: JoinSet<()>,
}

async fn provider() -> Provider {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (number, asked) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
    let (answer, count) = (number.clone(), asked.clone());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            // Questions are short: one read has the whole of it.
            assert!(stream.read(&mut head).await.unwrap() > 0);
            count.fetch_add(1, Ordering::SeqCst);
            let body = json!({ "failed": answer.load(Ordering::SeqCst) }).to_string();
            let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            drop(stream.write_all(whole.as_bytes()).await);
        }
    });
    Provider { address, number, asked, _serving: serving }
}

/// A release that goes on at half of its instances only when the provider says at most 5.
fn gated(counter: u64, content: &str, provider: SocketAddr) -> Release {
    let mut release = release(counter, 2, content);
    release.version = 4;
    release.spec.ports.clear();
    release.spec.main_port = None;
    release.spec.health = windlass_core::release::Health::default();
    release.spec.strategy = serde_json::from_value(json!({ "canary": {
        "steps": [{ "weight": 500, "gates": ["checks"] }, { "weight": 1000 }],
        "min_instances": 1, "keep_old": "0s", "min_ready": "100ms"
    } }))
    .unwrap();
    release.spec.gates = serde_json::from_value(json!({ "checks": {
        "ask": { "http": { "url": format!("http://{provider}/"), "pointer": "/failed", "timeout": "5s", "max": 5.0 } },
        "window": "10s", "passes": 1, "fails": 1
    } }))
    .unwrap();
    release
}

async fn explain(fleet: &Fleet, rollout: &str) -> ExplainView {
    let mut control = fleet.control("viewer/*").await;
    let request = pb::ExplainRolloutRequest { rollout: rollout.to_owned() };
    let view = control.explain_rollout(request).await.unwrap().into_inner().view;
    serde_json::from_slice(&view).unwrap()
}

#[tokio::test]
async fn the_answer_of_a_provider_decides_a_canary() {
    let allowed = |config: &mut Config| config.gates = Networks::read(&["127.0.0.1/32".to_owned()]).unwrap();
    let fleet = Fleet::start_with(true, allowed).await;
    let mut players = Players::default();
    for host in ["web-1", "web-2"] {
        players.add(&fleet, Agent::joined(&fleet, host).await).await;
    }
    for host in ["web-1", "web-2"] {
        fleet.wait_for(host, "connected").await;
    }
    let provider = provider().await;
    assert_eq!(deploy(&fleet, &gated(1, "one", provider.address)).await, "succeeded");
    assert_eq!(provider.asked.load(Ordering::SeqCst), 0, "the first release replaces none, and asks nobody");

    for (counter, content, number, outcome, verdict) in
        [(2, "two", 5, "succeeded", "pass"), (3, "three", 6, "rolled_back", "fail")]
    {
        provider.number.store(number, Ordering::SeqCst);
        let wanted = gated(counter, content, provider.address);
        let mut control = fleet.control("deployer/default").await;
        let started = control.submit_release(request(&fleet, &wanted)).await.unwrap().into_inner();
        assert!(started.warnings.is_empty(), "{started:?}");
        assert_eq!(follow(&fleet, &started.rollout).await, outcome);
        let view = explain(&fleet, &started.rollout).await;
        let judged = recomputed(&view);
        assert_eq!(judged.verdicts.len(), 1, "{judged:?}");
        assert_eq!(judged.differing, 0);
        assert_eq!(judged.verdicts[0].stored.as_str(), verdict);
        let story: Value = serde_json::to_value(&view).unwrap();
        let of_gate = story["decisions"].as_array().unwrap().iter().find(|one| one["decision"] == "judged");
        let answer = &of_gate.unwrap()["facts"]["answer"];
        assert_eq!(answer["raw"], json!({ "failed": number }).to_string(), "{story}");
    }
    assert_eq!(status(&fleet).await["release"], "r2");
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2, "each window is asked once");
}

#[tokio::test]
async fn a_gate_that_is_never_asked_is_told_of_beforehand() {
    let fleet = Fleet::start().await;
    let mut control = fleet.control("deployer/default").await;
    let wanted = gated(1, "one", "10.0.0.9:9090".parse().unwrap());
    let said = "gate `checks` gets no answer from this coordinator: 10.0.0.9 is not public; `gates.allow` in server.toml";
    let payload = serde_json::to_vec(&wanted).unwrap().into();
    let asked = pb::PreviewRequest { release: payload, retry_quarantined: false };
    let plan: Value =
        serde_json::from_slice(&control.preview(asked).await.unwrap().into_inner().view).unwrap();
    let warnings = plan["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|text| text.as_str().unwrap().starts_with(said)), "{plan}");
    // A plan that was saved is applied all the same: its digest does not cover a setting.
    let preview = plan["digest"].as_str().unwrap().to_owned();
    let asked = pb::SubmitReleaseRequest { preview, ..request(&fleet, &wanted) };
    let submitted = control.submit_release(asked).await.unwrap().into_inner();
    assert!(submitted.warnings.iter().any(|text| text.starts_with(said)), "{submitted:?}");
}
