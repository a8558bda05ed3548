//! Joining, renewing, leaving.

use std::time::Duration;

use futures_util::StreamExt;
use tonic::Code;
use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::csr::{CertifiedIdentity, RenewalClaim, TlsKey};
use windlass_certs::identity::Identity;
use windlass_certs::keys::SigningKey;
use windlass_certs::tls::ConnectError;
use windlass_core::Timestamp;
use windlass_proto::pb;
use windlass_proto::pb::enrolment_client::EnrolmentClient;
use windlass_server::Config;

use crate::agent::{Agent, Players, join, join_request, token};
use crate::fleet::{Fleet, fleet_id, now, until};

#[tokio::test]
async fn a_host_joins_connects_and_is_listed() {
    let fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-1").await;
    let mut players = Players::default();
    players.add(&fleet, agent).await;
    fleet.wait_for("web-1", "connected").await;
    let hosts = fleet.hosts().await;
    assert_eq!(hosts[0]["labels"]["role"], "app");
    assert_eq!(hosts[0]["address"], "127.0.0.1");
    assert!(fleet.events().await.contains(&"host.joined web-1".to_owned()));
}

#[tokio::test]
async fn token_is_good_once_and_a_retry_gets_the_same_answer() {
    let fleet = Fleet::start().await;
    let token = token(&fleet, "web-1").await;
    let (key, receipts) = (TlsKey::generate().unwrap(), SigningKey::generate().unwrap());
    let first = join(&fleet, join_request(&token, &key, &receipts)).await.unwrap();
    let again = join(&fleet, join_request(&token, &key, &receipts)).await.unwrap();
    assert_eq!(first.certificate_chain, again.certificate_chain);
    let thief = TlsKey::generate().unwrap();
    let refused = join(&fleet, join_request(&token, &thief, &receipts)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    assert!(refused.metadata().get("windlass-hint").unwrap().to_str().unwrap().contains("host token"));
    assert!(fleet.events().await.contains(&"host.token_reused web-1".to_owned()));
}

#[tokio::test]
async fn a_token_of_one_host_is_none_for_another() {
    let fleet = Fleet::start().await;
    let token = token(&fleet, "web-1").await;
    let (key, receipts) = (TlsKey::generate().unwrap(), SigningKey::generate().unwrap());
    let other = pb::JoinRequest { host: "web-2".to_owned(), ..join_request(&token, &key, &receipts) };
    assert_eq!(join(&fleet, other).await.unwrap_err().code(), Code::Unauthenticated);
    let guess = pb::JoinRequest { secret: vec![7; 32].into(), ..join_request(&token, &key, &receipts) };
    assert_eq!(join(&fleet, guess).await.unwrap_err().code(), Code::Unauthenticated);
    join(&fleet, join_request(&token, &key, &receipts)).await.expect("the token itself is still good");
}

fn operator(ca: &CertificateAuthority, validity: Duration, at: Timestamp) -> CertifiedIdentity {
    let identity = Identity::operator(fleet_id(), &"mallory".parse().unwrap());
    let mut leaf = Leaf::operator(identity, "admin/*".parse().unwrap(), 1);
    leaf.validity = validity;
    ca.issue_new(&leaf, at).unwrap()
}

#[tokio::test]
async fn strangers_other_fleets_and_expired_certificates_are_refused() {
    let fleet = Fleet::start().await;
    let mut stranger = pb::control_client::ControlClient::new(fleet.stranger().await);
    let refused = stranger.list_hosts(pb::ListHostsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);

    let other_ca = CertificateAuthority::generate(fleet_id(), now()).unwrap();
    let hour = Duration::from_secs(3600);
    let foreign = fleet.channel(&operator(&other_ca, hour, now())).await.unwrap_err();
    assert!(matches!(foreign, ConnectError::OurCertificateRefused(_)), "{foreign:?}");
    let expired = fleet.channel(&operator(&fleet.ca, hour, now() - 2 * hour)).await.unwrap_err();
    assert!(matches!(expired, ConnectError::OurCertificateExpired), "{expired:?}");
}

#[tokio::test]
async fn an_agent_is_no_operator_and_an_operator_no_agent() {
    let fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-1").await;
    let mut control = pb::control_client::ControlClient::new(fleet.channel(&agent.identity).await.unwrap());
    assert_eq!(control.list_hosts(pb::ListHostsRequest {}).await.unwrap_err().code(), Code::PermissionDenied);
    let operator = Agent { identity: fleet.operator("admin/*"), ..Agent::joined(&fleet, "web-2").await };
    assert_eq!(operator.connect(&fleet).await.err().unwrap().code(), Code::PermissionDenied);
    let mut viewer = fleet.control("viewer/*").await;
    let request = pb::CreateHostTokenRequest { host: "web-3".to_owned(), labels: Default::default() };
    assert_eq!(viewer.create_host_token(request).await.unwrap_err().code(), Code::PermissionDenied);
}

async fn steer(fleet: &Fleet, host: &str, action: pb::HostAction) {
    let request = pb::SteerHostRequest { host: host.to_owned(), action: action.into() };
    fleet.control("admin/*").await.steer_host(request).await.unwrap();
}

#[tokio::test]
async fn evicting_cuts_the_stream_and_joining_again_lets_it_back() {
    let fleet = Fleet::start().await;
    let mut players = Players::default();
    players.add(&fleet, Agent::joined(&fleet, "web-1").await).await;
    fleet.wait_for("web-1", "connected").await;
    steer(&fleet, "web-1", pb::HostAction::Evict).await;
    let (mut agent, _) = players.ended().await;
    let refused = fleet.channel(&agent.identity).await.unwrap_err();
    assert!(matches!(refused, ConnectError::OurCertificateRevoked), "{refused:?}");
    let shown = fleet.hosts().await[0].clone();
    assert!(shown["state"] == "evicted" && shown["last_seen"].is_string(), "{shown}");
    let said = shown["problems"][0]["text"].as_str().unwrap();
    assert!(said.starts_with("evicted: its certificate is revoked; its containers keep running"), "{said}");

    agent.identity = Agent::joined(&fleet, "web-1").await.identity;
    assert_eq!(agent.identity.peer().generation, 2);
    players.add(&fleet, agent).await;
    fleet.wait_for("web-1", "connected").await;
}

#[tokio::test]
async fn a_banned_name_never_comes_back() {
    let mut fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-1").await;
    steer(&fleet, "web-1", pb::HostAction::Ban).await;
    fleet.stop().await;
    fleet.run().await;
    assert!(matches!(fleet.channel(&agent.identity).await, Err(ConnectError::OurCertificateRevoked)));
    let mut control = fleet.control("admin/*").await;
    let request = pb::CreateHostTokenRequest { host: "web-1".to_owned(), labels: Default::default() };
    let refused = control.create_host_token(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    // A caller who knows nothing but the name is refused too, and fills no audit log with it.
    let other = token(&fleet, "web-2").await;
    let before = audit_entries(&fleet).await;
    let (key, receipts) = (TlsKey::generate().unwrap(), SigningKey::generate().unwrap());
    let guess = pb::JoinRequest { host: "web-1".to_owned(), ..join_request(&other, &key, &receipts) };
    assert_eq!(join(&fleet, guess).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(audit_entries(&fleet).await, before);
}

async fn audit_entries(fleet: &Fleet) -> usize {
    let request = pb::StreamAuditRequest::default();
    let stream = fleet.control("viewer/*").await.stream_audit(request).await.unwrap().into_inner();
    let is_entry =
        |item: &pb::StreamAuditResponse| matches!(item.item, Some(pb::stream_audit_response::Item::Entry(_)));
    stream.filter(|item| std::future::ready(item.as_ref().is_ok_and(is_entry))).count().await
}

#[tokio::test]
async fn two_renewals_of_one_certificate_cut_off_both_clones() {
    let fleet = Fleet::start().await;
    let mut agent = Agent::joined(&fleet, "web-1").await;
    let copy = Agent::joined(&fleet, "web-2").await;
    let mut clone = Agent { host: agent.host.clone(), identity: agent.identity.clone(), ..copy };
    agent.renew(&fleet).await.unwrap();
    assert_eq!(agent.identity.peer().generation, 2);
    let lost = agent.identity.clone();
    agent.identity = clone.identity.clone();
    agent.renew(&fleet).await.expect("an answer that was lost is given again");
    assert_eq!(agent.identity.peer().serial, lost.peer().serial);

    let mut players = Players::default();
    players.add(&fleet, agent).await;
    fleet.wait_for("web-1", "connected").await;
    // Refused, on a connection that is cut with all others of this identity.
    clone.renew(&fleet).await.unwrap_err();
    let (agent, _) = players.ended().await;
    assert!(matches!(fleet.channel(&agent.identity).await, Err(ConnectError::OurCertificateRevoked)));
    assert!(fleet.events().await.contains(&"host.cloned web-1".to_owned()));
}

#[tokio::test]
async fn expired_certificate_renews_only_with_proof_of_its_key() {
    let shorten = |config: &mut Config| config.lifetimes.agent = Duration::from_secs(2);
    let fleet = Fleet::start_with(true, shorten).await;
    let agent = Agent::joined(&fleet, "web-1").await;
    // TLS counts whole seconds.
    let second = Duration::from_secs(1);
    until("the certificate has expired", async || !agent.identity.peer().is_valid_at(now() - second)).await;
    assert!(matches!(fleet.channel(&agent.identity).await, Err(ConnectError::OurCertificateExpired)));

    let mut enrolment = EnrolmentClient::new(fleet.stranger().await);
    let csr = agent.identity.key().csr().unwrap();
    for honest in [false, true] {
        let challenge = enrolment.challenge(pb::ChallengeRequest {}).await.unwrap().into_inner().challenge;
        let claim = RenewalClaim {
            fleet: fleet_id(),
            host: agent.host.clone(),
            generation: 1,
            challenge: challenge.as_ref().try_into().unwrap(),
            csr: csr.digest(),
        };
        let other = TlsKey::generate().unwrap();
        let proof = if honest { agent.identity.key() } else { &other }.prove(&claim).unwrap();
        let request = pb::RenewRequest {
            csr: csr.der().to_vec().into(),
            expired: Some(pb::ExpiredProof {
                certificate: agent.identity.chain()[0].to_vec().into(),
                challenge,
                proof: proof.0.into(),
            }),
        };
        let renewed = enrolment.renew(request.clone()).await;
        assert_eq!(renewed.is_ok(), honest, "{renewed:?}");
        let replayed = enrolment.renew(request).await.unwrap_err();
        assert_eq!(replayed.code(), Code::Unauthenticated, "a challenge is good once");
    }
}

#[tokio::test]
async fn expired_operator_renews_with_proof_never_by_a_foreign_ca() {
    let fleet = Fleet::start().await;
    let hour = Duration::from_secs(3600);
    let other_ca = CertificateAuthority::generate(fleet_id(), now()).unwrap();
    let mut enrolment = EnrolmentClient::new(fleet.stranger().await);
    #[rustfmt::skip]
    let table = [
        ("away for two hours", operator(&fleet.ca, hour, now() - 3 * hour), true, true),
        ("another key signed the proof", operator(&fleet.ca, hour, now() - 3 * hour), false, false),
        ("a foreign CA", operator(&other_ca, hour, now() - 3 * hour), true, false),
        ("away for more than 30 days", operator(&fleet.ca, hour, now() - 24 * 31 * hour), true, false),
    ];
    for (case, identity, honest, want) in table {
        let csr = identity.key().csr().unwrap();
        let challenge = enrolment.challenge(pb::ChallengeRequest {}).await.unwrap().into_inner().challenge;
        let claim = RenewalClaim {
            fleet: fleet_id(),
            host: identity.peer().identity.name().parse().unwrap(),
            generation: identity.peer().generation,
            challenge: challenge.as_ref().try_into().unwrap(),
            csr: csr.digest(),
        };
        let other = TlsKey::generate().unwrap();
        let proof = if honest { identity.key() } else { &other }.prove(&claim).unwrap();
        let request = pb::RenewRequest {
            csr: csr.der().to_vec().into(),
            expired: Some(pb::ExpiredProof {
                certificate: identity.chain()[0].to_vec().into(),
                challenge,
                proof: proof.0.into(),
            }),
        };
        let renewed = enrolment.renew(request).await;
        assert_eq!(renewed.is_ok(), want, "{case}: {renewed:?}");
    }
}

#[tokio::test]
async fn certificates_renew_in_seconds_where_they_are_told_to() {
    let shorten = |config: &mut Config| {
        config.lifetimes.agent = Duration::from_secs(20);
        config.lifetimes.coordinator = Duration::from_secs(4);
    };
    let fleet = Fleet::start_with(true, shorten).await;
    let mut agent = Agent::joined(&fleet, "web-1").await;
    // For longer than the coordinator's certificate is valid.
    for generation in 2..8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        agent.renew(&fleet).await.unwrap();
        assert_eq!(agent.identity.peer().generation, generation);
        // Used, so that the one before counts as replaced.
        drop(agent.connect(&fleet).await.unwrap());
    }
}
