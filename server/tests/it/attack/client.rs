//! Every method against every kind of caller, over the real TLS; and operators outside of their environments.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream;
use tokio::time::timeout;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::csr::CertifiedIdentity;
use windlass_certs::identity::Identity;
use windlass_proto::pb;
use windlass_proto::pb::control_client::ControlClient;

use super::flood::{dial, tls};
use crate::agent::{Agent, Players};
use crate::fleet::{Fleet, LIMIT, fleet_id, now};
use crate::release::release;
use crate::rollouts::{follow, request};

const HOUR: Duration = Duration::from_secs(3600);

/// Callers who come through the handshake.
const CALLERS: [&str; 9] = [
    "stranger",
    "agent",
    "viewer/test",
    "viewer/*",
    "deployer/test",
    "deployer/*",
    "approver/*",
    "admin/test",
    "admin/*",
];

/// Which of [`CALLERS`] the table lets in. A reader checks this, and nobody derives it from the code.
#[rustfmt::skip]
const WANT: &[(&str, [u8; 9])] = &[
    //                              -  ag vt v* dt d* a* At A*
    ("Enrolment/Join",             [1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("Enrolment/JoinOperator",            [1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("Enrolment/Challenge",        [1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("Enrolment/Renew",            [1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("AgentLink/Connect",          [0, 1, 0, 0, 0, 0, 0, 0, 0]),
    ("AgentLink/FetchRelease",     [0, 1, 0, 0, 0, 0, 0, 0, 0]),
    ("AgentLink/FetchTrust",       [0, 1, 0, 0, 0, 0, 0, 0, 0]),
    ("AgentLink/SendLogs",         [0, 1, 0, 0, 0, 0, 0, 0, 0]),
    ("Control/CreateHostToken",    [0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ("Control/SteerHost",          [0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ("Control/ListHosts",          [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/GetHost",            [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/WatchFleet",         [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/GetService",         [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/Preview",            [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/SubmitRelease",      [0, 0, 0, 0, 1, 1, 1, 1, 1]),
    ("Control/ListReleases",       [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/GetRelease",         [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/Rollback",           [0, 0, 0, 0, 1, 1, 1, 1, 1]),
    ("Control/ListQuarantine",     [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/ClearQuarantine",    [0, 0, 0, 0, 1, 1, 1, 1, 1]),
    ("Control/GetVersion",         [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/ListRollouts",       [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/GetRollout",         [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/ExplainRollout",     [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/WatchRollout",       [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/SteerRollout",       [0, 0, 0, 0, 1, 1, 1, 1, 1]),
    ("Control/GetStatus",          [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/StreamLogs",         [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/StreamEvents",       [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/AddOperator",        [0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ("Control/ListOperators",      [0, 0, 0, 1, 0, 1, 1, 0, 1]),
    ("Control/RevokeOperator",     [0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ("Control/GetTrust",           [0, 0, 1, 1, 1, 1, 1, 1, 1]),
    ("Control/PublishTrust",       [0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ("Control/StreamAudit",        [0, 0, 0, 1, 0, 1, 1, 0, 1]),
];

/// Every method of ours, from the descriptors.
fn methods() -> Vec<String> {
    let set: prost_types::FileDescriptorSet = prost::Message::decode(windlass_proto::DESCRIPTORS).unwrap();
    let services = set.file.iter().flat_map(|file| file.service.iter().map(move |service| (file, service)));
    let named = services.flat_map(|(file, service)| {
        let prefix = format!("/{}.{}/", file.package(), service.name());
        service.method.iter().map(move |method| format!("{prefix}{}", method.name()))
    });
    named.filter(|path| path.starts_with("/windlass.")).collect()
}

/// Sends an empty message, and answers whether the table let it through. What the method then says of an empty
/// message is its own business.
async fn let_in(channel: &Channel, path: &str) -> bool {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path: PathAndQuery = path.parse().unwrap();
    let codec: ProstCodec<(), ()> = ProstCodec::default();
    let called = grpc.streaming(Request::new(stream::iter([()])), path, codec);
    match timeout(LIMIT, called).await.expect("an answer in time") {
        Ok(_) => true,
        Err(status) => !is_denial(&status),
    }
}

fn is_denial(status: &Status) -> bool {
    let by_table = status.message().starts_with("this needs an operator with role")
        && !status.message().contains(" in environment ");
    let no_certificate = status.message() == "this needs a client certificate of the fleet";
    match status.code() {
        Code::PermissionDenied => by_table || status.message() == "only agents may call this",
        Code::Unauthenticated => no_certificate,
        _ => false,
    }
}

#[tokio::test]
async fn every_method_lets_in_whom_the_table_names_and_nobody_else() {
    let fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-1").await;
    let want: BTreeMap<String, [u8; 9]> =
        WANT.iter().map(|(name, row)| (format!("/windlass.v1.{name}"), *row)).collect();
    let mut wrong = Vec::new();
    for (at, kind) in CALLERS.iter().enumerate() {
        let channel = match *kind {
            "stranger" => fleet.stranger().await,
            "agent" => fleet.channel(&agent.identity).await.unwrap(),
            grant => fleet.channel(&fleet.operator(grant)).await.unwrap(),
        };
        for path in methods() {
            let entered = let_in(&channel, &path).await;
            // A method that is newer than this table is at least not for those without a grant.
            let expected = match want.get(&path) {
                Some(row) => row[at] == 1,
                None if at < 2 => false,
                None => continue,
            };
            if entered != expected {
                wrong.push(format!("{kind} {path}: let in: {entered}"));
            }
        }
        let unheard = let_in(&channel, "/windlass.v1.Control/Unheard").await;
        assert!(unheard, "unknown methods are unimplemented, not a matter of grants");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_certificate_that_does_not_count_gets_no_method_at_all() {
    let fleet = Fleet::start().await;
    let admin = |ca: &CertificateAuthority, name: &str, at| {
        let identity = Identity::operator(ca.fleet().clone(), &name.parse().unwrap());
        ca.issue_new(&Leaf::operator(identity, "admin/*".parse().unwrap(), 1), at).unwrap()
    };
    let other_ca = CertificateAuthority::generate(fleet_id(), now()).unwrap();
    let other_fleet = CertificateAuthority::generate("other".parse().unwrap(), now()).unwrap();
    let coordinator = Leaf::coordinator(Identity::coordinator(fleet_id(), "main".parse().unwrap()), 1);
    let revoked = admin(&fleet.ca, "bob", now());
    revoke(&fleet, &revoked);
    let until = crate::fleet::until("the list is in force", async || fleet.channel(&revoked).await.is_err());
    until.await;
    #[rustfmt::skip]
    let table: Vec<(&str, CertifiedIdentity, &str)> = vec![
        ("expired", admin(&fleet.ca, "alice", now() - 24 * HOUR), "CertificateExpired"),
        ("of tomorrow", admin(&fleet.ca, "alice", now() + 24 * HOUR), "CertificateExpired"),
        ("revoked", revoked, "CertificateRevoked"),
        ("another CA of the same fleet", admin(&other_ca, "alice", now()), "UnknownCA"),
        ("another fleet", admin(&other_fleet, "alice", now()), "UnknownCA"),
        ("a coordinator as a client", fleet.ca.issue_new(&coordinator, now()).unwrap(), "CertificateUnknown"),
    ];
    for (case, identity, alert) in table {
        let refused =
            timeout(LIMIT, dial(fleet.addr, tls(Some(&identity)))).await.expect("an answer in time");
        let error = refused.map(drop).unwrap_err().to_string();
        assert!(error.contains(alert), "{case}: {error}");
    }
}

fn revoke(fleet: &Fleet, identity: &CertifiedIdentity) {
    use windlass_certs::dsse::{Envelope, PayloadType};
    let list = windlass_certs::revocation::RevocationList {
        fleet: fleet_id(),
        version: 1,
        issued_at: now(),
        revoked: windlass_certs::revocation::RevokedSet {
            serials: [identity.peer().serial.clone()].into(),
            identities: Default::default(),
        },
    };
    let payload = serde_json::to_vec(&list).unwrap();
    let envelope = Envelope::sign(PayloadType::Revocation, payload, &[&fleet.root]).to_bytes();
    std::fs::write(fleet.folder.path().join("revocations.json"), envelope).unwrap();
}

#[tokio::test]
async fn operator_of_another_environment_sees_and_moves_nothing() {
    let fleet = Fleet::start().await;
    let mut players = Players::default();
    players.add(&fleet, Agent::joined(&fleet, "web-1").await).await;
    fleet.wait_for("web-1", "connected").await;
    let wanted = release(1, 1, "one");
    let mut deployer = fleet.control("deployer/default").await;
    let started = deployer.submit_release(request(&fleet, &wanted)).await.unwrap().into_inner();
    let rollout = started.rollout;
    assert_eq!(follow(&fleet, &rollout).await, "succeeded");

    let mut admin: ControlClient<Channel> = fleet.control("admin/test").await;
    let service = || "default/web".to_owned();
    let denied = |what: &str, outcome: Result<(), Status>| {
        assert_eq!(outcome.unwrap_err().code(), Code::PermissionDenied, "{what}");
    };
    let steer = pb::SteerRolloutRequest {
        rollout: service(),
        action: pb::RolloutAction::Abort.into(),
        ..Default::default()
    };
    denied("service", admin.get_service(pb::GetServiceRequest { service: service() }).await.map(drop));
    denied("releases", admin.list_releases(pb::ListReleasesRequest { service: service() }).await.map(drop));
    let get = pb::GetReleaseRequest { service: service(), release: String::new() };
    denied("release", admin.get_release(get).await.map(drop));
    denied("submit", admin.submit_release(request(&fleet, &release(2, 1, "two"))).await.map(drop));
    let back = pb::RollbackRequest { service: service(), to: String::new(), ask: false };
    denied("rollback", admin.rollback(back).await.map(drop));
    denied("steer", admin.steer_rollout(steer).await.map(drop));
    let get = pb::GetRolloutRequest { rollout: rollout.clone() };
    denied("rollout", admin.get_rollout(get).await.map(drop));
    denied("watch", admin.watch_rollout(pb::WatchRolloutRequest { rollout }).await.map(drop));
    denied("status", admin.get_status(pb::GetStatusRequest { service: service() }).await.map(drop));
    let logs = pb::StreamLogsRequest { service: service(), ..Default::default() };
    denied("logs", admin.stream_logs(logs).await.map(drop));
    let payload = serde_json::to_vec(&wanted).unwrap().into();
    let preview = pb::PreviewRequest { release: payload, retry_quarantined: false };
    denied("preview", admin.preview(preview).await.map(drop));
    let token = pb::CreateHostTokenRequest { host: "web-9".to_owned(), labels: Default::default() };
    denied("token", admin.create_host_token(token).await.map(drop));

    let all = admin.get_status(pb::GetStatusRequest::default()).await.unwrap().into_inner().view;
    assert_eq!(all.as_ref(), b"[]", "what is not theirs is not listed");
    let all = admin.list_rollouts(pb::ListRolloutsRequest::default()).await.unwrap().into_inner().view;
    assert_eq!(all.as_ref(), b"[]");
    let events = pb::StreamEventsRequest { tail: 1000, ..Default::default() };
    let mut events = admin.stream_events(events).await.unwrap().into_inner();
    while let Some(event) = events.message().await.unwrap() {
        let event: serde_json::Value = serde_json::from_slice(&event.view).unwrap();
        assert!(!event["subject"].as_str().unwrap().starts_with("default/"), "{event}");
    }
}
