//! Changes of a trust document: pure functions over the newest version. They answer with what is different, in words;
//! nothing, if the document says so already.

use std::collections::BTreeSet;

use windlass_certs::keys::{KeyId, PublicKey};
use windlass_certs::trust::{EnvironmentScope, ReleaseRole, RoleKeys, TrustDocument};

/// The role of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum KeyRole {
    /// Signs the trust document.
    Root,
    /// Signs releases.
    Release,
    /// Signs host plans, on the coordinator.
    Dispatch,
    /// Signs checkpoints of the audit log, on the coordinator.
    Audit,
    /// Signs revocation lists.
    Revoke,
}

/// A change.
#[derive(Debug, Clone)]
pub(crate) enum Amendment {
    /// A key more.
    Add {
        /// Its name.
        key: PublicKey,
        /// Its role.
        role: KeyRole,
        /// Of which environments, if it signs releases.
        scopes: Vec<EnvironmentScope>,
    },
    /// A key less.
    Remove {
        /// Its name.
        key: KeyId,
        /// In this role only.
        role: Option<KeyRole>,
        /// It fell into other hands: what only it signed starts no more.
        revoke: bool,
    },
    /// More time, with the same keys.
    Renew,
    /// A key for another.
    Rotate {
        /// The old key.
        old: KeyId,
        /// The new key.
        new: PublicKey,
    },
}

/// The reason why a change makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AmendError {
    #[error("the key {0} is revoked: it is trusted with nothing again")]
    Revoked(KeyId),
    #[error("`{role}` would be left with {keys} of the {threshold} keys that must sign")]
    TooFew { role: String, keys: usize, threshold: u32 },
    #[error("the key {0} stands nowhere in the trust document")]
    Unknown(KeyId),
}

impl AmendError {
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Revoked(_) => "make a new key".to_owned(),
            Self::TooFew { .. } => {
                "add another key first (`windlass trust add-key`), or put one in its place (`windlass trust rotate`)".to_owned()
            }
            Self::Unknown(_) => "see all keys with `windlass trust show`".to_owned(),
        })
    }
}

/// Signatures that a version still needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The least number of them.
    pub(crate) count: usize,
    /// Root keys that can give them.
    pub(crate) signers: Vec<KeyId>,
}

/// The number of root keys that must still sign `next`: the thresholds of both versions count.
pub(crate) fn missing(now: &TrustDocument, next: &TrustDocument, signed: &BTreeSet<KeyId>) -> Missing {
    let lacks = |role: &RoleKeys| {
        let have = role.keys.iter().filter(|key| signed.contains(key.id())).count();
        usize::try_from(role.threshold).unwrap_or(usize::MAX).saturating_sub(have)
    };
    let mut count = 0;
    let mut signers = BTreeSet::new();
    for role in [&now.root, &next.root] {
        let lack = lacks(role);
        count = count.max(lack);
        if lack > 0 {
            signers.extend(role.keys.iter().map(|key| key.id().clone()).filter(|id| !signed.contains(id)));
        }
    }
    Missing { count, signers: signers.into_iter().collect() }
}

impl Amendment {
    /// Changes the document. Answers with what is different.
    pub(crate) fn apply(&self, document: &mut TrustDocument) -> Result<Vec<String>, AmendError> {
        match self {
            Self::Add { key, role, scopes } => add(document, key, *role, scopes),
            Self::Remove { key, role, revoke } => remove(document, key, *role, *revoke),
            Self::Rotate { old, new } => rotate(document, old, new),
            Self::Renew => Ok(Vec::new()),
        }
    }
}

fn add(
    document: &mut TrustDocument,
    key: &PublicKey,
    role: KeyRole,
    scopes: &[EnvironmentScope],
) -> Result<Vec<String>, AmendError> {
    if document.is_key_revoked(key.id()) {
        return Err(AmendError::Revoked(key.id().clone()));
    }
    if role == KeyRole::Release {
        return Ok(scopes.iter().flat_map(|scope| add_release(document, key, scope)).collect());
    }
    let fallback = RoleKeys { keys: Vec::new(), threshold: 1 };
    let (name, keys) = match role {
        KeyRole::Root => ("root", &mut document.root.keys),
        KeyRole::Dispatch => ("dispatch", &mut document.roles.dispatch.keys),
        KeyRole::Audit => ("audit", &mut document.roles.audit.keys),
        KeyRole::Revoke | KeyRole::Release => {
            ("revoke", &mut document.roles.revoke.get_or_insert(fallback).keys)
        }
    };
    if keys.contains(key) {
        return Ok(Vec::new());
    }
    keys.push(key.clone());
    Ok(vec![format!("the key {} is one of role `{name}`", key.id().short())])
}

