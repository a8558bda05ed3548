//! Certificates of peers, DER.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_certs::ca::certificates_from_pem;
use windlass_certs::identity::{Identity, PeerIdentity};

fuzz_target!(|data: &[u8]| {
    if let Ok(peer) = PeerIdentity::from_der(data) {
        let name = peer.identity.to_string();
        assert_eq!(name.parse::<Identity>().as_ref(), Ok(&peer.identity));
        let _ = peer.renew_at(0.5);
        let _ = peer.is_valid_at(peer.not_before);
    }
    let _ = certificates_from_pem(data);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(identity) = text.parse::<Identity>()
    {
        assert_eq!(identity.to_string(), text, "one spelling");
    }
});
