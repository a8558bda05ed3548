//! Tokens, certificate requests and renewals in the wrong hands.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use tonic::{Code, Status};
use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::csr::{CertifiedIdentity, Csr, RenewalClaim, TlsKey};
use windlass_certs::identity::{Identity, PeerIdentity};
use windlass_certs::keys::SigningKey;
use windlass_proto::pb;
use windlass_proto::pb::enrolment_client::EnrolmentClient;

use crate::agent::{Agent, Players, join, join_request, token};
use crate::fleet::{Fleet, fleet_id, now};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_race_for_one_token_one_gets_a_certificate() {
    let fleet = Fleet::start().await;
    let token = token(&fleet, "web-1").await;
    let racers = (0..12).map(|_| async {
        let (key, receipts) = (TlsKey::generate().unwrap(), SigningKey::generate().unwrap());
        let joined = join(&fleet, join_request(&token, &key, &receipts)).await;
        joined.map(|answer| CertifiedIdentity::new(key, &answer.certificate_chain).unwrap())
    });
    let outcomes: Vec<Result<CertifiedIdentity, Status>> = join_all(racers).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for status in lost.into_iter().filter_map(Result::err) {
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    }
    assert!(fleet.events().await.contains(&"host.token_reused web-1".to_owned()), "people are told");
    let identity = won.into_iter().next().unwrap().unwrap();
    fleet.channel(&identity).await.expect("and the one is let in");
}

