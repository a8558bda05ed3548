use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::identity::OperatorRole;

fn now() -> Timestamp {
    "2026-11-22T12:00:00.500Z".parse().unwrap()
}

fn ca() -> CertificateAuthority {
    CertificateAuthority::generate("demo".parse().unwrap(), now()).unwrap()
}

fn web1() -> Identity {
    Identity::agent("demo".parse().unwrap(), "web-1".parse().unwrap())
}

#[test]
fn a_leaf_says_what_it_was_told_to_say() {
    let ca = ca();
    let grant: Grant = "deployer/staging,test".parse().unwrap();
    let ada = Identity::operator("demo".parse().unwrap(), &"ada".parse().unwrap());
    let main = Identity::coordinator("demo".parse().unwrap(), "main".parse().unwrap());
    #[rustfmt::skip]
    let table = [
        Leaf::agent(web1(), 1),
        Leaf::agent(web1(), u64::MAX),
        Leaf::operator(ada, grant, 7),
        Leaf::coordinator(main, 2),
    ];
    for leaf in table {
        let key = TlsKey::generate().unwrap();
        let issued = ca.issue(&key.csr().unwrap(), &leaf, now()).unwrap();
        let peer = issued.peer;
        assert_eq!(
            (&peer.identity, peer.generation, &peer.grant),
            (&leaf.identity, leaf.generation, &leaf.grant)
        );
        assert_eq!(peer.spki, key.spki());
        assert_eq!(peer.not_before.to_string(), "2026-11-22T11:55:00.000Z");
        assert_eq!(peer.not_after, Timestamp::from_millis(now().as_millis() / 1000 * 1000) + leaf.validity);
        assert!(peer.is_valid_at(now()) && !peer.is_valid_at(peer.not_after));
        assert_eq!(peer.serial.as_str().len(), 32);
        let half = peer.not_before + (leaf.validity + BACKDATE) / 2;
        assert!(peer.renew_at(0.0) < half && half < peer.renew_at(0.999));
    }
}

#[test]
fn names_in_a_request_are_ignored() {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::new(vec!["coordinator.example.com".to_owned()]).unwrap();
    params
        .subject_alt_names
        .push(SanType::URI("spiffe://demo/coordinator/main".to_owned().try_into().unwrap()));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any];
    let request = params.serialize_request(&pair).unwrap();
    let csr = Csr::from_der(request.der()).unwrap();
    let issued = ca().issue(&csr, &Leaf::agent(web1(), 1), now()).unwrap();
    assert_eq!(issued.peer.identity, web1());
    let seen = String::from_utf8_lossy(&issued.der).into_owned();
    assert!(!seen.contains("coordinator"), "nothing of the request is left");
}

#[test]
fn serials_differ() {
    let (ca, key) = (ca(), TlsKey::generate().unwrap());
    let csr = key.csr().unwrap();
    let issue = || ca.issue(&csr, &Leaf::agent(web1(), 1), now()).unwrap().peer.serial;
    assert_ne!(issue(), issue());
}

#[test]
fn what_no_peer_would_accept_is_not_issued() {
    let ca = ca();
    let csr = TlsKey::generate().unwrap().csr().unwrap();
    let other = Identity::agent("other".parse().unwrap(), "web-1".parse().unwrap());
    let ada = Identity::operator("demo".parse().unwrap(), &"ada".parse().unwrap());
    let none = Grant { role: OperatorRole::Viewer, environments: Some(std::collections::BTreeSet::new()) };
    let many = (0..33).map(|n| format!("env-{n}").parse().unwrap()).collect();
    let many = Grant { role: OperatorRole::Viewer, environments: Some(many) };
    #[rustfmt::skip]
    let table = [
        ("of another fleet", Leaf::agent(other, 1)),
        ("an agent with a grant", Leaf { grant: Some(Grant::admin()), ..Leaf::agent(web1(), 1) }),
        ("an operator without one", Leaf { grant: None, ..Leaf::operator(ada.clone(), Grant::admin(), 1) }),
        ("a grant for nothing", Leaf::operator(ada.clone(), none, 1)),
        ("a grant that does not fit", Leaf::operator(ada, many, 1)),
    ];
    for (case, leaf) in table {
        assert!(matches!(ca.issue(&csr, &leaf, now()), Err(CaError::Refused(_))), "{case}");
    }
}

#[test]
fn a_ca_survives_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("ca");
    let ca = ca();
    ca.save(&folder).unwrap();
    assert!(matches!(ca.save(&folder), Err(CaError::Key(_))), "never overwritten");
    let loaded = CertificateAuthority::load(&folder).unwrap();
    assert_eq!((loaded.fingerprint(), loaded.fleet()), (ca.fingerprint(), ca.fleet()));
    loaded.issue_new(&Leaf::agent(web1(), 1), now()).unwrap();
    assert_eq!(certificates_from_pem(ca.certificate_pem().as_bytes()), [ca.certificate().clone()]);
    // A key that belongs to another CA is noticed.
    let other = dir.path().join("other");
    self::ca().save(&other).unwrap();
    std::fs::copy(other.join("ca.key"), folder.join("ca.key")).unwrap();
    assert!(matches!(CertificateAuthority::load(&folder), Err(CaError::NotACa { .. })));
}

impl CertificateAuthority {
    /// A CA whose certificate this one has signed, which its path length forbids.
    pub(crate) fn subordinate(&self, now: Timestamp) -> Self {
        let made = Self::generate(self.fleet.clone(), now).unwrap();
        let mut params = empty(serial().unwrap(), now - BACKDATE, now + CA_VALIDITY);
        params.distinguished_name.push(DnType::CommonName, "below");
        params.distinguished_name.push(DnType::OrganizationName, self.fleet.as_str());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = Issuer::from_ca_cert_der(&self.certificate, self.key.pair()).unwrap();
        let certificate = params.signed_by(made.key.pair(), &issuer).unwrap();
        Self { certificate: certificate.der().clone(), ..made }
    }
}
