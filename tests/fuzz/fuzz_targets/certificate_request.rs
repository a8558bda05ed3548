//! Certificate requests, DER: whoever sends one must hold its key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_certs::csr::Csr;

fuzz_target!(|data: &[u8]| {
    if let Ok(csr) = Csr::from_der(data) {
        assert_eq!(csr.der(), data);
        assert!(!csr.spki().is_empty());
    }
});
