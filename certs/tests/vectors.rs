//! The golden vectors: envelopes made by another implementation, each with the one answer it must get.
//! `vectors/make.py` makes them, and verifies them with a verifier of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use windlass_certs::dsse::{Envelope, KeySet, PayloadType, VerifyError};
use windlass_certs::keys::{PublicKey, SigningKey};
use windlass_core::Digest;

#[derive(Deserialize)]
struct Index {
    keys: BTreeMap<String, PublicKey>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    file: String,
    want: String,
    keys: Vec<String>,
    threshold: usize,
    max_len: usize,
    expect: String,
    decode: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn index() -> Index {
    serde_json::from_slice(&std::fs::read(folder().join("index.json")).unwrap()).unwrap()
}

fn read(vector: &Vector) -> Vec<u8> {
    std::fs::read(folder().join(&vector.file)).unwrap()
}

fn kind(name: &str) -> PayloadType {
    let media = format!("application/vnd.windlass.{name}.v1+json");
    PayloadType::from_media_type(&media).unwrap()
}

/// The verdict on an envelope, and on its payload if that was believed.
fn judge(vector: &Vector, keys: &KeySet) -> (&'static str, &'static str) {
    let judged = || -> Result<&'static str, VerifyError> {
        let envelope = Envelope::parse(&read(vector), vector.max_len)?;
        let verified = envelope.verify(kind(&vector.want), keys)?;
        Ok(match verified.decode::<Map<String, Value>>() {
            Ok(_) => "ok",
            Err(error) => error.code(),
        })
    };
    match judged() {
        Ok(decoded) => ("ok", decoded),
        Err(error) => (error.code(), "ok"),
    }
}

#[test]
fn every_vector_gets_its_one_answer() {
    let index = index();
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    for vector in &index.vectors {
        let keys = vector.keys.iter().map(|name| index.keys[name].clone());
        let (got, decoded) = judge(vector, &KeySet::new(keys, vector.threshold));
        assert_eq!((got, decoded), (vector.expect.as_str(), vector.decode.as_str()), "{}", vector.file);
        *seen.entry(got).or_default() += 1;
    }
    // A guard that no vector reached proves nothing.
    #[rustfmt::skip]
    let codes = ["ok", "too_large", "malformed", "wrong_type", "unknown_key", "bad_signature", "below_threshold"];
    for code in codes {
        assert!(seen.get(code).is_some_and(|count| *count >= 2), "{code}: {seen:?}");
    }
}

/// Ed25519 is deterministic: equal signatures mean that the other implementation accepts ours.
#[test]
fn we_sign_as_the_other_implementation_does() {
    let seed = Digest::of(b"windlass test key ada");
    let mut pkcs8 = hex("302e020100300506032b657004220420");
    pkcs8.extend_from_slice(seed.as_bytes());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", base64(&pkcs8));
    let ada = SigningKey::from_pem(&pem).unwrap();
    let index = index();
    assert_eq!(ada.public(), index.keys["ada"]);
    let mut compared = 0;
    for kind in PayloadType::ALL {
        let name = kind.as_str().trim_start_matches("application/vnd.windlass.").trim_end_matches(".v1+json");
        let vector = index.vectors.iter().find(|v| v.file == format!("valid-{name}.json")).unwrap();
        let theirs = Envelope::parse(&read(vector), vector.max_len).unwrap();
        let ours = Envelope::sign(kind, theirs.payload_bytes().to_vec(), &[&ada]);
        assert_eq!(ours, theirs, "{name}");
        assert_eq!(Envelope::parse(&ours.to_bytes(), vector.max_len).unwrap(), theirs, "{name}");
        compared += 1;
    }
    assert_eq!(compared, PayloadType::ALL.len());
}

/// No single changed byte of an envelope turns into another accepted document.
#[test]
fn no_changed_byte_is_accepted_as_something_else() {
    let index = index();
    let vector = index.vectors.iter().find(|v| v.file == "valid-release.json").unwrap();
    let keys = KeySet::new(index.keys.values().cloned(), 1);
    let bytes = read(vector);
    let original = Envelope::parse(&bytes, vector.max_len).unwrap();
    let mut accepted = 0;
    for at in 0..bytes.len() {
        for flip in [0x01, 0x20] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            let Ok(envelope) = Envelope::parse(&changed, vector.max_len) else { continue };
            if let Ok(verified) = envelope.verify(PayloadType::Release, &keys) {
                // Only the hint may differ.
                assert_eq!(verified.payload(), original.payload_bytes(), "byte {at}");
                accepted += 1;
            }
        }
    }
    assert!(accepted <= 2 * 64, "only bytes of the key id are free: {accepted}");
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
