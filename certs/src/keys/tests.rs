use super::*;

#[test]
fn a_key_survives_its_file_and_stays_out_of_debug() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("release.key");
    let key = SigningKey::generate().unwrap();
    key.save(&path).unwrap();
    let loaded = SigningKey::load(&path).unwrap();
    assert_eq!(loaded.public(), key.public());
    let signature = loaded.sign(b"message");
    assert!(key.public().verify(b"message", &signature));
    assert!(!key.public().verify(b"massage", &signature));
    assert!(!key.public().verify(b"message", &signature[..63]));
    assert!(matches!(key.save(&path), Err(KeyError::File(FileError::Exists { .. }))));
    let seen = format!("{key:?}");
    assert_eq!(seen, format!("SigningKey({})", key.id().short()));
}

#[test]
fn other_files_are_no_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.key");
    files::create_secret(&path, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    assert!(matches!(SigningKey::load(&path), Err(KeyError::NotAKey { .. })));
    assert!(SigningKey::from_pem("").is_err());
}

#[test]
fn reads_the_keys_of_openssl() {
    // RFC 8410, section 10.3, and the public key in 10.1.
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let key = SigningKey::from_pem(private).unwrap();
    assert_eq!(key.public(), PublicKey::from_pem(public).unwrap());
    assert_eq!(key.public().to_pem(), public);
    assert_eq!(key.public().as_bytes()[..4], [0x19, 0xbf, 0x44, 0x09]);
    assert_eq!(PublicKey::from_bytes(key.public().as_bytes()), Ok(key.public()));
    assert_eq!(key.to_pem().as_str(), private);
}

#[test]
fn weak_and_ambiguous_public_keys_are_refused() {
    let mut identity = [0_u8; 32];
    identity[0] = 1; // the neutral point, order 1
    let zero = [0_u8; 32]; // order 4
    let mut not_canonical = [0xff_u8; 32];
    not_canonical[0] = 0xf0; // y = p + 3
    not_canonical[31] = 0x7f;
    for bytes in [identity, zero, not_canonical] {
        assert_eq!(PublicKey::from_bytes(&bytes), Err(InvalidKey::Weak), "{bytes:02x?}");
    }
    assert_eq!(PublicKey::from_bytes(&[1; 31]), Err(InvalidKey::Malformed));
    // With the other sign it is as ambiguous; with one other byte it is a number like others.
    not_canonical[31] = 0xff;
    assert_eq!(PublicKey::from_bytes(&not_canonical), Err(InvalidKey::Weak));
    let mut high = [0_u8; 32];
    (high[0], high[31]) = (0xff, 0x7f);
    let mut low = [0xff_u8; 32];
    low[31] = 0;
    for bytes in [high, low] {
        assert_ne!(PublicKey::from_bytes(&bytes), Err(InvalidKey::Weak), "{bytes:02x?}");
    }
}

#[test]
fn a_key_id_has_one_spelling() {
    let good = "0123456789abcdef".repeat(4);
    let id: KeyId = good.parse().unwrap();
    assert_eq!((id.to_string(), id.as_str(), id.short()), (good.clone(), good.as_str(), "0123456789ab"));
    assert_eq!(format!("{id:?}"), "0123456789ab…");
    assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{good}\""));
    for bad in [&good[..63], &good.to_uppercase(), &format!("{good}0"), &good.replace('f', "g"), ""] {
        assert!(bad.parse::<KeyId>().is_err(), "{bad}");
    }
    let key = SigningKey::generate().unwrap().public();
    assert_eq!(format!("{key:?}"), format!("PublicKey({})", key.id().short()));
}

#[test]
fn a_key_in_a_document_must_match_its_id() {
    let (one, two) = (SigningKey::generate().unwrap().public(), SigningKey::generate().unwrap().public());
    let text = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<PublicKey>(&text).unwrap(), one);
    let swapped = text.replace(one.id().as_str(), two.id().as_str());
    let error = serde_json::from_str::<PublicKey>(&swapped).unwrap_err();
    assert!(error.to_string().contains("does not belong"), "{error}");
    let unknown = text.replace("\"keyid\"", "\"x\":1,\"keyid\"");
    assert!(serde_json::from_str::<PublicKey>(&unknown).is_err());
}

#[test]
fn a_public_key_on_one_line_comes_back() {
    let key = SigningKey::generate().unwrap().public();
    let line = key.to_line();
    assert!(line.starts_with("ed25519:") && line.len() == 51, "{line}");
    assert_eq!(PublicKey::from_line(&format!(" {line}\n")).unwrap(), key);
    for bad in [
        "",
        "ed25519:",
        &line[..50],
        &line[8..],
        &format!("{line}A"),
        "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        assert!(PublicKey::from_line(bad).is_err(), "{bad}");
    }
}
