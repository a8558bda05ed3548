use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose as Usage, IsCa, KeyPair, SanType};
use windlass_core::Timestamp;

use super::*;

fn certificate(names: &[&str], usages: &[Usage], edit: impl Fn(&mut CertificateParams)) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let uris = names.iter().map(|name| SanType::URI((*name).to_owned().try_into().unwrap()));
    params.subject_alt_names = uris.collect();
    params.extended_key_usages = usages.to_vec();
    edit(&mut params);
    params.self_signed(&key).unwrap().der().to_vec()
}

#[test]
fn identities_have_one_spelling() {
    #[rustfmt::skip]
    let table = [
        ("spiffe://demo/agent/web-1", true),
        ("spiffe://demo/operator/ada", true),
        ("spiffe://demo/coordinator/main", true),
        ("spiffe://demo/root/main", false),
        ("spiffe://demo/agent/", false),
        ("spiffe://demo/agent/web-1/x", false),
        ("spiffe://demo/agent/WEB", false),
        ("spiffe://demo//agent/web-1", false),
        ("spiffe:///agent/web-1", false),
        ("SPIFFE://demo/agent/web-1", false),
        ("demo/agent/web-1", false),
    ];
    for (text, want) in table {
        let parsed = text.parse::<Identity>();
        assert_eq!(parsed.is_ok(), want, "{text}");
        if let Ok(identity) = parsed {
            assert_eq!(identity.to_string(), text);
        }
    }
}

#[test]
fn grants_are_scoped() {
    let grant: Grant = "deployer/staging,test".parse().unwrap();
    let (staging, production) = ("staging".parse().unwrap(), "production".parse().unwrap());
    assert!(grant.allows(OperatorRole::Viewer, &staging) && grant.allows(OperatorRole::Deployer, &staging));
    assert!(
        !grant.allows(OperatorRole::Approver, &staging) && !grant.allows(OperatorRole::Viewer, &production)
    );
    assert!(!grant.allows_fleet(OperatorRole::Viewer) && Grant::admin().allows_fleet(OperatorRole::Admin));
    assert_eq!(grant.to_string(), "deployer/staging,test");
    for bad in ["", "admin", "admin/", "root/*", "admin/*,test", "admin/a,,b", "admin/A"] {
        assert!(bad.parse::<Grant>().is_err(), "{bad}");
    }
    let many = vec!["e"; MAX_GRANT_ENVIRONMENTS + 1].join(",");
    assert!(format!("viewer/{many}").parse::<Grant>().is_err());
}

#[test]
fn certificates_are_read_strictly() {
    const AGENT: &str = "spiffe://demo/agent/web-1";
    const OPERATOR: &str = "spiffe://demo/operator/ada";
    const MAIN: &str = "spiffe://demo/coordinator/main";
    const ONE: &str = "windlass:generation/1";
    const GRANT: &str = "windlass:grant/admin/*";
    let client = [Usage::ClientAuth];
    let both = [Usage::ClientAuth, Usage::ServerAuth];
    let any = [Usage::ClientAuth, Usage::Any];
    let signing = [Usage::ClientAuth, Usage::CodeSigning];
    #[rustfmt::skip]
    let table: &[(&str, &[&str], &[Usage], bool)] = &[
        ("an agent", &[AGENT, ONE], &client, true),
        ("an operator", &[OPERATOR, ONE, GRANT], &client, true),
        ("a coordinator", &[MAIN, ONE], &both, true),
        ("no name", &[], &client, false),
        ("no generation", &[AGENT], &client, false),
        ("no identity", &[ONE], &client, false),
        ("two identities", &[AGENT, MAIN, ONE], &client, false),
        ("one identity twice", &[AGENT, AGENT, ONE], &client, false),
        ("two generations", &[AGENT, ONE, "windlass:generation/2"], &client, false),
        ("a generation with zeros in front", &[AGENT, "windlass:generation/01"], &client, false),
        ("a generation with a sign", &[AGENT, "windlass:generation/+1"], &client, false),
        ("a generation too large", &[AGENT, "windlass:generation/18446744073709551616"], &client, false),
        ("an agent with a grant", &[AGENT, ONE, GRANT], &client, false),
        ("an operator without a grant", &[OPERATOR, ONE], &client, false),
        ("an operator with two grants", &[OPERATOR, ONE, GRANT, "windlass:grant/viewer/*"], &client, false),
        ("an unknown name", &[AGENT, ONE, "windlass:x/1"], &client, false),
        ("another scheme", &[AGENT, ONE, "https://example.com"], &client, false),
        ("an agent that could serve", &[AGENT, ONE], &both, false),
        ("an operator that could serve", &[OPERATOR, ONE, GRANT], &both, false),
        ("a coordinator that cannot serve", &[MAIN, ONE], &client, false),
        ("no usage", &[AGENT, ONE], &[], false),
        ("any usage", &[AGENT, ONE], &any, false),
        ("one usage more", &[AGENT, ONE], &signing, false),
        ("a usage for mail", &[AGENT, ONE], &[Usage::ClientAuth, Usage::EmailProtection], false),
        ("a usage for times", &[AGENT, ONE], &[Usage::ClientAuth, Usage::TimeStamping], false),
        ("a usage for OCSP", &[AGENT, ONE], &[Usage::ClientAuth, Usage::OcspSigning], false),
        ("a usage that nobody knows", &[AGENT, ONE], &[Usage::ClientAuth, Usage::Other(vec![1, 2, 3])], false),
        ("only to serve", &[MAIN, ONE], &[Usage::ServerAuth], false),
    ];
    for (case, names, usages, want) in table {
        let read = PeerIdentity::from_der(&certificate(names, usages, |_| {}));
        assert_eq!(read.is_ok(), *want, "{case}: {read:?}");
    }
    let ca = certificate(&[AGENT, ONE], &client, |params| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    assert_eq!(PeerIdentity::from_der(&ca), Err(InvalidPeer::Ca));
    let dns = certificate(&[AGENT, ONE], &client, |params| {
        params.subject_alt_names.push(SanType::DnsName("web-1".to_owned().try_into().unwrap()));
    });
    assert_eq!(PeerIdentity::from_der(&dns), Err(InvalidPeer::Names("one is not a URI")));
    let mut trailing = certificate(&[AGENT, ONE], &client, |_| {});
    trailing.push(0);
    assert_eq!(PeerIdentity::from_der(&trailing), Err(InvalidPeer::Malformed));
    assert_eq!(PeerIdentity::from_der(&vec![0x30; MAX_LEN]), Err(InvalidPeer::Malformed));
}

const MAX_LEN: usize = 9000;

#[test]
fn a_certificate_may_have_8_kib_and_a_serial_21_bytes() {
    let names = ["spiffe://demo/agent/web-1", "windlass:generation/1"];
    let padded = |padding: usize, serial: usize| {
        certificate(&names, &[Usage::ClientAuth], |params| {
            let unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![4; padding]);
            params.custom_extensions.push(unknown);
            params.serial_number = Some(vec![1; serial].into());
        })
    };
    // Signatures differ by a byte or two, so that a length takes some attempts.
    let of_length = |want: usize| {
        let padding = 7000 + want - padded(7000, 16).len();
        (0..1000).map(|_| padded(padding, 16)).find(|der| der.len() == want).unwrap()
    };
    assert!(PeerIdentity::from_der(&of_length(8192)).is_ok());
    assert_eq!(PeerIdentity::from_der(&of_length(8193)), Err(InvalidPeer::Malformed));
    assert_eq!(PeerIdentity::from_der(&padded(1, 21)).unwrap().serial.as_str(), "01".repeat(21));
    assert_eq!(PeerIdentity::from_der(&padded(1, 22)), Err(InvalidPeer::Malformed));
}

