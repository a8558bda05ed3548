//! The messages of an agent's stream besides plans.

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_core::Digest;
use windlass_core::receipt::{RECEIPT_VERSION, Receipt, Witnessed};
use windlass_proto::pb;
use windlass_proto::pb::connect_request::Message as Say;
use windlass_proto::pb::connect_response::Message as Hear;

use crate::agent::Agent;
use crate::fleet::{Fleet, fleet_id, now, until};
use crate::release::release;
use crate::rollouts::{deploy, fleet_of, status};

#[tokio::test]
async fn the_newest_stream_of_a_host_wins() {
    let fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-1").await;
    let mut first = agent.connect(&fleet).await.unwrap();
    let mut second = agent.connect(&fleet).await.unwrap();
    loop {
        if let Err(status) = first.hear().await {
            assert_eq!(status.code(), tonic::Code::Aborted);
            break;
        }
    }
    assert!(matches!(second.hear().await.unwrap(), Hear::Welcome(_)));
}

#[tokio::test]
async fn silent_host_is_suspect_then_lost_and_keeps_its_slots() {
    let (fleet, players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    drop(players);
    fleet.wait_for("web-1", "suspect").await;
    fleet.wait_for("web-1", "lost").await;
    let shown = status(&fleet).await;
    assert_eq!((&shown["wanted"], &shown["healthy"]), (&1.into(), &0.into()), "{shown}");
    until("people were told", async || fleet.events().await.contains(&"host.lost web-1".to_owned())).await;
}

#[tokio::test]
async fn an_agent_fetches_what_its_plan_names_and_nothing_else() {
    let (fleet, mut players) = fleet_of(&["web-1"], &[]).await;
    let other = Agent::joined(&fleet, "web-2").await;
    let wanted = release(1, 1, "one");
    assert_eq!(deploy(&fleet, &wanted).await, "succeeded");
    let digest = Digest::of(&serde_json::to_vec(&wanted).unwrap()).to_string();
    let mut link = pb::agent_link_client::AgentLinkClient::new(fleet.channel(&other.identity).await.unwrap());
    let refused = link.fetch_release(pb::FetchReleaseRequest { digest: digest.clone() }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
    let request = pb::SteerHostRequest { host: "web-2".to_owned(), action: pb::HostAction::Evict.into() };
    fleet.control("admin/*").await.steer_host(request).await.unwrap();

    let mut other_fleet = fleet;
    other_fleet.stop().await;
    let (agent, _) = players.ended().await;
    other_fleet.run().await;
    let mut link =
        pb::agent_link_client::AgentLinkClient::new(other_fleet.channel(&agent.identity).await.unwrap());
    let found = link.fetch_release(pb::FetchReleaseRequest { digest }).await.unwrap().into_inner();
    let envelope = Envelope::parse(&found.envelope, PayloadType::Release.max_len()).unwrap();
    assert_eq!(envelope.payload_bytes(), serde_json::to_vec(&wanted).unwrap());
}

#[tokio::test]
async fn invalid_or_contradicting_receipt_is_reported() {
    let fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-1").await;
    let link = agent.connect(&fleet).await.unwrap();
    let receipt = |witnessed| Receipt {
        version: RECEIPT_VERSION,
        fleet: fleet_id(),
        host: agent.host.clone(),
        seq: 1,
        plan: Digest::of(b"plan"),
        slots: Vec::new(),
        checkpoint: witnessed,
        at: now(),
    };
    let send = async |receipt: &Receipt, key: &SigningKey| {
        let payload = serde_json::to_vec(receipt).unwrap();
        let envelope = Envelope::sign(PayloadType::Receipt, payload, &[key]).to_bytes().into();
        link.say(Say::Receipt(pb::ReceiptReport { envelope, ..Default::default() })).await;
    };
    let reported =
        async || fleet.events().await.iter().filter(|e| e.starts_with("host.receipt_refused")).count();
    send(&receipt(None), &agent.receipts).await;
    send(&receipt(None), &SigningKey::generate().unwrap()).await;
    until("a foreign signature is reported", async || reported().await == 1).await;
    let future = Witnessed { size: 1_000_000, head: Digest::of(b"another history"), segment: 0 };
    send(&receipt(Some(future)), &agent.receipts).await;
    until("a rewritten log is reported", async || reported().await == 2).await;
}

#[tokio::test]
async fn logs_come_from_every_host_and_missing_hosts_are_named() {
    let (fleet, mut players) = fleet_of(&["web-1", "web-2"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 2, "one")).await, "succeeded");
    // One of the two is replaced by an agent that answers by hand; the other goes away.
    let mut agents = Vec::new();
    let mut fleet = fleet;
    fleet.stop().await;
    for _ in 0..2 {
        agents.push(players.ended().await.0);
    }
    fleet.run().await;
    let agent = agents.pop().unwrap();
    let mut link = agent.connect(&fleet).await.unwrap();
    let mut control = fleet.control("viewer/*").await;
    let wanted = pb::StreamLogsRequest { service: "default/web".to_owned(), tail: 5, ..Default::default() };
    let mut logs = control.stream_logs(wanted).await.unwrap().into_inner();
    let asked = loop {
        if let Hear::LogRequest(asked) = link.hear().await.unwrap() {
            break asked;
        }
    };
    assert_eq!((asked.service.as_str(), asked.tail, asked.follow), ("default/web", 5, false));
    let (instance, text) = ("one".to_owned(), "hello".to_owned());
    let line = pb::LogLine { at: 1, instance, text, ..pb::LogLine::default() };
    let lines =
        pb::LogLines { request: asked.request, lines: vec![line], end: true, ..pb::LogLines::default() };
    link.say(Say::LogLines(lines)).await;
    let (mut texts, mut missing) = (Vec::new(), Vec::new());
    while let Some(chunk) = logs.message().await.unwrap() {
        texts.extend(chunk.lines.into_iter().map(|line| line.text));
        if !chunk.missing.is_empty() {
            missing.push(chunk.host);
        }
    }
    assert_eq!(texts, ["hello"]);
    assert_eq!(missing, [agents[0].host.to_string()]);
    let of = |release: &str| pb::StreamLogsRequest {
        service: "default/web".to_owned(),
        release: release.to_owned(),
        ..Default::default()
    };
    assert!(control.stream_logs(of("r1")).await.is_ok());
    let refused = control.stream_logs(of("r7")).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (tonic::Code::NotFound, "there is no release r7 of `default/web`")
    );
}

