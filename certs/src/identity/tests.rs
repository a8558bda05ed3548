use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose as Usage, IsCa, KeyPair, SanType};

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