#[test]
fn certificate_counts_for_its_life_and_renews_around_half() {
    let client = [Usage::ClientAuth];
    let der = certificate(&["spiffe://demo/agent/web-1", "windlass:generation/1"], &client, |params| {
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 2);
    });
    let peer = PeerIdentity::from_der(&der).unwrap();
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    #[rustfmt::skip]
    let table = [
        ("2025-12-31T23:59:59.999Z", false), ("2026-01-01T00:00:00.000Z", true),
        ("2026-01-01T23:59:59.999Z", true), ("2026-01-02T00:00:00.000Z", false),
    ];
    for (at, want) in table {
        assert_eq!(peer.is_valid_at(time(at)), want, "{at}");
    }
    #[rustfmt::skip]
    let table = [
        (0.0, "2026-01-01T10:48:00.000Z"), (0.5, "2026-01-01T12:00:00.000Z"), (1.0, "2026-01-01T13:12:00.000Z"),
        (-7.0, "2026-01-01T10:48:00.000Z"), (7.0, "2026-01-01T13:12:00.000Z"), (f64::NAN, "2026-01-01T12:00:00.000Z"),
    ];
    for (random, want) in table {
        let off = (peer.renew_at(random).as_millis() - time(want).as_millis()).abs();
        assert!(off <= 1, "{random}: {} is not {want}", peer.renew_at(random));
    }
}

#[test]
fn serials_have_one_spelling() {
    let longest = "0f".repeat(21);
    for good in ["00", "0a", "deadbeef", &longest] {
        let serial: Serial = good.parse().unwrap();
        assert_eq!(
            (serial.to_string().as_str(), format!("{serial:?}").as_str(), serial.as_str()),
            (good, good, good)
        );
        let text = serde_json::to_string(&serial).unwrap();
        assert_eq!(text, format!("\"{good}\""));
        assert_eq!(serde_json::from_str::<Serial>(&text).unwrap(), serial);
    }
    let longer = "0f".repeat(22);
    for bad in ["", "0", "0A", "0g", "abc", "0x", &longer] {
        assert!(bad.parse::<Serial>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_nobody(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(PeerIdentity::from_der(&bytes).is_err());
    }

    #[test]
    fn a_damaged_certificate_never_panics(at in any::<usize>(), value in any::<u8>()) {
        let client = [Usage::ClientAuth];
        let mut der = certificate(&["spiffe://demo/agent/web-1", "windlass:generation/1"], &client, |_| {});
        let at = at % der.len();
        der[at] = value;
        let _ = PeerIdentity::from_der(&der);
    }

    #[test]
    fn names_never_panic(text in "\\PC{0,100}") {
        let _ = (text.parse::<Identity>(), text.parse::<Grant>(), text.parse::<Serial>());
    }
}

#[test]
fn an_unknown_role_is_told_from_a_text_that_is_no_grant() {
    let told = |text: &str| text.parse::<Grant>().unwrap_err().to_string();
    assert_eq!(told("boss/*"), "unknown role \"boss\"; one of viewer, deployer, approver, admin");
    assert_eq!("boss".parse::<OperatorRole>().unwrap_err().to_string(), told("boss/*"));
    assert_eq!(told("admin"), "`admin` is not a grant (like `admin/*` or `deployer/staging,test`)");
    assert!(told("admin/Not a name").contains("is not a grant"));
    assert_eq!(told("\u{1b}[2J/*"), "unknown role \"\\u{1b}[2J\"; one of viewer, deployer, approver, admin");
}