#[tokio::test]
async fn logs_come_over_their_own_connection_and_wait_for_the_reader() {
    let (mut fleet, mut players) = fleet_of(&["web-1"], &[]).await;
    assert_eq!(deploy(&fleet, &release(1, 1, "one")).await, "succeeded");
    fleet.stop().await;
    let agent = players.ended().await.0;
    fleet.run().await;
    let hello = pb::Hello { sends_logs: true, ..agent.hello() };
    let mut link = agent.connect_with(&fleet, hello).await.unwrap();
    let mut control = fleet.control("viewer/*").await;
    let wanted = pb::StreamLogsRequest {
        service: "default/web".to_owned(),
        all: true,
        merged: true,
        since: Some(5),
        release: "r1".to_owned(),
        ..Default::default()
    };
    let mut logs = control.stream_logs(wanted).await.unwrap().into_inner();
    let asked = loop {
        if let Hear::LogRequest(asked) = link.hear().await.unwrap() {
            break asked;
        }
    };
    assert!(asked.apart && asked.all && !asked.follow);
    assert_eq!((asked.since, asked.release.as_str()), (Some(5), "r1"));
    let mut sender =
        pb::agent_link_client::AgentLinkClient::new(fleet.channel(&agent.identity).await.unwrap());
    let (parts, outgoing) = tokio::sync::mpsc::channel(1);
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let mut answer = sender.send_logs(outgoing).await.unwrap().into_inner();
    let part = |n: i64| {
        let (instance, text) = ("one".to_owned(), "x".repeat(60_000));
        let line = pb::LogLine { at: n, nanos: n * 1_000_000, instance, text, ..Default::default() };
        pb::SendLogsRequest { request: asked.request, lines: vec![line], ..Default::default() }
    };
    // A reader that does not read makes the agent wait, and takes no more of our memory.
    let mut sent = 0;
    while sent < 1000 {
        let sending = parts.send(part(sent));
        if tokio::time::timeout(std::time::Duration::from_secs(1), sending).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 60, "{sent} messages of 60 kB went somewhere");
    link.say(Say::Heartbeat(pb::Heartbeat { number: 1, ..Default::default() })).await;
    while !matches!(link.hear().await.unwrap(), Hear::HeartbeatAck(ack) if ack.number == 1) {}
    let mut seen = 0;
    while seen < sent {
        let chunk = logs.message().await.unwrap().unwrap();
        for line in chunk.lines {
            assert_eq!((line.at, line.host.as_str()), (seen, "web-1"));
            seen += 1;
        }
    }
    let end = pb::SendLogsRequest { request: asked.request, end: true, ..Default::default() };
    parts.send(end).await.unwrap();
    assert!(logs.message().await.unwrap().is_none());
    assert!(answer.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_revocation_list_cuts_an_operator_off_and_reaches_agents() {
    let fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-1").await;
    let mut link = agent.connect(&fleet).await.unwrap();
    let operator = fleet.operator("admin/*");
    let channel = fleet.channel(&operator).await.unwrap();
    let mut control = pb::control_client::ControlClient::new(channel);
    control.list_hosts(pb::ListHostsRequest {}).await.unwrap();
    let list = windlass_certs::revocation::RevocationList {
        fleet: fleet_id(),
        version: 1,
        issued_at: now(),
        revoked: windlass_certs::revocation::RevokedSet {
            serials: [operator.peer().serial.clone()].into(),
            identities: Default::default(),
        },
    };
    // The trust document names no revoke key, so that the root key signs.
    let payload = serde_json::to_vec(&list).unwrap();
    let envelope = Envelope::sign(PayloadType::Revocation, payload, &[&fleet.root]).to_bytes();
    std::fs::write(fleet.folder.path().join("revocations.json"), &envelope).unwrap();
    until("the stolen certificate is refused", async || fleet.channel(&operator).await.is_err()).await;
    assert!(control.list_hosts(pb::ListHostsRequest {}).await.is_err(), "its connection was cut");
    let heard = async |link: &mut crate::agent::Link| loop {
        if let Hear::Revocations(notice) = link.hear().await.unwrap() {
            break notice.envelope;
        }
    };
    assert_eq!(heard(&mut link).await, envelope, "on a stream that stands");
    let mut link = agent.connect(&fleet).await.unwrap();
    assert_eq!(heard(&mut link).await, envelope, "and on a new one");
    let mut link = agent.connect_with(&fleet, pb::Hello { revocations: 1, ..agent.hello() }).await.unwrap();
    link.say(Say::Observation(pb::ObservationReport {
        observation: windlass_proto::json::encode(&agent.observe(1)),
    }))
    .await;
    loop {
        match link.hear().await.unwrap() {
            Hear::Revocations(_) => panic!("who has it is not told again"),
            Hear::Ack(_) => break,
            _ => {}
        }
    }
}