#[tokio::test]
async fn request_fields_beside_the_key_are_ignored() {
    let fleet = Fleet::start().await;
    let token = token(&fleet, "web-1").await;
    let receipts = SigningKey::generate().unwrap();
    let honest = join_request(&token, &TlsKey::generate().unwrap(), &receipts);
    let asking = |der: Vec<u8>| pb::JoinRequest { csr: der.into(), ..honest.clone() };

    let mut greedy = CertificateParams::default();
    greedy.distinguished_name.push(DnType::CommonName, "coordinator");
    greedy.subject_alt_names = vec![
        SanType::URI("spiffe://demo/operator/root".try_into().unwrap()),
        SanType::URI("windlass:grant/admin/*".try_into().unwrap()),
        SanType::DnsName("coordinator.windlass.internal".try_into().unwrap()),
    ];
    let of = |algorithm| {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        greedy.clone().serialize_request(&pair).unwrap().der().to_vec()
    };
    let mut cut = of(&rcgen::PKCS_ECDSA_P256_SHA256);
    cut.truncate(cut.len() - 4);
    let mut forged = TlsKey::generate().unwrap().csr().unwrap();
    let mut stolen = forged.der().to_vec();
    let at = stolen.windows(forged.spki().len()).position(|part| part == forged.spki()).unwrap();
    let other = TlsKey::generate().unwrap().spki();
    stolen.splice(at..at + other.len(), other);
    #[rustfmt::skip]
    let table = [
        ("Ed25519", of(&rcgen::PKCS_ED25519)), ("P-384", of(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("nothing", Vec::new()), ("cut short", cut), ("somebody else's key", stolen),
        ("huge", vec![0x30; 60 << 10]), ("a certificate", fleet.ca.certificate().to_vec()),
    ];
    for (case, der) in table {
        let refused = join(&fleet, asking(der)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{case}: {refused:?}");
    }
    let over = join(&fleet, asking(vec![0; 128 << 10])).await.unwrap_err();
    assert_eq!(over.code(), Code::OutOfRange, "more than a stranger may say: {over:?}");

    // The right kind of key, with a wish list: it gets what the token says, and no more.
    let key = TlsKey::generate().unwrap();
    let pair = KeyPair::from_pem(&key.to_pem()).unwrap();
    let wishes = greedy.serialize_request(&pair).unwrap();
    forged = Csr::from_der(wishes.der()).unwrap();
    assert_eq!(forged.spki(), key.spki());
    let answer = join(&fleet, asking(wishes.der().to_vec())).await.unwrap();
    let got = CertifiedIdentity::new(key, &answer.certificate_chain).unwrap();
    assert_eq!(got.peer().identity.to_string(), "spiffe://demo/agent/web-1");
    assert_eq!((&got.peer().grant, got.peer().generation), (&None, 1));
    assert!(got.peer().not_after.since(now()) <= 25 * HOUR);
    // The reader of leaves refuses a CA's certificate, whatever it is called.
    assert!(PeerIdentity::from_der(&got.chain()[0]).is_ok());
}

#[tokio::test]
async fn flood_of_guesses_is_stopped_and_writes_nothing() {
    let fleet = Fleet::start().await;
    let mut players = Players::default();
    for host in ["web-1", "web-2"] {
        players.add(&fleet, Agent::joined(&fleet, host).await).await;
    }
    let token = token(&fleet, "web-3").await;
    let mut enrolment = EnrolmentClient::new(fleet.stranger().await);
    let (key, receipts) = (TlsKey::generate().unwrap(), SigningKey::generate().unwrap());
    let mut codes = BTreeSet::new();
    for guess in 0..200_u8 {
        let request =
            pb::JoinRequest { secret: vec![guess; 32].into(), ..join_request(&token, &key, &receipts) };
        codes.insert(enrolment.join(request).await.unwrap_err().code().description());
    }
    let want = [Code::Unauthenticated, Code::ResourceExhausted].map(|code| code.description());
    assert_eq!(codes, want.into_iter().collect::<BTreeSet<_>>());
    let events = fleet.events().await;
    // Behind the same address as all those guesses, somebody has the token itself.
    join(&fleet, join_request(&token, &key, &receipts)).await.expect("an honest host joins");
    assert!(!events.iter().any(|event| event.contains("web-3")), "nothing was written: {events:?}");
    super::serves(&fleet, 1, "one").await;
}

/// The proof for an expired certificate, made as a thief or a liar makes it.
async fn renew(
    fleet: &Fleet,
    certificate: &[u8],
    generation: u64,
    key: &TlsKey,
    csr: &Csr,
) -> Result<PeerIdentity, Status> {
    let mut enrolment = EnrolmentClient::new(fleet.stranger().await);
    let challenge = enrolment.challenge(pb::ChallengeRequest {}).await.unwrap().into_inner().challenge;
    let claim = RenewalClaim {
        fleet: fleet_id(),
        host: "web-1".parse().unwrap(),
        generation,
        challenge: challenge.as_ref().try_into().unwrap(),
        csr: csr.digest(),
    };
    let expired = pb::ExpiredProof {
        certificate: certificate.to_vec().into(),
        challenge,
        proof: key.prove(&claim).unwrap().0.into(),
    };
    let request = pb::RenewRequest { csr: csr.der().to_vec().into(), expired: Some(expired) };
    let answer = enrolment.renew(request).await?.into_inner();
    Ok(CertifiedIdentity::new(key.clone(), &answer.certificate_chain).unwrap().peer().clone())
}

#[tokio::test]
async fn a_host_cannot_make_up_the_generation_it_renews_from() {
    let fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-1").await;
    let key = agent.identity.key();
    let csr = key.csr().unwrap();
    let forger = CertificateAuthority::generate(fleet_id(), now()).unwrap();
    let leaf = |generation| Leaf::agent(Identity::agent(fleet_id(), agent.host.clone()), generation);
    for generation in [2, 1 << 40, u64::MAX - 1, u64::MAX] {
        let forged = forger.issue(&csr, &leaf(generation), now() - 48 * HOUR).unwrap();
        let refused = renew(&fleet, &forged.der, generation, key, &csr).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{generation}: {refused:?}");
    }
    // The highest that there can be, if our own CA had issued it: no next one, and nobody falls over it.
    let last = fleet.ca.issue(&csr, &leaf(u64::MAX), now() - 48 * HOUR).unwrap();
    let refused = renew(&fleet, &last.der, u64::MAX, key, &csr).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal, "{refused:?}");
    // A coordinator that was restored from a backup knows of fewer renewals than there were.
    let later = fleet.ca.issue(&csr, &leaf(7), now() - 48 * HOUR).unwrap();
    let renewed = renew(&fleet, &later.der, 7, key, &csr).await.unwrap();
    assert_eq!(renewed.generation, 8);
    assert!(!fleet.events().await.contains(&"host.cloned web-1".to_owned()));
}

#[tokio::test]
async fn a_thief_of_a_certificate_without_its_key_renews_nothing() {
    let fleet = Fleet::start().await;
    let agent = Agent::joined(&fleet, "web-1").await;
    let thief = TlsKey::generate().unwrap();
    let leaf = agent.identity.chain()[0].to_vec();
    let (own, stolen) = (thief.csr().unwrap(), agent.identity.key().csr().unwrap());
    for csr in [own, stolen] {
        let refused = renew(&fleet, &leaf, 1, &thief, &csr).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    }
    // An operator's certificate does not become an agent's, and the other way round.
    let operator = fleet.operator("viewer/test");
    let (key, csr) = (agent.identity.key(), agent.identity.key().csr().unwrap());
    let refused = renew(&fleet, &operator.chain()[0], 1, key, &csr).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
}

#[tokio::test]
async fn who_renews_again_and_again_is_told_to_wait() {
    let fleet = Fleet::start().await;
    let viewer = fleet.operator("viewer/test");
    let mut enrolment = EnrolmentClient::new(fleet.channel(&viewer).await.unwrap());
    let csr = viewer.key().csr().unwrap();
    let request = || pb::RenewRequest { csr: csr.der().to_vec().into(), expired: None };
    let mut codes = Vec::new();
    for _ in 0..300 {
        codes.push(enrolment.renew(request()).await.map_or_else(|refused| refused.code(), |_| Code::Ok));
    }
    let renewed = codes.iter().filter(|code| **code == Code::Ok).count();
    assert!((1..=30).contains(&renewed), "each is an entry of the audit log for ever: {renewed}");
    assert!(codes.ends_with(&[Code::ResourceExhausted; 200]));
    let (limit, others) = (std::time::Duration::from_secs(20), fleet.control("admin/*"));
    tokio::time::timeout(limit, others).await.expect("others are served");
}
