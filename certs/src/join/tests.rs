use proptest::prelude::*;

use super::*;

fn token() -> JoinToken {
    let (ca, trust) = (Digest::of(b"ca"), Digest::of(b"trust"));
    JoinToken::new("demo".parse().unwrap(), "web-1".parse().unwrap(), ca, trust).unwrap()
}

#[test]
fn a_token_is_one_line_and_comes_back_whole() {
    let token = token();
    let text = token.to_string();
    assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{text}");
    let back = JoinToken::parse(&format!("  {text}\n")).unwrap();
    assert_eq!(back.to_string(), text);
    assert_eq!((back.ca_pin(), back.trust_pin()), (token.ca_pin(), token.trust_pin()));
    assert!(back.secret().matches(&token.secret().hash()));
}

#[test]
fn the_secret_is_neither_shown_nor_stored() {
    let token = token();
    let secret = URL_SAFE_NO_PAD.encode(token.secret().expose());
    for seen in [format!("{token:?}"), format!("{:?}", token.secret()), token.secret().hash().to_string()] {
        assert!(!seen.contains(&secret), "{seen}");
    }
    assert!(!JoinSecret::from_bytes(&[7; 32]).unwrap().matches(&token.secret().hash()));
    assert!(JoinSecret::from_bytes(&[7; 31]).is_none());
}

#[test]
fn damage_is_seen_and_so_is_what_is_no_token() {
    let text = token().to_string();
    for none in ["", "hello", "windlass", "windlass1x.", &"windlass1.".repeat(60)] {
        assert_eq!(JoinToken::parse(none).unwrap_err(), InvalidToken::NotAToken, "{none}");
    }
    for cut in 10..text.len() {
        assert_eq!(JoinToken::parse(&text[..cut]).unwrap_err(), InvalidToken::Damaged, "{cut}");
    }
    assert!(JoinToken::parse(&format!("{text}A")).is_err());
    assert!(JoinToken::parse(&format!("{text}.")).is_err());
    assert!(JoinToken::parse(&text.replace("windlass1", "windlass2")).is_err());
}

#[test]
fn a_hosts_token_and_an_operators_are_told_apart() {
    let host = token();
    let (ca, trust) = (host.ca_pin(), host.trust_pin());
    let bob = OperatorToken::new("demo".parse().unwrap(), "bob".parse().unwrap(), ca, trust).unwrap();
    let back = OperatorToken::parse(&format!(" {bob}\n")).unwrap();
    assert_eq!((back.to_string(), back.name().as_str()), (bob.to_string(), "bob"));
    assert_eq!(format!("{bob:?}"), "Token(demo/bob, ****)");
    assert_eq!(JoinToken::parse(&bob.to_string()).unwrap_err(), InvalidToken::NotAToken);
    assert_eq!(OperatorToken::parse(&host.to_string()).unwrap_err(), InvalidToken::NotAToken);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}", parts in "windlass(-operator)?1(\\.[a-zA-Z0-9_=-]{0,50}){0,7}") {
        let _ = JoinToken::parse(&text);
        let _ = JoinToken::parse(&parts);
        let _ = OperatorToken::parse(&parts);
    }
}
