//! Operators: let in with a token, kept to their role and scope, taken out.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use tonic::{Code, Status};
use windlass_certs::csr::{CertifiedIdentity, TlsKey};
use windlass_certs::join::OperatorToken;
use windlass_proto::pb;
use windlass_proto::pb::control_client::ControlClient;
use windlass_proto::pb::enrolment_client::EnrolmentClient;

use crate::fleet::{Fleet, until};

async fn token(fleet: &Fleet, name: &str, grant: &str) -> OperatorToken {
    let mut control = fleet.control("admin/*").await;
    let request = pb::AddOperatorRequest { name: name.to_owned(), grant: grant.to_owned() };
    let made = control.add_operator(request).await.unwrap().into_inner();
    OperatorToken::parse(&made.token).unwrap()
}

fn request(token: &OperatorToken, key: &TlsKey) -> pb::JoinOperatorRequest {
    pb::JoinOperatorRequest {
        name: token.name().to_string(),
        secret: token.secret().expose().to_vec().into(),
        csr: key.csr().unwrap().der().to_vec().into(),
    }
}

async fn join(fleet: &Fleet, request: pb::JoinOperatorRequest) -> Result<String, Status> {
    let mut enrolment = EnrolmentClient::new(fleet.stranger().await);
    enrolment.join_operator(request).await.map(|answer| answer.into_inner().certificate_chain)
}

async fn joined(fleet: &Fleet, name: &str, grant: &str) -> CertifiedIdentity {
    let (token, key) = (token(fleet, name, grant).await, TlsKey::generate().unwrap());
    let chain = join(fleet, request(&token, &key)).await.unwrap();
    CertifiedIdentity::new(key, &chain).unwrap()
}

async fn listed(fleet: &Fleet) -> serde_json::Value {
    let mut control = fleet.control("viewer/*").await;
    let answer = control.list_operators(pb::ListOperatorsRequest {}).await.unwrap().into_inner();
    serde_json::from_slice(&answer.view).unwrap()
}

async fn gets_in(fleet: &Fleet, identity: &CertifiedIdentity) -> bool {
    match fleet.channel(identity).await {
        Ok(channel) => ControlClient::new(channel).list_hosts(pb::ListHostsRequest {}).await.is_ok(),
        Err(_) => false,
    }
}

async fn revoke(fleet: &Fleet, name: &str) -> Result<serde_json::Value, Status> {
    told_to_revoke(fleet, name, false).await
}

async fn told_to_revoke(fleet: &Fleet, name: &str, unknown: bool) -> Result<serde_json::Value, Status> {
    let mut control = fleet.control("admin/*").await;
    let request = pb::RevokeOperatorRequest { name: name.to_owned(), unknown };
    let answer = control.revoke_operator(request).await?;
    Ok(serde_json::from_slice(&answer.into_inner().view).unwrap())
}

#[tokio::test]
async fn an_operator_who_looks_around_first_is_shown_too() {
    let fleet = Fleet::start().await;
    let listed = listed(&fleet).await;
    let viewer = &listed.as_array().unwrap()[0];
    assert_eq!(
        (viewer["state"].as_str(), viewer["grant"].as_str()),
        (Some("active"), Some("viewer/*")),
        "{listed:#}"
    );
}

