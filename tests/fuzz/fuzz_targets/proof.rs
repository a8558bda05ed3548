//! Input of strangers to enrolment beside the request: raw keys, proofs, chains, secrets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_certs::csr::{CertifiedIdentity, Proof, RenewalClaim, TlsKey, verify_proof};
use windlass_certs::identity::{Grant, Identity, Serial};
use windlass_certs::join::JoinSecret;
use windlass_certs::keys::PublicKey;
use windlass_core::Digest;

thread_local! {
    static KEY: TlsKey = TlsKey::generate().expect("randomness");
}

fuzz_target!(|data: &[u8]| {
    let claim = RenewalClaim {
        fleet: "demo".parse().expect("a name"),
        host: "web-1".parse().expect("a name"),
        generation: 1,
        challenge: [7; 32],
        csr: Digest::of(data),
    };
    let (key, proof) = data.split_at(data.len().min(91)); // a P-256 key has 91 bytes
    assert!(!verify_proof(key, &claim, &Proof(proof.to_vec())), "nobody signed that");
    KEY.with(|key| assert!(!verify_proof(&key.spki(), &claim, &Proof(data.to_vec())), "nor that"));
    assert_eq!(JoinSecret::from_bytes(data).is_some(), data.len() == 32);
    if let Ok(key) = PublicKey::from_bytes(data) {
        assert_eq!(key.as_bytes().as_slice(), data);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    KEY.with(|key| assert!(CertifiedIdentity::new(key.clone(), text).is_err(), "nobody certified this key"));
    if let Ok(identity) = text.parse::<Identity>() {
        assert_eq!(identity.to_string(), text);
    }
    if let Ok(grant) = text.parse::<Grant>() {
        assert_eq!(grant.to_string().parse::<Grant>().as_ref(), Ok(&grant));
    }
    if let Ok(serial) = text.parse::<Serial>() {
        assert_eq!(serial.as_str(), text);
    }
});
