use proptest::prelude::*;

use super::*;

fn key() -> SigningKey {
    SigningKey::generate().unwrap()
}

#[test]
fn the_encoding_is_that_of_the_specification() {
    // From protocol.md of DSSE.
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
}

#[test]
fn approving_is_a_second_signature_over_the_same_payload() {
    let (ada, bob) = (key(), key());
    let keys = KeySet::new([ada.public(), bob.public()], 2);
    let mut envelope = Envelope::sign(PayloadType::Release, b"{}".to_vec(), &[&ada]);
    let digest = envelope.digest();
    let error = envelope.verify(PayloadType::Release, &keys).unwrap_err();
    assert!(matches!(error, VerifyError::BelowThreshold { have: 1, want: 2 }), "{error:?}");
    assert_eq!(envelope.signers(PayloadType::Release, &keys).unwrap().len(), 1);
    envelope.add_signature(&ada).unwrap();
    assert_eq!(envelope.signatures().len(), 1, "signing twice is signing once");

    let elsewhere = Envelope::sign(PayloadType::Release, b"{}".to_vec(), &[&bob]);
    assert!(envelope.merge(&elsewhere).unwrap() && envelope.merge(&elsewhere).unwrap());
    assert_eq!(envelope.signatures().len(), 2);
    let verified = envelope.verify(PayloadType::Release, &keys).unwrap();
    assert_eq!((verified.digest(), verified.signers().len()), (digest, 2));
    let other = Envelope::sign(PayloadType::Release, b"{ }".to_vec(), &[&bob]);
    assert!(!envelope.merge(&other).unwrap(), "another payload is another document");
    let other = Envelope::sign(PayloadType::Plan, b"{}".to_vec(), &[&bob]);
    assert!(!envelope.merge(&other).unwrap());
}

#[test]
fn there_is_room_for_sixteen() {
    let keys: Vec<_> = (0..17).map(|_| key()).collect();
    let all: Vec<_> = keys.iter().collect();
    let mut envelope = Envelope::sign(PayloadType::Audit, b"{}".to_vec(), &all);
    assert_eq!(envelope.signatures().len(), MAX_SIGNATURES);
    assert_eq!(envelope.add_signature(&keys[16]), Err(TooManySignatures));
    envelope.add_signature(&keys[0]).unwrap();
    Envelope::parse(&envelope.to_bytes(), 100).unwrap();
}

#[test]
fn a_threshold_of_zero_needs_a_signature_all_the_same() {
    let envelope = Envelope::sign(PayloadType::Plan, b"{}".to_vec(), &[]);
    let keys = KeySet::new([key().public()], 0);
    assert_eq!(envelope.verify(PayloadType::Plan, &keys).unwrap_err().code(), "below_threshold");
}

#[test]
fn a_payload_over_its_types_limit_is_not_decoded() {
    let ada = key();
    let payload = format!("{{\"x\":\"{}\"}}", "y".repeat(PayloadType::Receipt.max_len())).into_bytes();
    let envelope = Envelope::sign(PayloadType::Receipt, payload, &[&ada]);
    let keys = KeySet::new([ada.public()], 1);
    let verified = envelope.verify(PayloadType::Receipt, &keys).unwrap();
    assert_eq!(verified.decode::<serde_json::Value>().unwrap_err().code(), "too_large");
}

#[test]
fn each_type_has_one_name_and_one_limit() {
    #[rustfmt::skip]
    let table = [
        (PayloadType::Release, "release", 262_144), (PayloadType::Plan, "plan", 4_194_304),
        (PayloadType::Routes, "routes", 4_194_304), (PayloadType::Trust, "trust", 65_536),
        (PayloadType::Audit, "audit", 16_384), (PayloadType::Receipt, "receipt", 16_384),
        (PayloadType::Revocation, "revocation", 1_048_576), (PayloadType::Exec, "exec", 16_384),
        (PayloadType::Secret, "secret", 65_536), (PayloadType::Backup, "backup", 16_384), (PayloadType::Loss, "loss", 16_384),
    ];
    assert_eq!(table.map(|(kind, ..)| kind), PayloadType::ALL);
    for (kind, name, limit) in table {
        let media = format!("application/vnd.windlass.{name}.v1+json");
        assert_eq!((kind.to_string(), kind.max_len()), (media.clone(), limit));
        assert_eq!(PayloadType::from_media_type(&media), Some(kind));
        assert_eq!(PayloadType::from_media_type(&media.to_uppercase()), None);
    }
}

