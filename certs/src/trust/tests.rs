use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::dsse::Envelope;
use crate::keys::SigningKey;

struct Keys {
    roots: Vec<SigningKey>,
    release: SigningKey,
    team: SigningKey,
    dispatch: SigningKey,
    audit: SigningKey,
}

fn key() -> SigningKey {
    SigningKey::generate().unwrap()
}

fn keys() -> Keys {
    let roots = (0..3).map(|_| key()).collect();
    Keys { roots, release: key(), team: key(), dispatch: key(), audit: key() }
}

fn role(key: &SigningKey) -> RoleKeys {
    RoleKeys { keys: vec![key.public()], threshold: 1 }
}

fn rule(scope: &str, services: Option<&[&str]>, keys: &[&SigningKey], threshold: u32) -> ReleaseRole {
    ReleaseRole {
        environment: scope.to_owned().try_into().unwrap(),
        services: services.map(|list| list.iter().map(|name| name.parse().unwrap()).collect()),
        keys: keys.iter().map(|key| key.public()).collect(),
        threshold,
        retired: Vec::new(),
    }
}

fn document(keys: &Keys) -> TrustDocument {
    let now: Timestamp = "2026-11-22T12:00:00.000Z".parse().unwrap();
    TrustDocument {
        fleet: "demo".parse().unwrap(),
        version: 1,
        epoch: 1,
        created_at: now,
        expires_at: now + Duration::from_secs(365 * 24 * 3600),
        root: RoleKeys { keys: keys.roots.iter().map(SigningKey::public).collect(), threshold: 2 },
        roles: Roles {
            release: vec![rule("*", None, &[&keys.release], 1)],
            dispatch: role(&keys.dispatch),
            audit: role(&keys.audit),
            revoke: None,
        },
        hosts: BTreeMap::new(),
        ca: vec![Digest::of(b"ca")],
        coordinators: vec!["127.0.0.1:7443".to_owned()],
        floors: BTreeMap::new(),
        revoked: Revoked::default(),
    }
}

fn seal(document: &TrustDocument, signers: &[&SigningKey]) -> Vec<u8> {
    Envelope::sign(PayloadType::Trust, serde_json::to_vec(document).unwrap(), signers).to_bytes()
}

fn start(keys: &Keys) -> (TrustStore, TrustDocument) {
    let first = document(keys);
    let bytes = seal(&first, &[&keys.roots[0], &keys.roots[1]]);
    let pin = Digest::of(&serde_json::to_vec(&first).unwrap());
    (TrustStore::pinned(&first.fleet, pin, &bytes).unwrap(), first)
}

fn next(document: &TrustDocument) -> TrustDocument {
    TrustDocument { version: document.version + 1, ..document.clone() }
}

#[test]
fn version_1_must_be_the_pinned_one_and_signed_by_its_own_roots() {
    let keys = keys();
    let first = document(&keys);
    let pin = Digest::of(&serde_json::to_vec(&first).unwrap());
    let (ours, other) = ("demo".parse().unwrap(), "other".parse().unwrap());
    let full = seal(&first, &[&keys.roots[0], &keys.roots[2]]);
    let code = |fleet, pin, bytes: &[u8]| {
        TrustStore::pinned(fleet, pin, bytes).map_err(|e| e.code()).map(|s| s.version())
    };
    assert_eq!(code(&ours, pin, &full), Ok(1));
    assert_eq!(code(&ours, Digest::of(b""), &full), Err("wrong_pin"));
    assert_eq!(code(&other, pin, &full), Err("wrong_audience"));
    assert_eq!(code(&ours, pin, &seal(&first, &[&keys.roots[0]])), Err("below_threshold"));
    assert_eq!(code(&ours, pin, &seal(&first, &[&keys.release])), Err("unknown_key"));
    let second = next(&first);
    let pin = Digest::of(&serde_json::to_vec(&second).unwrap());
    assert_eq!(code(&ours, pin, &seal(&second, &[&keys.roots[0], &keys.roots[1]])), Err("gap"));
}

#[test]
fn a_new_version_carries_the_thresholds_of_both() {
    let old = keys();
    let fresh = keys();
    let (store, first) = start(&old);
    let changed = TrustDocument { root: document(&fresh).root, ..next(&first) };
    #[rustfmt::skip]
    let table: &[(&str, &[&SigningKey], Result<u64, &str>)] = &[
        ("both", &[&old.roots[0], &old.roots[1], &fresh.roots[0], &fresh.roots[1]], Ok(2)),
        ("only the old", &[&old.roots[0], &old.roots[1]], Err("unknown_key")),
        ("only the new", &[&fresh.roots[0], &fresh.roots[1]], Err("unknown_key")),
        ("one of the new is missing", &[&old.roots[0], &old.roots[1], &fresh.roots[0]], Err("below_threshold")),
        ("one of the old is missing", &[&old.roots[0], &fresh.roots[0], &fresh.roots[1]], Err("below_threshold")),
    ];
    for (case, signers, want) in table {
        let mut store = store.clone();
        let got = store.advance(&seal(&changed, signers)).map_err(|error| error.code());
        assert_eq!(got.map(|_| store.version()), *want, "{case}");
        assert_eq!(store.version(), want.unwrap_or(1), "a refusal changes nothing: {case}");
    }
}