/// Rules are not added up, so that a rule of its own for an environment says everything that counted there before, and
/// the key.
fn add_release(document: &mut TrustDocument, key: &PublicKey, scope: &EnvironmentScope) -> Vec<String> {
    let rules = &mut document.roles.release;
    let told = vec![format!("the key {} signs releases of `{scope}`", key.id().short())];
    let whole = |rule: &&mut ReleaseRole| rule.environment == *scope && rule.services.is_none();
    if let Some(rule) = rules.iter_mut().find(whole) {
        if rule.keys.contains(key) {
            return Vec::new();
        }
        rule.retired.retain(|retired| retired != key);
        rule.keys.push(key.clone());
        return told;
    }
    let wide: Vec<ReleaseRole> =
        rules.iter().filter(|rule| rule.environment == EnvironmentScope::Any).cloned().collect();
    let base = wide.iter().find(|rule| rule.services.is_none());
    if base.is_some_and(|rule| rule.keys.contains(key)) {
        return Vec::new();
    }
    // A rule of the environment wins over `*` with a service: that one is kept for the environment too.
    let named: BTreeSet<_> = rules
        .iter()
        .filter(|rule| rule.environment == *scope)
        .flat_map(|rule| rule.services.clone().unwrap_or_default())
        .collect();
    for rule in wide.iter().filter(|rule| rule.services.is_some()) {
        let services: BTreeSet<_> =
            rule.services.iter().flatten().filter(|s| !named.contains(*s)).cloned().collect();
        if !services.is_empty() {
            rules.push(ReleaseRole { environment: scope.clone(), services: Some(services), ..rule.clone() });
        }
    }
    let mut keys = base.map(|rule| rule.keys.clone()).unwrap_or_default();
    keys.push(key.clone());
    let mut retired = base.map(|rule| rule.retired.clone()).unwrap_or_default();
    retired.retain(|old| old != key);
    let threshold = base.map_or(1, |rule| rule.threshold);
    rules.push(ReleaseRole { environment: scope.clone(), services: None, keys, threshold, retired });
    told.into_iter()
        .chain([format!(
            "`{scope}` has a rule of its own now, with the keys of `*` and this one; {threshold} must sign"
        )])
        .collect()
}

fn remove(
    document: &mut TrustDocument,
    key: &KeyId,
    role: Option<KeyRole>,
    revoke: bool,
) -> Result<Vec<String>, AmendError> {
    if !stands(document, key) {
        return Err(AmendError::Unknown(key.clone()));
    }
    let mut changes = Vec::new();
    let is_meant = |which: KeyRole| role.is_none_or(|role| role == which);
    for (which, name, keys) in plain(document) {
        if is_meant(which) && keys.keys.iter().any(|known| known.id() == key) {
            keys.keys.retain(|known| known.id() != key);
            enough(name, keys.keys.len(), keys.threshold)?;
            changes.push(format!("the key {} is none of role `{name}` any more", key.short()));
        }
    }
    for rule in document.roles.release.iter_mut().filter(|_| is_meant(KeyRole::Release)) {
        let Some(at) = rule.keys.iter().position(|known| known.id() == key) else { continue };
        let gone = rule.keys.remove(at);
        enough(&format!("release {}", rule.environment), rule.keys.len(), rule.threshold)?;
        if !revoke {
            // A retired key: hosts go on running the releases of it that they have taken.
            rule.retired.push(gone);
        }
        changes.push(format!("the key {} signs no new release of `{}`", key.short(), rule.environment));
    }
    if revoke && document.revoked.keys.insert(key.clone()) {
        changes.push(format!("the key {} is revoked: what only it signed starts no more", key.short()));
    }
    Ok(changes)
}

fn rotate(document: &mut TrustDocument, old: &KeyId, new: &PublicKey) -> Result<Vec<String>, AmendError> {
    if document.is_key_revoked(new.id()) {
        return Err(AmendError::Revoked(new.id().clone()));
    }
    let mut changes = Vec::new();
    let mut put = |name: &str, keys: &mut Vec<PublicKey>| {
        let at = keys.iter().position(|known| known.id() == old)?;
        let is_there = keys.contains(new);
        let gone = if is_there { keys.remove(at) } else { std::mem::replace(&mut keys[at], new.clone()) };
        changes.push(format!("`{name}`: the key {} for {}", new.id().short(), old.short()));
        Some(gone)
    };
    for (_, name, keys) in plain(document) {
        put(name, &mut keys.keys);
    }
    for rule in &mut document.roles.release {
        let name = format!("release {}", rule.environment);
        if let Some(gone) = put(&name, &mut rule.keys) {
            rule.retired.retain(|retired| retired != new);
            rule.retired.push(gone);
        }
    }
    for (_, name, keys) in plain(document) {
        enough(name, keys.keys.len(), keys.threshold)?;
    }
    for rule in &document.roles.release {
        enough(&format!("release {}", rule.environment), rule.keys.len(), rule.threshold)?;
    }
    if changes.is_empty() && !stands(document, new.id()) {
        return Err(AmendError::Unknown(old.clone()));
    }
    Ok(changes)
}

/// Every role but releases.
fn plain(document: &mut TrustDocument) -> impl Iterator<Item = (KeyRole, &'static str, &mut RoleKeys)> {
    let roles = &mut document.roles;
    [
        (KeyRole::Root, "root", Some(&mut document.root)),
        (KeyRole::Dispatch, "dispatch", Some(&mut roles.dispatch)),
        (KeyRole::Audit, "audit", Some(&mut roles.audit)),
        (KeyRole::Revoke, "revoke", roles.revoke.as_mut()),
    ]
    .into_iter()
    .filter_map(|(role, name, keys)| keys.map(|keys| (role, name, keys)))
}

/// Returns whether the document names the key in any role.
fn stands(document: &TrustDocument, key: &KeyId) -> bool {
    all(document).any(|known| known.id() == key) || document.is_key_revoked(key)
}

/// Every key of the document.
pub(crate) fn all(document: &TrustDocument) -> impl Iterator<Item = &PublicKey> {
    let roles = &document.roles;
    let revoke = roles.revoke.iter().flat_map(|role| &role.keys);
    let release = roles.release.iter().flat_map(|rule| rule.keys.iter().chain(&rule.retired));
    document
        .root
        .keys
        .iter()
        .chain(&roles.dispatch.keys)
        .chain(&roles.audit.keys)
        .chain(revoke)
        .chain(release)
}

fn enough(role: &str, keys: usize, threshold: u32) -> Result<(), AmendError> {
    if keys >= usize::try_from(threshold).unwrap_or(usize::MAX) && keys > 0 {
        Ok(())
    } else {
        Err(AmendError::TooFew { role: role.to_owned(), keys, threshold })
    }
}

#[cfg(test)]
mod tests;
