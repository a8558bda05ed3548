//! Join tokens: a token that is read is written to the same again, `Debug` hides its secret, and it is of one kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_certs::join::{JoinToken, Joins, OperatorToken, Token};

fn check<N: Joins>(text: &str, token: &Token<N>) {
    let written = token.to_string();
    assert_eq!(Token::<N>::parse(&written).expect("we read what we write").to_string(), written);
    assert_eq!(written, text.trim(), "one spelling");
    let secret = written.split('.').nth(3).unwrap_or_default();
    assert!(!format!("{token:?}").contains(secret));
}

fuzz_target!(|text: &str| {
    let (host, operator) = (JoinToken::parse(text), OperatorToken::parse(text));
    assert!(host.is_err() || operator.is_err(), "no token is of both kinds");
    let _ = host.map(|token| check(text, &token));
    let _ = operator.map(|token| check(text, &token));
});
