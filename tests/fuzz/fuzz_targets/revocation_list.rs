//! Revocation lists, as coordinator and agents read them: what nobody signed is never in force.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_certs::revocation::{RevocationList, Revocations};
use windlass_certs::trust::TrustDocument;

static ROOT: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("randomness"));
static TRUST: LazyLock<TrustDocument> = LazyLock::new(|| {
    let key = ROOT.public();
    let role = serde_json::json!({ "keys": [key], "threshold": 1 });
    let text = serde_json::json!({
        "fleet": "demo", "version": 1, "epoch": 1, "created_at": "2026-01-01T00:00:00.000Z",
        "expires_at": "2027-01-01T00:00:00.000Z", "root": role,
        "roles": { "release": [], "dispatch": role, "audit": role }, "ca": [], "coordinators": [],
    });
    serde_json::from_value(text).expect("a trust document")
});

fuzz_target!(|data: &[u8]| {
    assert!(RevocationList::open(data, &TRUST, None).is_err(), "nobody signed that");
    let signed = Envelope::sign(PayloadType::Revocation, data.to_vec(), &[&ROOT]).to_bytes();
    if let Ok(list) = RevocationList::open(&signed, &TRUST, None) {
        assert!(list.version > 0 && list.fleet.as_str() == "demo");
        let revocations = Revocations::new();
        assert_eq!(revocations.apply(&list), 0, "nobody is connected");
        assert!(RevocationList::open(&signed, &TRUST, Some(list.version)).is_err(), "not newer than itself");
    }
});
