//! Scenarios on a real engine.

use std::time::Duration;

use windlass_agent::runtime::Runtime;
use windlass_core::observation::{FailureReason, SlotStatus};
use windlass_core::plan::{Order, Phase, PlanSlot};
use windlass_core::release::{File, Volume};

use crate::host::{Host, good, replacing, running};

#[tokio::test]
async fn a_release_is_pulled_started_seen_healthy_and_replaced() {
    let Some(mut host) = Host::new("engine-a").await else { return };
    let (one, two) = (host.release(1, "v1", |_| {}), host.release(2, "v2", |_| {}));
    host.plan(vec![PlanSlot { phase: Phase::Pulled, ..running(0, one) }]);
    println!("pulled after {:?}", host.settled(60).await);
    host.plan(vec![running(0, one)]);
    println!("settled after {:?}", host.settled(30).await);
    assert_eq!(host.picture(0), "r1 healthy");
    host.plan(vec![good(0, one)]);
    host.settled(10).await;
    host.plan(vec![PlanSlot { phase: Phase::Pulled, ..running(0, two) }]);
    host.settled(60).await;
    host.plan(vec![good(0, one)]);
    host.settled(60).await;
    host.plan(vec![replacing(0, two, one, Phase::Running)]);
    println!("replacement healthy after {:?}", host.settled(30).await);
    assert_eq!(host.picture(0), "r2 healthy, r1 healthy");
    host.plan(vec![replacing(0, two, one, Phase::Standby)]);
    host.settled(30).await;
    assert_eq!(host.picture(0), "r2 healthy, r1 standby");
    host.plan(vec![good(0, two)]);
    host.until("old one gone", 30, |seen| seen.slots[0].instances.len() == 1).await;
    // The agent is killed and comes back: nothing changes.
    let before = host.seen(0).instances[0].container.clone();
    host.kill_agent().await;
    host.start_agent();
    host.settled(10).await;
    assert_eq!(host.seen(0).instances[0].container, before);
    host.clear().await.unwrap();
}

#[tokio::test]
async fn what_fails_is_rolled_back_with_evidence() {
    let Some(mut host) = Host::new("engine-b").await else { return };
    let one = host.release(1, "v1", |_| {});
    let quick = |spec: &mut windlass_core::release::Spec| {
        spec.health.startup.as_mut().unwrap().failures = 4;
    };
    host.plan(vec![good(0, one)]);
    host.settled(60).await;
    for (counter, tag, order) in [
        (2, "crash", Order::StartFirst),
        (3, "crash", Order::StopFirst),
        (4, "v3", Order::StopFirst),
        (5, "oom", Order::StartFirst),
    ] {
        let bad = host.release(counter, tag, |spec| {
            quick(spec);
            spec.env.insert("TRY".to_owned(), counter.to_string());
        });
        let phase = if order == Order::StopFirst { Phase::Standby } else { Phase::Running };
        host.plan(vec![PlanSlot { order, ..replacing(0, bad, one, phase) }]);
        let failed =
            move |status: &SlotStatus| matches!(status, SlotStatus::Failed { restored: Some(_), .. });
        let took = host.until("rolled back", 60, move |seen| failed(&seen.slots[0].status)).await;
        let SlotStatus::Failed { restored, evidence } = host.seen(0).status else { unreachable!() };
        println!(
            "{tag} {order:?}: rolled back after {took:?}: {} {:?}",
            evidence.reason,
            evidence.log.last()
        );
        assert_eq!(restored, Some(one));
        assert!(
            host.picture(0).contains("failed") && host.picture(0).contains("r1 healthy"),
            "{}",
            host.picture(0)
        );
        match tag {
            "crash" => assert_eq!(evidence.reason, FailureReason::Exited { code: 1 }),
            "oom" => assert!(evidence.oom_killed, "{evidence:?}"),
            _ => {
                assert!(matches!(evidence.reason, FailureReason::NotHealthyInTime { .. }));
                assert!(!evidence.probes.is_empty());
            }
        }
        assert!(!evidence.log.is_empty(), "{tag}");
        host.plan(vec![good(0, one)]);
        host.settled(30).await;
    }
    host.clear().await.unwrap();
}

#[tokio::test]
async fn a_release_has_exactly_what_it_asks_for() {
    let Some(mut host) = Host::new("engine-c").await else { return };
    let one = host.release(1, "v1", |spec| {
        let file = |content: &str, mode| File { content: content.to_owned(), mode };
        spec.files.insert("/etc/app/greeting".to_owned(), file("aGVsbG8=", 0o400));
        spec.env.insert("GREETING".to_owned(), "hello world".to_owned());
        let volume = Volume { mount: "/data".to_owned(), host_path: None, read_only: false, shared: false };
        spec.volumes.insert("data".to_owned(), volume);
    });
    host.plan(vec![good(0, one)]);
    host.settled(60).await;
    let endpoint = host.seen(0).instances[0].endpoints["http"].clone();
    let get = async |path: &str| fetch(&endpoint, path).await;
    assert!(get("/env?name=GREETING").await.contains("hello world"));
    assert!(get("/file?path=/etc/app/greeting").await.contains("hello"));
    let status = get("/file?path=/proc/self/status").await;
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Uid:\t1000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert!(get("/file?path=/proc/self/mountinfo").await.contains("/data"));
    let id = host.seen(0).instances[0].container.clone().unwrap();
    let seen = host.engine.inspect(&id).await.unwrap().unwrap();
    assert_eq!(seen.memory, 64 << 20);
    host.clear().await.unwrap();
}

#[tokio::test]
async fn taken_port_is_drawn_again_and_missing_image_says_so() {
    let Some(mut host) = Host::new("engine-d").await else { return };
    let one = host.release(1, "v1", |_| {});
    let gone = host.release(2, "v2", |spec| spec.image.digest = windlass_core::Digest::of(b"gone"));
    host.plan(vec![running(0, one), running(1, gone)]);
    let failed = |status: &SlotStatus| matches!(status, SlotStatus::Failed { .. });
    host.until("the pull failed", 30, |seen| seen.slots.len() == 2 && failed(&seen.slots[1].status)).await;
    let SlotStatus::Failed { evidence, .. } = host.seen(1).status else { unreachable!() };
    println!("{}", evidence.reason);
    assert!(evidence.reason.to_string().contains("has no `"), "{}", evidence.reason);
    host.until("healthy", 30, |seen| seen.slots[0].status == SlotStatus::Settled).await;
    host.clear().await.unwrap();
}

#[tokio::test]
async fn many_start_beside_each_other() {
    let Some(mut host) = Host::new("engine-e").await else { return };
    let one = host.release(1, "v1", |_| {});
    host.plan((0..10).map(|index| good(index, one)).collect());
    println!("10 launched and healthy after {:?}", host.settled(60).await);
    let standby = |index| PlanSlot { phase: Phase::Standby, ..good(index, one) };
    host.plan((0..10).map(standby).collect());
    println!("10 stopped after {:?}", host.settled(60).await);
    host.plan((0..10).map(|index| good(index, one)).collect());
    let took = host.settled(60).await;
    println!("10 started and healthy after {took:?}");
    assert!(took < Duration::from_secs(20));
    host.clear().await.unwrap();
}

async fn fetch(endpoint: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(endpoint).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {endpoint}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