#[test]
fn only_forwards_and_one_step_at_a_time() {
    let keys = keys();
    let signers = [&keys.roots[0], &keys.roots[1]];
    let (mut store, first) = start(&keys);
    let second = next(&first);
    let third = TrustDocument { epoch: 2, ..next(&second) };
    let chain: Vec<_> = [&first, &second, &third].iter().map(|d| seal(d, &signers)).collect();
    assert!(matches!(store.advance(&chain[2]), Err(TrustError::Gap { have: 1, got: 3 })));
    let taken = store.advance(&chain[1]).unwrap();
    assert_eq!(taken, Advance::Taken { version: 2, new_epoch: false });
    assert_eq!(store.advance(&chain[1]).unwrap(), Advance::Unchanged);
    let taken = store.advance(&chain[2]).unwrap();
    assert_eq!(taken, Advance::Taken { version: 3, new_epoch: true });
    assert!(matches!(store.advance(&chain[1]), Err(TrustError::Rollback { have: 3, got: 2 })));
    let falling = TrustDocument { version: 4, epoch: 1, ..third.clone() };
    assert_eq!(store.advance(&seal(&falling, &signers)).unwrap_err().code(), "malformed");
    let fork = TrustDocument { coordinators: vec!["evil:1".to_owned()], ..third };
    assert_eq!(store.advance(&seal(&fork, &signers)).unwrap_err().code(), "equivocation");
    assert_eq!(store.advance(&seal(&fork, &[&keys.release])).unwrap_err().code(), "unknown_key");
}

#[test]
fn a_chain_is_walked_and_bounded() {
    let keys = keys();
    let signers = [&keys.roots[0], &keys.roots[1]];
    let (store, first) = start(&keys);
    let mut documents = vec![first];
    while documents.len() < 5 {
        documents.push(next(documents.last().unwrap()));
    }
    let chain: Vec<_> = documents.iter().map(|d| seal(d, &signers)).collect();
    let mut walked = store.clone();
    assert_eq!(walked.walk(chain.iter().map(Vec::as_slice)).unwrap(), 4);
    assert_eq!(walked.walk(chain.iter().map(Vec::as_slice)).unwrap(), 0, "a second time changes nothing");
    let old = walked.walk(chain[..3].iter().map(Vec::as_slice)).unwrap_err();
    assert_eq!(old.code(), "stale", "a chain that ends before ours is a rollback");
    let gap = store.clone().walk([chain[1].as_slice(), chain[3].as_slice()]).unwrap_err();
    assert_eq!(gap.code(), "gap");
    // An old version is passed over at the beginning of a chain, and nowhere else.
    let mut mixed = store.clone();
    let turned = mixed.walk([1, 0, 2].map(|at: usize| chain[at].as_slice())).unwrap_err();
    assert_eq!((turned.code(), mixed.version()), ("stale", 2));
    let endless = std::iter::repeat_n(chain[0].as_slice(), MAX_WALK + 1);
    assert!(matches!(store.clone().walk(endless), Err(TrustError::TooLong)));
    let big = vec![b' '; MAX_LEN * 2];
    assert_eq!(store.clone().advance(&big).unwrap_err().code(), "too_large");
    let restored = TrustStore::restore(&documents[0].fleet, walked.digest(), walked.envelope()).unwrap();
    assert_eq!(restored.document(), walked.document());
    assert!(TrustStore::restore(&documents[0].fleet, walked.digest(), store.envelope()).is_err());
}

#[test]
fn the_most_specific_rule_decides_alone() {
    let keys = keys();
    let second = key();
    let mut trust = document(&keys);
    trust.roles.release = vec![
        rule("*", None, &[&keys.release], 1),
        rule("production", None, &[&keys.release, &second], 2),
        rule("production", Some(&["web"]), &[&keys.team], 1),
    ];
    trust.validate().unwrap();
    let set = |service: &str| trust.release_keys(&service.parse().unwrap(), Acceptance::New);
    assert_eq!((set("staging/web").threshold(), set("staging/web").keys().count()), (1, 1));
    assert_eq!((set("production/api").threshold(), set("production/api").keys().count()), (2, 2));
    assert!(
        set("production/web").contains(keys.team.id()) && !set("production/web").contains(keys.release.id())
    );
    trust.roles.release.remove(0);
    let none = trust.release_keys(&"staging/web".parse().unwrap(), Acceptance::New);
    assert_eq!(none.keys().count(), 0);
}

