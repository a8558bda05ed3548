//! Contradictions of a trust document, beyond its signatures.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::ServiceName;

use super::{EnvironmentScope, TrustDocument};
use crate::keys::{KeyId, PublicKey};

const MAX_KEYS: usize = 64;
const MAX_CAS: usize = 8;
const MAX_COORDINATORS: usize = 32;

/// A contradiction of a trust document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrust {
    /// Versions start with 1.
    #[error("the version is 0")]
    Version,
    /// It would expire before it was written.
    #[error("it expires before it was created")]
    Times,
    /// A role that nobody can fill, or anybody can.
    #[error("role `{role}` needs {threshold} of {keys} keys")]
    Threshold {
        /// Which role.
        role: String,
        /// The number of keys that must sign.
        threshold: u32,
        /// The number of keys that could.
        keys: usize,
    },
    /// A key listed twice in one role.
    #[error("role `{role}` lists the key {key:?} twice")]
    Duplicate {
        /// Which role.
        role: String,
        /// Which key.
        key: KeyId,
    },
    /// One key, one purpose.
    #[error("the key {key:?} has two purposes, `{one}` and `{other}`")]
    TwoPurposes {
        /// Which key.
        key: KeyId,
        /// One of them.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// Two rules that say different things about the same releases.
    #[error("two rules for releases of environment `{0}` and the same services")]
    Ambiguous(EnvironmentScope),
    /// Too few or too many of something.
    #[error("{what}: {count} (1 to {limit} allowed)")]
    Count {
        /// Of what.
        what: &'static str,
        /// The number.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A coordinator address or DNS name that is not one.
    #[error("`{0}` is not an address")]
    Address(String),
    /// An epoch that leaves no room for later ones.
    #[error("the epoch rises from {from} to {to}, which is too far")]
    EpochJumps {
        /// The version before.
        from: u64,
        /// This version.
        to: u64,
    },
    /// An epoch that falls.
    #[error("the epoch falls from {from} to {to}")]
    EpochFalls {
        /// The version before.
        from: u64,
        /// This version.
        to: u64,
    },
}

impl TrustDocument {
    /// Checks everything that a signature cannot. Called on every version that is taken; call it before signing.
    pub fn validate(&self) -> Result<(), InvalidTrust> {
        if self.version == 0 {
            return Err(InvalidTrust::Version);
        }
        if self.expires_at <= self.created_at {
            return Err(InvalidTrust::Times);
        }
        let mut purposes = Purposes::default();
        self.role(&mut purposes, "root", String::from("root"), &self.root.keys, self.root.threshold)?;
        let (dispatch, audit) = (&self.roles.dispatch, &self.roles.audit);
        self.role(&mut purposes, "dispatch", "dispatch".to_owned(), &dispatch.keys, dispatch.threshold)?;
        self.role(&mut purposes, "audit", "audit".to_owned(), &audit.keys, audit.threshold)?;
        if let Some(revoke) = &self.roles.revoke {
            self.role(&mut purposes, "revoke", "revoke".to_owned(), &revoke.keys, revoke.threshold)?;
        }
        for rule in &self.roles.release {
            let name = format!("release of {}", rule.environment);
            self.role(&mut purposes, "release", name.clone(), &rule.keys, rule.threshold)?;
            for key in &rule.retired {
                purposes.add("release", key)?;
            }
            unique(&name, rule.keys.iter().chain(&rule.retired))?;
        }
        self.rules_are_distinct()?;
        count("CA pins", self.ca.len(), MAX_CAS)?;
        count("coordinators", self.coordinators.len(), MAX_COORDINATORS)?;
        let names = self.hosts.values().flatten();
        for text in self.coordinators.iter().chain(names) {
            let printable = text.bytes().all(|b| b.is_ascii_graphic());
            if text.is_empty() || text.len() > 253 || !printable {
                return Err(InvalidTrust::Address(text.chars().take(80).collect()));
            }
        }
        Ok(())
    }

    /// A role must be able to reach its threshold with keys that are not revoked: an unfillable root would lock
    /// the fleet for ever. Release roles may be emptied by a revocation, that is what it is for.
    fn role(
        &self,
        purposes: &mut Purposes,
        purpose: &'static str,
        role: String,
        keys: &[PublicKey],
        threshold: u32,
    ) -> Result<(), InvalidTrust> {
        count("keys of a role", keys.len(), MAX_KEYS)?;
        unique(&role, keys)?;
        for key in keys {
            purposes.add(purpose, key)?;
        }
        let usable = keys.iter().filter(|key| purpose != "root" || !self.is_key_revoked(key.id())).count();
        if threshold == 0 || usize::try_from(threshold).unwrap_or(usize::MAX) > usable {
            return Err(InvalidTrust::Threshold { role, threshold, keys: usable });
        }
        Ok(())
    }

    fn rules_are_distinct(&self) -> Result<(), InvalidTrust> {
        let mut seen: BTreeSet<(&EnvironmentScope, Option<&ServiceName>)> = BTreeSet::new();
        for rule in &self.roles.release {
            let services: Vec<Option<&ServiceName>> = match &rule.services {
                Some(list) => list.iter().map(Some).collect(),
                None => vec![None],
            };
            for service in services {
                if !seen.insert((&rule.environment, service)) {
                    return Err(InvalidTrust::Ambiguous(rule.environment.clone()));
                }
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Purposes(BTreeMap<KeyId, &'static str>);

impl Purposes {
    fn add(&mut self, purpose: &'static str, key: &PublicKey) -> Result<(), InvalidTrust> {
        match self.0.insert(key.id().clone(), purpose) {
            Some(one) if one != purpose => {
                Err(InvalidTrust::TwoPurposes { key: key.id().clone(), one, other: purpose })
            }
            _ => Ok(()),
        }
    }
}

fn unique<'a>(role: &str, keys: impl IntoIterator<Item = &'a PublicKey>) -> Result<(), InvalidTrust> {
    let mut seen = BTreeSet::new();
    for key in keys {
        if !seen.insert(key.id()) {
            return Err(InvalidTrust::Duplicate { role: role.to_owned(), key: key.id().clone() });
        }
    }
    Ok(())
}

const fn count(what: &'static str, count: usize, limit: usize) -> Result<(), InvalidTrust> {
    if count == 0 || count > limit { Err(InvalidTrust::Count { what, count, limit }) } else { Ok(()) }
}
