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
