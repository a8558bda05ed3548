//! Trust documents as they come: pinned, restored, walked. None is believed that no root key signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::trust::TrustStore;

fuzz_target!(|data: &[u8]| {
    let fleet = "lab".parse().expect("a name");
    let pin = Envelope::parse(data, PayloadType::Trust.max_len()).map(|envelope| envelope.digest());
    let Ok(pin) = pin else { return };
    for store in [TrustStore::pinned(&fleet, pin, data), TrustStore::restore(&fleet, pin, data)] {
        let Ok(mut store) = store else { continue };
        let before = store.digest();
        let _ = store.advance(data);
        assert_eq!(store.digest(), before, "a document is not its own successor");
    }
});