#[tokio::test]
async fn a_token_makes_an_operator_with_its_role_and_nothing_else() {
    let fleet = Fleet::start().await;
    let token = token(&fleet, "bob", "deployer/staging").await;
    assert_eq!(listed(&fleet).await[1]["state"], "invited", "{}", listed(&fleet).await);
    let key = TlsKey::generate().unwrap();
    let chain = join(&fleet, request(&token, &key)).await.unwrap();
    assert_eq!(join(&fleet, request(&token, &key)).await.unwrap(), chain, "the answer that was lost, again");
    let thief = join(&fleet, request(&token, &TlsKey::generate().unwrap())).await.unwrap_err();
    assert_eq!(thief.code(), Code::Unauthenticated);
    let hint = thief.metadata().get("windlass-hint").unwrap().to_str().unwrap();
    assert!(hint.contains("operator invite"), "{hint}");
    assert!(fleet.events().await.contains(&"operator.token_reused operator/bob".to_owned()));

    let bob = CertifiedIdentity::new(key, &chain).unwrap();
    assert_eq!(bob.peer().grant.as_ref().unwrap().to_string(), "deployer/staging");
    let mut control = ControlClient::new(fleet.channel(&bob).await.unwrap());
    control.list_hosts(pb::ListHostsRequest {}).await.unwrap();
    let add = pb::AddOperatorRequest { name: "eve".to_owned(), grant: "admin/*".to_owned() };
    assert_eq!(control.add_operator(add).await.unwrap_err().code(), Code::PermissionDenied);
    let elsewhere = pb::GetServiceRequest { service: "production/web".to_owned() };
    assert_eq!(control.get_service(elsewhere).await.unwrap_err().code(), Code::PermissionDenied);
    let here = pb::GetServiceRequest { service: "staging/web".to_owned() };
    control.get_service(here).await.unwrap();
    let known = &listed(&fleet).await[1];
    assert_eq!((&known["state"], &known["grant"]), (&"active".into(), &"deployer/staging".into()));
    assert_eq!(known["added_by"], "operator/alice");
}

#[tokio::test]
async fn a_token_is_bound_to_its_name_and_of_many_that_try_one_wins() {
    let fleet = Fleet::start().await;
    let token = token(&fleet, "bob", "viewer/*").await;
    let key = TlsKey::generate().unwrap();
    let other = pb::JoinOperatorRequest { name: "eve".to_owned(), ..request(&token, &key) };
    assert_eq!(join(&fleet, other).await.unwrap_err().code(), Code::Unauthenticated);
    let mut racing = JoinSet::new();
    let channel = fleet.stranger().await;
    for _ in 0..8 {
        let mut enrolment = EnrolmentClient::new(channel.clone());
        let request = request(&token, &TlsKey::generate().unwrap());
        racing.spawn(async move { enrolment.join_operator(request).await.is_ok() });
    }
    let won = racing.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1, "one token, one operator");
}

#[tokio::test]
async fn a_token_for_a_host_is_none_for_an_operator() {
    let fleet = Fleet::start().await;
    let host = crate::agent::token(&fleet, "bob").await;
    let request = pb::JoinOperatorRequest {
        name: "bob".to_owned(),
        secret: host.secret().expose().to_vec().into(),
        csr: TlsKey::generate().unwrap().csr().unwrap().der().to_vec().into(),
    };
    assert_eq!(join(&fleet, request).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn revoked_operator_is_cut_on_live_streams_and_stays_out() {
    let mut fleet = Fleet::start().await;
    let bob = joined(&fleet, "bob", "admin/*").await;
    let mut control = ControlClient::new(fleet.channel(&bob).await.unwrap());
    let follow = pb::StreamEventsRequest { follow: true, ..Default::default() };
    let mut stream = control.stream_events(follow).await.unwrap().into_inner();
    let shown = revoke(&fleet, "bob").await.unwrap();
    assert_eq!((&shown["state"], &shown["revoked_by"]), (&"revoked".into(), &"operator/alice".into()));
    // Whatever was on its way may still come; then the connection is cut.
    let cut = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a stream that is cut does not end in order"),
                Err(status) => return status,
            }
        }
    };
    tokio::time::timeout(crate::fleet::LIMIT, cut).await.expect("the stream is cut");
    assert!(!gets_in(&fleet, &bob).await, "no new connection either");
    fleet.stop().await;
    fleet.run().await;
    assert!(!gets_in(&fleet, &bob).await, "nor after a restart");

    // Renewing while cut off would be the way back in.
    let csr = bob.key().csr().unwrap().der().to_vec().into();
    let renew = pb::RenewRequest { csr, expired: None };
    let mut stranger = EnrolmentClient::new(fleet.stranger().await);
    assert!(stranger.renew(renew).await.is_err());
    // An admin may let the person in again; what was revoked stays so.
    let again = joined(&fleet, "bob", "viewer/*").await;
    let mut control = ControlClient::new(fleet.channel(&again).await.unwrap());
    control.list_hosts(pb::ListHostsRequest {}).await.unwrap();
    assert!(!gets_in(&fleet, &bob).await, "the old certificate still counts no more");
}

