use proptest::prelude::*;
use windlass_core::Timestamp;

use super::*;
use crate::ca::{CertificateAuthority, Leaf};
use crate::identity::Identity;

fn identity() -> CertifiedIdentity {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let ca = CertificateAuthority::generate("demo".parse().unwrap(), now).unwrap();
    let web1 = Identity::agent("demo".parse().unwrap(), "web-1".parse().unwrap());
    ca.issue_new(&Leaf::agent(web1, 1), now).unwrap()
}

fn claim(key: &TlsKey) -> RenewalClaim {
    RenewalClaim {
        fleet: "demo".parse().unwrap(),
        host: "web-1".parse().unwrap(),
        generation: 3,
        challenge: [7; 32],
        csr: key.csr().unwrap().digest(),
    }
}

#[test]
fn a_proof_holds_for_one_claim_and_one_key() {
    let key = TlsKey::generate().unwrap();
    let claim = claim(&key);
    let proof = key.prove(&claim).unwrap();
    assert!(verify_proof(&key.spki(), &claim, &proof));
    #[rustfmt::skip]
    let others = [
        RenewalClaim { fleet: "dem".parse().unwrap(), ..claim.clone() },
        RenewalClaim { host: "web-2".parse().unwrap(), ..claim.clone() },
        RenewalClaim { generation: 4, ..claim.clone() },
        RenewalClaim { challenge: [8; 32], ..claim.clone() },
        RenewalClaim { csr: Digest::of(b"another request"), ..claim.clone() },
    ];
    for other in others {
        assert!(!verify_proof(&key.spki(), &other, &proof), "{other:?}");
    }
    assert!(!verify_proof(&TlsKey::generate().unwrap().spki(), &claim, &proof));
    assert!(!verify_proof(b"no key", &claim, &proof));
    assert!(!verify_proof(&key.spki(), &claim, &Proof(Vec::new())));
}

#[test]
fn a_request_must_be_signed_by_its_own_key() {
    let csr = TlsKey::generate().unwrap().csr().unwrap();
    let mut forged = csr.der().to_vec();
    let at = forged.windows(csr.spki().len()).position(|part| part == csr.spki()).unwrap();
    forged.splice(at..at + csr.spki().len(), TlsKey::generate().unwrap().spki());
    assert!(matches!(Csr::from_der(&forged), Err(CsrError::Unproven)));
    assert!(matches!(Csr::from_der(&[0x30; 5000]), Err(CsrError::Malformed)));
}

#[test]
fn only_one_kind_of_key_is_certified() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let request = CertificateParams::default().serialize_request(&pair).unwrap();
        assert!(matches!(Csr::from_der(request.der()), Err(CsrError::Algorithm)), "{algorithm:?}");
    }
}

#[test]
fn an_identity_is_one_file_that_is_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.pem");
    let (first, second) = (identity(), identity());
    first.save(&path).unwrap();
    second.save(&path).unwrap();
    let loaded = CertifiedIdentity::load(&path).unwrap();
    assert_eq!(loaded.peer(), second.peer());
    assert_eq!(loaded.chain().len(), 2, "leaf and CA");
    assert_eq!(loaded.key().spki(), second.key().spki());
    let mixed = CertifiedIdentity::new(first.key().clone(), &second.chain_pem());
    assert!(matches!(mixed, Err(IdentityError::OtherKey)));
    let none = CertifiedIdentity::new(first.key().clone(), "").unwrap_err();
    assert!(matches!(none, IdentityError::Chain) && none.hint().unwrap().contains("join the host again"));
    let longer = |count: usize| {
        let [leaf, ca] = second.chain() else { panic!("leaf and CA") };
        let all: String = std::iter::once(leaf)
            .chain(std::iter::repeat_n(ca, count))
            .map(|der| super::pem("CERTIFICATE", der))
            .collect();
        CertifiedIdentity::new(second.key().clone(), &all)
    };
    assert_eq!(longer(3).unwrap().chain().len(), 4);
    assert!(matches!(longer(4), Err(IdentityError::Chain)));
    let text = std::fs::read_to_string(&path).unwrap();
    let secret: String = text.lines().skip(1).take(1).collect();
    assert!(!format!("{loaded:?}").contains(&secret));
}

