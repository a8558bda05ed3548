use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{Acceptance, Roles};
use windlass_core::{ServiceId, Timestamp};
use windlass_testkit::keys::Keys;

use super::*;

fn key() -> PublicKey {
    SigningKey::generate().unwrap().public()
}

fn rule(environment: &str, services: Option<&str>, keys: &[&PublicKey], threshold: u32) -> ReleaseRole {
    ReleaseRole {
        environment: environment.to_owned().try_into().unwrap(),
        services: services.map(|name| [name.parse().unwrap()].into()),
        keys: keys.iter().map(|key| (*key).clone()).collect(),
        threshold,
        retired: Vec::new(),
    }
}

fn document(release: Vec<ReleaseRole>) -> TrustDocument {
    let usual = Keys::generate().document(Timestamp::from_millis(1_800_000_000_000));
    TrustDocument { roles: Roles { release, ..usual.roles }, ..usual }
}

fn release(key: &PublicKey, scopes: &[&str]) -> Amendment {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned().try_into().unwrap()).collect();
    Amendment::Add { key: key.clone(), role: KeyRole::Release, scopes }
}

/// The keys that may sign releases of a service, and the threshold.
fn may(document: &TrustDocument, service: &str, key: &PublicKey) -> bool {
    let service: ServiceId = service.parse().unwrap();
    let rule = document.release_rule(&service.environment, &service.name);
    assert!(document.release_keys(&service, Acceptance::New).threshold() > 0);
    rule.is_some_and(|rule| rule.keys.contains(key))
}

#[test]
fn key_for_one_environment_takes_nothing_from_others() {
    let (alice, bob, vault) = (key(), key(), key());
    let rules = vec![rule("*", None, &[&alice], 1), rule("*", Some("vault"), &[&alice, &vault], 2)];
    let mut next = document(rules);
    let told = release(&bob, &["staging"]).apply(&mut next).unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    next.validate().unwrap();
    for (service, who, want) in [
        ("staging/web", &bob, true),
        ("staging/web", &alice, true),
        ("production/web", &bob, false),
        ("production/web", &alice, true),
        ("staging/vault", &bob, false),
        ("staging/vault", &vault, true),
    ] {
        assert_eq!(may(&next, service, who), want, "{service}");
    }
    let vaults = next.release_rule(&"staging".parse().unwrap(), &"vault".parse().unwrap()).unwrap();
    assert_eq!(vaults.threshold, 2, "a rule of the environment lowers no threshold");
    assert!(release(&bob, &["staging"]).apply(&mut next.clone()).unwrap().is_empty(), "twice is once");
    assert!(release(&alice, &["test"]).apply(&mut next).unwrap().is_empty(), "`*` says so already");
    let told = release(&bob, &["*"]).apply(&mut next).unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(may(&next, "production/web", &bob));
}

#[test]
fn a_key_that_goes_is_retired_or_revoked_and_never_the_last() {
    let (alice, bob) = (key(), key());
    let full = document(vec![rule("*", None, &[&alice, &bob], 1)]);
    let remove = |key: &PublicKey, revoke| Amendment::Remove { key: key.id().clone(), role: None, revoke };
    let mut next = full.clone();
    assert_eq!(remove(&bob, false).apply(&mut next).unwrap().len(), 1);
    assert_eq!(next.roles.release[0].retired, std::slice::from_ref(&bob));
    assert!(remove(&bob, false).apply(&mut next).unwrap().is_empty(), "twice is once");
    let last = remove(&alice, false).apply(&mut next.clone()).unwrap_err();
    assert!(
        matches!(last, AmendError::TooFew { keys: 0, .. }) && last.hint().unwrap().contains("add-key"),
        "{last}"
    );
    let stranger = key();
    assert!(matches!(remove(&stranger, false).apply(&mut next), Err(AmendError::Unknown(_))));
    let mut next = full;
    assert_eq!(remove(&bob, true).apply(&mut next).unwrap().len(), 2);
    assert!(next.is_key_revoked(bob.id()) && next.roles.release[0].retired.is_empty());
    assert!(matches!(release(&bob, &["*"]).apply(&mut next), Err(AmendError::Revoked(_))));
    let root = next.root.keys[0].clone();
    assert!(matches!(remove(&root, false).apply(&mut next), Err(AmendError::TooFew { .. })));
}

#[test]
fn a_key_takes_the_place_of_another() {
    let (alice, new) = (key(), key());
    let mut next = document(vec![rule("*", None, &[&alice], 1), rule("staging", None, &[&alice], 1)]);
    let rotate =
        |old: &PublicKey, new: &PublicKey| Amendment::Rotate { old: old.id().clone(), new: new.clone() };
    assert_eq!(rotate(&alice, &new).apply(&mut next).unwrap().len(), 2);
    for rule in &next.roles.release {
        assert_eq!(rule.keys, std::slice::from_ref(&new));
        assert_eq!(rule.retired, std::slice::from_ref(&alice));
    }
    assert!(rotate(&alice, &new).apply(&mut next).unwrap().is_empty(), "twice is once");
    let (root, other) = (next.root.keys[0].clone(), key());
    rotate(&root, &other).apply(&mut next).unwrap();
    assert_eq!(next.root.keys, [other]);
    assert!(matches!(rotate(&key(), &key()).apply(&mut next), Err(AmendError::Unknown(_))));
}

#[test]
fn both_versions_root_keys_must_sign() {
    let (a, b, c) = (key(), key(), key());
    let mut now = document(vec![rule("*", None, &[&key()], 1)]);
    now.root = RoleKeys { keys: vec![a.clone(), b.clone(), c.clone()], threshold: 2 };
    let signed = |keys: &[&PublicKey]| keys.iter().map(|key| key.id().clone()).collect::<BTreeSet<_>>();
    let lacks = missing(&now, &now, &signed(&[&a]));
    assert_eq!((lacks.count, signed(&[&b, &c])), (1, lacks.signers.into_iter().collect()));
    assert_eq!(missing(&now, &now, &signed(&[&a, &b])), Missing { count: 0, signers: Vec::new() });
    let (mut next, d) = (now.clone(), key());
    next.root = RoleKeys { keys: vec![d.clone()], threshold: 1 };
    let lacks = missing(&now, &next, &signed(&[&a, &b]));
    assert_eq!((lacks.count, lacks.signers), (1, vec![d.id().clone()]));
    assert_eq!(missing(&now, &next, &signed(&[&a, &b, &d])).count, 0);
}
