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
    for none in ["", "hello", "windlass", "windlass1x.", &"windlass1.".repeat(2000)] {
        assert_eq!(JoinToken::parse(none).unwrap_err(), InvalidToken::NotAToken, "{none}");
    }
    for cut in 10..text.len() {
        assert_eq!(JoinToken::parse(&text[..cut]).unwrap_err(), InvalidToken::Damaged, "{cut}");
    }
    assert!(JoinToken::parse(&format!("{text}A")).is_err());
    assert!(JoinToken::parse(&format!("{text}.")).is_err());
    assert!(JoinToken::parse(&text.replace("windlass1", "windlass2")).is_err());
}

fn promised() -> Terms {
    Terms {
        server: Some("deploy.example.com:7443".to_owned()),
        expires_at: Some(windlass_core::Timestamp::from_millis(1_800_000_000_000)),
        labels: Some([("role".to_owned(), "app".to_owned())].into()),
        grant: None,
    }
}

#[test]
fn terms_travel_with_the_token_and_no_part_of_them_is_lost() {
    let (ca, trust) = (Digest::of(b"our ca"), Digest::of(b"our trust"));
    let bare = token();
    let secret = bare.secret().hash();
    let ours = bare.under("prod".parse().unwrap(), "web-2".parse().unwrap(), ca, trust, promised());
    let text = ours.to_string();
    assert!(text.starts_with("windlass2.prod.web-2."), "{text}");
    assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{text}");
    let back = JoinToken::parse(&text).unwrap();
    assert_eq!((back.terms(), back.to_string()), (&promised(), text.clone()));
    assert_eq!((back.ca_pin(), back.trust_pin(), back.secret().hash()), (ca, trust, secret));
    for cut in 10..text.len() {
        assert_eq!(JoinToken::parse(&text[..cut]).unwrap_err(), InvalidToken::Damaged, "{cut}");
    }
    let stripped = text.rsplit_once('.').unwrap().0;
    assert!(JoinToken::parse(stripped).is_err(), "terms cannot be cut off");
}

#[test]
fn terms_have_one_spelling_and_suit_who_joins() {
    let bare = token().to_string();
    let with =
        |version: &str, json: &str| bare.replace("windlass1", version) + "." + &URL_SAFE_NO_PAD.encode(json);
    assert!(JoinToken::parse(&with("windlass2", r#"{"server":"a:1"}"#)).is_ok());
    let long = format!(r#"{{"server":"{}:1"}}"#, "a".repeat(300));
    #[rustfmt::skip]
    let bad = ["{}", "", "[]", r#"{"server": "a:1"}"#, r#"{"server":"a:1","extra":1}"#, r#"{"server":"a"}"#,
        r#"{"server":"a:0"}"#, r#"{"server":":1"}"#, r#"{"server":"a b:1"}"#, r#"{"server":"$(id):1"}"#,
        r#"{"server":"\u001b:1"}"#, r#"{"server":"a:1","server":"a:1"}"#, r#"{"grant":"admin/*"}"#, &long];
    for json in bad {
        assert_eq!(JoinToken::parse(&with("windlass2", json)).unwrap_err(), InvalidToken::Damaged, "{json}");
    }
    let operator = |json: &str| OperatorToken::parse(&with("windlass-operator2", json));
    assert!(operator(r#"{"grant":"admin/*"}"#).is_ok());
    assert!(operator(r#"{"labels":{"role":"app"}}"#).is_err());
    assert!(operator(r#"{"grant":"boss/*"}"#).is_err());
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
    fn arbitrary_text_never_panics(text in "\\PC{0,200}", parts in "windlass(-operator)?[12](\\.[a-zA-Z0-9_=-]{0,50}){0,8}") {
        let _ = JoinToken::parse(&text);
        let _ = JoinToken::parse(&parts);
        let _ = OperatorToken::parse(&parts);
    }
}