#[tokio::test]
async fn revocation_ends_an_open_token_and_spares_the_caller() {
    let fleet = Fleet::start().await;
    let token = token(&fleet, "bob", "admin/*").await;
    revoke(&fleet, "bob").await.unwrap();
    let refused = join(&fleet, request(&token, &TlsKey::generate().unwrap())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = revoke(&fleet, "alice").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let audit = audit_verbs(&fleet).await;
    for verb in ["operator.add", "operator.revoke"] {
        assert!(audit.contains(verb), "no {verb} in {audit:?}");
    }
}

#[tokio::test]
async fn an_operator_who_was_never_seen_here_is_revoked_all_the_same() {
    let fleet = Fleet::start().await;
    // As `init` makes one: the coordinator has heard nothing of it.
    let identity =
        windlass_certs::identity::Identity::operator(crate::fleet::fleet_id(), &"zoe".parse().unwrap());
    let leaf = windlass_certs::ca::Leaf::operator(identity, "admin/*".parse().unwrap(), 41);
    let zoe = fleet.ca.issue_new(&leaf, crate::fleet::now()).unwrap();
    let mut control = ControlClient::new(fleet.channel(&zoe).await.unwrap());
    control.list_hosts(pb::ListHostsRequest {}).await.unwrap();
    let typo = revoke(&fleet, "zoe").await.unwrap_err();
    assert_eq!(typo.code(), Code::NotFound, "{typo:?}");
    assert!(typo.metadata().get("windlass-hint").unwrap().to_str().unwrap().contains("--unknown"));
    assert_eq!(listed(&fleet).await.as_array().unwrap().len(), 1, "a refusal leaves no row");
    assert_eq!(told_to_revoke(&fleet, "zoe", true).await.unwrap()["grant"], serde_json::Value::Null);
    until("her connection is cut", || {
        let mut control = control.clone();
        async move { control.list_hosts(pb::ListHostsRequest {}).await.is_err() }
    })
    .await;
}

#[tokio::test]
async fn a_renewal_keeps_role_and_scope_and_is_noted() {
    let fleet = Fleet::start().await;
    let bob = joined(&fleet, "bob", "deployer/staging").await;
    let mut enrolment = EnrolmentClient::new(fleet.channel(&bob).await.unwrap());
    let csr = bob.key().csr().unwrap().der().to_vec().into();
    let answer = enrolment.renew(pb::RenewRequest { csr, expired: None }).await.unwrap().into_inner();
    let renewed = CertifiedIdentity::new(bob.key().clone(), &answer.certificate_chain).unwrap();
    assert_eq!(renewed.peer().generation, bob.peer().generation + 1);
    assert_eq!(renewed.peer().grant, bob.peer().grant);
    revoke(&fleet, "bob").await.unwrap();
    assert!(!gets_in(&fleet, &renewed).await, "what was renewed is revoked too");
}

async fn audit_verbs(fleet: &Fleet) -> BTreeSet<String> {
    let mut control = fleet.control("viewer/*").await;
    let mut stream = control.stream_audit(pb::StreamAuditRequest { from: 0 }).await.unwrap().into_inner();
    let mut verbs = BTreeSet::new();
    while let Some(item) = stream.message().await.unwrap() {
        if let Some(pb::stream_audit_response::Item::Entry(bytes)) = item.item {
            let entry: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            verbs.insert(entry["verb"].as_str().unwrap().to_owned());
        }
    }
    verbs
}