/// An envelope in which this field, of it or of its one signature, has this value.
fn with(field: &str, value: &str) -> Result<Envelope, VerifyError> {
    let mut one = serde_json::json!({ "keyid": "k", "sig": "AAAA" });
    let mut all = serde_json::json!({ "payloadType": PayloadType::Plan.as_str(), "payload": "e30=" });
    match field {
        "keyid" | "sig" => one[field] = value.into(),
        _ => all[field] = value.into(),
    }
    all["signatures"] = serde_json::json!([one]);
    Envelope::parse(&serde_json::to_vec(&all).unwrap(), 100)
}

#[test]
fn every_field_has_a_limit_and_what_is_as_long_is_read() {
    let of = |length: usize| "A".repeat(length);
    #[rustfmt::skip]
    let table = [
        ("keyid", of(512), "ok"), ("keyid", of(513), "malformed"),
        ("sig", of(2048), "ok"), ("sig", of(2052), "malformed"),
        // Not ours, and not even as long as any type: two different refusals.
        ("payloadType", of(256), "wrong_type"), ("payloadType", of(257), "malformed"),
        ("payload", of(132), "ok"), ("payload", of(136), "too_large"),
    ];
    for (field, value, want) in table {
        let got = with(field, &value).map_or_else(|error| error.code(), |_| "ok");
        assert_eq!(got, want, "{field} of {} characters", value.len());
    }
    assert_eq!(with("keyid", "").unwrap().signatures()[0].keyid, None, "an empty hint is none");
}

#[test]
fn an_envelope_may_be_four_thirds_of_its_payload_and_32_kib() {
    let bytes = Envelope::sign(PayloadType::Plan, b"{}".to_vec(), &[&key()]).to_bytes();
    let padded = |length: usize| [bytes.clone(), vec![b' '; length - bytes.len()]].concat();
    for (max_len, limit) in [(3000, 4000 + 32_768), (3001, 4001 + 32_768), (2, 2 + 32_768)] {
        assert_eq!(Envelope::parse(&padded(limit), max_len).unwrap().payload_bytes(), b"{}");
        let error = Envelope::parse(&padded(limit + 1), max_len).unwrap_err();
        assert!(
            matches!(error, VerifyError::TooLarge { len, limit: most } if (len, most) == (limit + 1, limit))
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Envelope::parse(&bytes, 1000).is_err());
    }

    #[test]
    fn envelopes_come_back_as_they_were(payload in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_usize..9) {
        let ada = key();
        let kind = PayloadType::ALL[kind];
        let envelope = Envelope::sign(kind, payload.clone(), &[&ada]);
        let back = Envelope::parse(&envelope.to_bytes(), payload.len()).unwrap();
        prop_assert_eq!(&back, &envelope);
        let keys = KeySet::new([ada.public()], 1);
        prop_assert_eq!(back.verify(kind, &keys).unwrap().payload(), payload.as_slice());
        for other in PayloadType::ALL {
            prop_assert_eq!(back.verify(other, &keys).is_ok(), other == kind);
        }
        prop_assert!(Envelope::parse(&envelope.to_bytes(), payload.len().saturating_sub(1)).is_err() || payload.is_empty());
    }

    #[test]
    fn a_changed_payload_or_signature_is_refused(at in any::<usize>(), bit in 0_u8..8, in_payload in any::<bool>()) {
        let ada = key();
        let mut envelope = Envelope::sign(PayloadType::Plan, b"{\"seq\":7}".to_vec(), &[&ada]);
        let bytes = if in_payload { &mut envelope.payload } else { &mut envelope.signatures[0].bytes };
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let keys = KeySet::new([ada.public()], 1);
        prop_assert_eq!(envelope.verify(PayloadType::Plan, &keys).unwrap_err().code(), "bad_signature");
    }
}