#[test]
fn retired_keys_count_for_accepted_documents_revoked_never() {
    let keys = keys();
    let mut trust = document(&keys);
    trust.roles.release[0].keys = vec![keys.team.public()];
    trust.roles.release[0].retired = vec![keys.release.public()];
    let web = "production/web".parse().unwrap();
    assert!(!trust.release_keys(&web, Acceptance::New).contains(keys.release.id()));
    assert!(trust.release_keys(&web, Acceptance::Accepted).contains(keys.release.id()));
    trust.revoked.keys = [keys.release.id().clone(), keys.team.id().clone()].into();
    trust.revoked.releases.insert(Digest::of(b"r7"));
    trust.validate().unwrap();
    assert_eq!(trust.release_keys(&web, Acceptance::Accepted), KeySet::empty());
    assert!(trust.is_release_revoked(&Digest::of(b"r7")) && !trust.is_release_revoked(&Digest::of(b"r8")));
}

#[test]
fn a_revoked_root_key_signs_no_next_version() {
    let keys = keys();
    let (mut store, first) = start(&keys);
    let mut second = next(&first);
    second.revoked.keys.insert(keys.roots[0].id().clone());
    // It may not count for its own removal's new threshold either.
    assert_eq!(
        store.advance(&seal(&second, &[&keys.roots[0], &keys.roots[1]])).unwrap_err().code(),
        "below_threshold"
    );
    store.advance(&seal(&second, &[&keys.roots[1], &keys.roots[2]])).unwrap();
    let third = next(&second);
    assert_eq!(
        store.advance(&seal(&third, &[&keys.roots[0], &keys.roots[1]])).unwrap_err().code(),
        "below_threshold"
    );
}

#[test]
fn a_document_that_contradicts_itself_is_refused() {
    let keys = keys();
    type Edit = fn(&mut TrustDocument, &Keys);
    #[rustfmt::skip]
    let table: &[(&str, Edit)] = &[
        ("version 0", |d, _| d.version = 0),
        ("expired when made", |d, _| d.expires_at = d.created_at),
        ("threshold 0", |d, _| d.root.threshold = 0),
        ("threshold out of reach", |d, _| d.roles.dispatch.threshold = 2),
        ("no keys", |d, _| d.roles.audit.keys.clear()),
        ("too many keys", |d, _| d.root.keys = (0..65).map(|_| key().public()).collect()),
        ("one key twice", |d, _| { let k = d.root.keys[0].clone(); d.root.keys.push(k) }),
        ("root key as release key", |d, k| d.roles.release[0].keys.push(k.roots[0].public())),
        ("dispatch key as audit key", |d, k| d.roles.audit.keys.push(k.dispatch.public())),
        ("dispatch key as retired release key", |d, k| d.roles.release[0].retired.push(k.dispatch.public())),
        ("retired and current", |d, k| d.roles.release[0].retired.push(k.release.public())),
        ("two rules for one thing", |d, k| d.roles.release.push(rule("*", None, &[&k.team], 1))),
        ("two rules for one service", |d, k| d.roles.release.extend([rule("a", Some(&["x", "y"]), &[&k.team], 1), rule("a", Some(&["y"]), &[&k.team], 1)])),
        ("no CA", |d, _| d.ca.clear()),
        ("too many CAs", |d, _| d.ca = vec![Digest::of(b"ca"); 9]),
        ("no coordinator", |d, _| d.coordinators.clear()),
        ("an address with a line break", |d, _| d.coordinators.push("a\nb".to_owned())),
        ("too many coordinators", |d, _| d.coordinators = vec!["a:1".to_owned(); 33]),
        ("an address that is too long", |d, _| d.coordinators.push("x".repeat(254))),
        ("an empty host name", |d, _| { d.hosts.insert("a".parse().unwrap(), vec![String::new()]); }),
        ("roots revoked below their threshold", |d, k| d.revoked.keys = BTreeSet::from([k.roots[0].id().clone(), k.roots[1].id().clone()])),
    ];
    let mut full = document(&keys);
    full.ca = vec![Digest::of(b"ca"); 8];
    full.coordinators = vec!["x".repeat(253); 32];
    full.hosts.insert("a".parse().unwrap(), vec!["*".to_owned()]);
    full.validate().unwrap();
    for (case, edit) in table {
        let mut changed = document(&keys);
        edit(&mut changed, &keys);
        assert!(changed.validate().is_err(), "{case}");
    }
}

