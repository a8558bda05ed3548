//! Keys as files and documents hold them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_certs::csr::TlsKey;
use windlass_certs::keys::{KeyId, PublicKey, SigningKey};

fuzz_target!(|data: &[u8]| {
    if let Ok(key) = PublicKey::from_bytes(data) {
        assert_eq!(key.as_bytes().as_slice(), data, "one spelling");
        assert_eq!(PublicKey::from_pem(&key.to_pem()).as_ref(), Ok(&key));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = PublicKey::from_pem(text);
    let _ = TlsKey::from_pem(text);
    if let Ok(key) = SigningKey::from_pem(text) {
        assert!(key.public().verify(data, &key.sign(data)));
    }
    let _ = text.parse::<KeyId>();
});
