//! Join tokens: a token that is read is written to the same again, and `Debug` hides its secret.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_certs::join::JoinToken;

fuzz_target!(|text: &str| {
    if let Ok(token) = JoinToken::parse(text) {
        let written = token.to_string();
        assert_eq!(JoinToken::parse(&written).expect("we read what we write").to_string(), written);
        assert_eq!(written, text.trim(), "one spelling");
        let secret = written.split('.').nth(3).unwrap_or_default();
        assert!(!format!("{token:?}").contains(secret));
    }
});