#[test]
fn floors_times_and_host_names() {
    let mut trust = document(&keys());
    trust.floors.insert("production/web".parse().unwrap(), Counter(7));
    assert_eq!(trust.floor(&"production/web".parse().unwrap()), Counter(7));
    assert_eq!(trust.floor(&"production/api".parse().unwrap()), Counter(0));
    assert!(trust.accepts_new_releases(trust.created_at) && !trust.accepts_new_releases(trust.expires_at));
    let production: EnvironmentId = "production".parse().unwrap();
    let names = ["shop.example.com", "*.api.example.com"].map(str::to_owned).to_vec();
    trust.hosts.insert(production.clone(), names);
    #[rustfmt::skip]
    let table = [
        ("shop.example.com", true), ("SHOP.example.com", true), ("x.shop.example.com", false),
        ("a.api.example.com", true), ("api.example.com", false), ("a.b.api.example.com", false),
        (".api.example.com", false), ("example.com", false),
    ];
    for (name, want) in table {
        assert_eq!(trust.allows_host(&production, name), want, "{name}");
    }
    let staging: EnvironmentId = "staging".parse().unwrap();
    assert!(
        trust.allows_host(&staging, "shop.example.com"),
        "an environment that is not listed has every name"
    );
    trust.hosts.insert(staging.clone(), Vec::new());
    assert!(!trust.allows_host(&staging, "shop.example.com"), "one with an empty list has none");
}

#[test]
fn the_payload_is_read_strictly() {
    let keys = keys();
    let text = serde_json::to_string(&document(&keys)).unwrap();
    assert!(serde_json::from_str::<TrustDocument>(&text).is_ok());
    assert!(!text.contains("revoked"), "what is empty is not written: one spelling");
    assert!(text.contains("\"environment\":\"*\""), "{text}");
    let scope: EnvironmentScope = serde_json::from_str("\"production\"").unwrap();
    assert_eq!((scope.to_string().as_str(), format!("{scope:?}").as_str()), ("production", "\"production\""));
    for (from, to) in [
        ("\"epoch\"", "\"extra\":1,\"epoch\""),
        ("\"epoch\":1,", ""),
        ("\"threshold\":2", "\"threshold\":2,\"x\":1"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        assert!(serde_json::from_str::<TrustDocument>(&changed).is_err(), "{to}");
    }
}

#[test]
fn a_revocation_list_is_signed_and_only_rises() {
    use crate::revocation::{ListError, RevocationList, Revocations, RevokedSet};
    let keys = keys();
    let trust = document(&keys);
    let banned: crate::identity::Identity = "spiffe://demo/agent/web-1".parse().unwrap();
    let revoked = RevokedSet { identities: [(banned, u64::MAX)].into(), ..RevokedSet::default() };
    let list =
        RevocationList { fleet: trust.fleet.clone(), version: 3, issued_at: trust.created_at, revoked };
    let sealed = |list: &RevocationList, signers: &[&SigningKey]| {
        Envelope::sign(PayloadType::Revocation, serde_json::to_vec(list).unwrap(), signers).to_bytes()
    };
    let good = sealed(&list, &[&keys.roots[0], &keys.roots[1]]);
    let read = RevocationList::open(&good, &trust, Some(2)).unwrap();
    let revocations = Revocations::new();
    revocations.apply(&read);
    assert_eq!(*revocations.current(), list.revoked);
    assert!(matches!(
        RevocationList::open(&good, &trust, Some(3)),
        Err(ListError::Stale { have: 3, got: 3 })
    ));
    let dispatch = sealed(&list, &[&keys.dispatch]);
    assert!(matches!(
        RevocationList::open(&dispatch, &trust, None),
        Err(ListError::Verify(VerifyError::UnknownKey))
    ));
    let last = RevocationList { version: u64::MAX, ..list.clone() };
    let last = sealed(&last, &[&keys.roots[0], &keys.roots[1]]);
    for have in [None, Some(3)] {
        let jumped = RevocationList::open(&last, &trust, have);
        assert!(matches!(jumped, Err(ListError::Jump { got: u64::MAX })), "no later list could count");
    }
    let other = RevocationList { fleet: "other".parse().unwrap(), ..list };
    let other = sealed(&other, &[&keys.roots[0], &keys.roots[1]]);
    assert!(matches!(RevocationList::open(&other, &trust, None), Err(ListError::WrongFleet(_))));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(TrustStore::pinned(&"demo".parse().unwrap(), Digest::of(b""), &bytes).is_err());
        prop_assert!(crate::json::decode_bounded::<TrustDocument>(&bytes, MAX_LEN).is_err());
    }
}
