//! DSSE envelopes: whatever parses, parses to the same again; whatever verifies was signed; what we sign verifies,
//! and no changed byte of it does.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use windlass_certs::dsse::{Envelope, KeySet, PayloadType};
use windlass_certs::keys::SigningKey;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("randomness"));

fuzz_target!(|data: &[u8]| {
    let keys = KeySet::new([KEY.public()], 1);
    for kind in PayloadType::ALL {
        if let Ok(envelope) = Envelope::parse(data, kind.max_len()) {
            assert_eq!(Envelope::parse(&envelope.to_bytes(), kind.max_len()).as_ref().ok(), Some(&envelope));
            assert!(envelope.verify(kind, &keys).is_err(), "nobody signed this");
        }
    }
    let Some((place, payload)) = data.split_first() else { return };
    let honest = Envelope::sign(PayloadType::Plan, payload.to_vec(), &[&KEY]);
    let mut bytes = honest.to_bytes();
    let read = Envelope::parse(&bytes, payload.len()).expect("we read what we write");
    assert_eq!(read.verify(PayloadType::Plan, &keys).expect("we believe what we sign").payload(), payload);
    assert!(read.verify(PayloadType::Release, &keys).is_err());
    let at = usize::from(*place) * bytes.len() / 256;
    bytes[at] ^= 1 + (*place >> 1);
    if let Ok(bent) = Envelope::parse(&bytes, PayloadType::Plan.max_len())
        && bent.verify(PayloadType::Plan, &keys).is_ok()
    {
        assert_eq!(bent.payload_bytes(), payload, "a changed byte may be in the key id, and nowhere else");
    }
});