#[test]
fn what_a_coordinator_hands_out_is_what_was_asked_for() {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let fleet = |name: &str| name.parse::<windlass_core::FleetId>().unwrap();
    let ca = CertificateAuthority::generate(fleet("demo"), now).unwrap();
    let other = CertificateAuthority::generate(fleet("demo"), now).unwrap();
    let (key, bob, eve) = (TlsKey::generate().unwrap(), "bob".parse().unwrap(), "eve".parse().unwrap());
    let named = |name| Identity::operator(fleet("demo"), name);
    let issue =
        |ca: &CertificateAuthority, leaf: &Leaf| ca.issue(&key.csr().unwrap(), leaf, now).unwrap().chain_pem;
    let leaf = |name, grant: &str| Leaf::operator(named(name), grant.parse().unwrap(), 1);
    let (mine, viewer) = (named(&bob), "viewer/*".parse().unwrap());
    let pins = [Digest::of(b"an older one"), ca.fingerprint()];
    let asked = Asked { identity: &mine, grant: Some(&viewer), ca_pins: &pins };
    let take = |chain: &str, asked| CertifiedIdentity::issued(key.clone(), chain, asked);

    let honest = issue(&ca, &leaf(&bob, "viewer/*"));
    assert_eq!(take(&honest, asked).unwrap().peer().identity, mine);
    let refused = |chain: &str| take(chain, asked).unwrap_err();
    assert!(matches!(refused(&issue(&other, &leaf(&bob, "viewer/*"))), IdentityError::OtherCa(_)));
    // Signed by another CA, with ours behind it.
    let signed = issue(&other, &leaf(&bob, "viewer/*"));
    let forged = signed.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap().to_owned()
        + &ca.certificate_pem();
    assert!(matches!(refused(&forged), IdentityError::OtherCa(_)));
    let alone = honest.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
    assert!(matches!(refused(alone), IdentityError::OtherCa(_)));
    assert!(matches!(refused(&issue(&ca, &leaf(&eve, "viewer/*"))), IdentityError::OtherName { .. }));
    let host = Leaf::agent(Identity::agent(fleet("demo"), "bob".parse().unwrap()), 1);
    assert!(matches!(refused(&issue(&ca, &host)), IdentityError::OtherName { .. }));
    let raised = refused(&issue(&ca, &leaf(&bob, "admin/*")));
    assert_eq!(raised.to_string(), "the certificate lets its holder be admin/*, viewer/* was promised");
    assert!(raised.hint().unwrap().contains("do not use this coordinator"));
    let unsaid = Asked { grant: None, ..asked };
    assert!(take(&issue(&ca, &leaf(&bob, "admin/*")), unsaid).is_ok());
    let none = Asked { ca_pins: &[], ..asked };
    assert!(matches!(take(&honest, none).unwrap_err(), IdentityError::OtherCa(_)));
    let theirs = CertifiedIdentity::issued(TlsKey::generate().unwrap(), &honest, asked).unwrap_err();
    assert!(matches!(theirs, IdentityError::OtherKey));
}

#[test]
fn a_key_survives_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tls.key");
    let key = TlsKey::generate().unwrap();
    key.save(&path).unwrap();
    assert_eq!(TlsKey::load(&path).unwrap().spki(), key.spki());
    assert!(matches!(key.save(&path), Err(CsrError::File(FileError::Exists { .. }))));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_request(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Csr::from_der(&bytes).is_err());
    }

    #[test]
    fn a_damaged_request_never_panics(at in 0_usize..200, bit in 0_u8..8) {
        let csr = TlsKey::generate().unwrap().csr().unwrap();
        let mut der = csr.der().to_vec();
        let at = at % der.len();
        der[at] ^= 1 << bit;
        // The outermost tag is read leniently by the parser; whatever passes is still a request for this key.
        prop_assert!(Csr::from_der(&der).map_or(true, |read| read.spki() == csr.spki()));
    }
}
