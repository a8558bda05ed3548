//! Which certificates no longer count, and the connections that must end when one stops counting.
//!
//! TLS asks once, at the handshake; a stream lives for weeks. So every live connection is registered here with
//! a token, and revoking trips the tokens it concerns at once.

mod list;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use windlass_core::Timestamp;

use crate::identity::{BACKDATE, Identity, PeerIdentity, Role, Serial};

pub use list::{ListError, RevocationList};

/// Live connections of one identity. An agent has one, another while it renews or comes back, and one for each of the 16
/// logs that it sends at a time at most: whatever is read, its oldest one, which carries heartbeats and plans, stays.
const MOST_OF_AN_AGENT: usize = 32;
/// A person, or a build server that deploys many services at once.
const MOST_OF_AN_OPERATOR: usize = 256;

/// The revoked certificates and members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedSet {
    /// Single certificates.
    #[serde(default)]
    pub serials: BTreeSet<Serial>,
    /// All certificates of an identity up to a generation: an evicted host may come back with a later one, a banned
    /// one has `u64::MAX`.
    #[serde(default)]
    pub identities: BTreeMap<Identity, u64>,
}

impl RevokedSet {
    /// Whether a certificate no longer counts.
    pub fn contains(&self, peer: &PeerIdentity) -> bool {
        self.serials.contains(&peer.serial)
            || self.identities.get(&peer.identity).is_some_and(|up_to| peer.generation <= *up_to)
    }
}

/// The revoked set of a process and its live connections. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    inner: Arc<Inner>,
}

/// Operators of certificates that count no more, as nobody can say who of them was revoked: a store was restored that nobody
/// had signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Certificates that were issued before then.
    pub before: Timestamp,
    /// Operators of whom it is known whether they were revoked.
    pub known: BTreeSet<Identity>,
}

impl Closed {
    fn contains(&self, peer: &PeerIdentity) -> bool {
        let is_older = peer.not_before + BACKDATE < self.before;
        peer.identity.role() == Role::Operator && is_older && !self.known.contains(&peer.identity)
    }
}

#[derive(Debug, Default)]
struct Inner {
    closed: ArcSwapOption<Closed>,
    revoked: ArcSwap<RevokedSet>,
    live: Mutex<Live>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Live {
    connections: BTreeMap<u64, (Arc<PeerIdentity>, CancellationToken)>,
    of: HashMap<Identity, BTreeSet<u64>>,
}

/// A connection's place in the register; dropping it takes it out.
#[derive(Debug)]
pub(crate) struct Registered {
    token: CancellationToken,
    at: u64,
    inner: Arc<Inner>,
}

impl Revocations {
    /// Nothing revoked, nothing live.
    pub fn new() -> Self {
        Self::default()
    }

    /// Revokes one certificate and cuts its connections. Answers how many were cut.
    pub fn revoke_serial(&self, serial: Serial) -> usize {
        self.change(|set| {
            set.serials.insert(serial.clone());
        })
    }

    /// Revokes every certificate of `identity` up to `generation` (`u64::MAX`: for ever) and cuts their
    /// connections. Answers how many were cut.
    pub fn revoke_identity(&self, identity: &Identity, generation: u64) -> usize {
        self.change(|set| {
            let up_to = set.identities.entry(identity.clone()).or_default();
            *up_to = generation.max(*up_to);
        })
    }

    /// Puts a whole list in place of the old one and cuts the connections it concerns.
    pub fn replace(&self, revoked: RevokedSet) -> usize {
        self.change(|set| set.clone_from(&revoked))
    }

    /// The set that is revoked now.
    pub fn current(&self) -> Arc<RevokedSet> {
        self.inner.revoked.load_full()
    }

    /// Whether a certificate no longer counts.
    pub fn is_revoked(&self, peer: &PeerIdentity) -> bool {
        let is_closed = || self.inner.closed.load().as_ref().is_some_and(|closed| closed.contains(peer));
        self.inner.revoked.load().contains(peer) || is_closed()
    }

    /// From now on, certificates of operators that were issued before a moment count only if it is known of whom. To be said
    /// before anybody connects.
    pub fn close(&self, closed: Closed) {
        self.inner.closed.store(Some(Arc::new(closed)));
    }

    /// The number of live connections with a certificate.
    pub fn live(&self) -> usize {
        self.lock().connections.len()
    }

    /// Registers a connection. Its token is tripped already if the certificate was revoked since its handshake. The
    /// oldest of an identity is cut when it has more than its share: the newest wins, so that a host that lost its
    /// network does not wait for its dead connections, and nobody gets the memory of thousands with one certificate.
    pub(crate) fn register(&self, peer: &Arc<PeerIdentity>, token: CancellationToken) -> Registered {
        let at = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let most = match peer.identity.role() {
            Role::Operator => MOST_OF_AN_OPERATOR,
            Role::Agent | Role::Coordinator => MOST_OF_AN_AGENT,
        };
        let oldest = {
            let mut live = self.lock();
            live.connections.insert(at, (peer.clone(), token.clone()));
            let of = live.of.entry(peer.identity.clone()).or_default();
            of.insert(at);
            let oldest = if of.len() > most { of.pop_first() } else { None };
            // Under the lock that `change` takes after it stored: one of the two sees the other.
            if self.is_revoked(peer) {
                token.cancel();
            }
            oldest.and_then(|oldest| live.connections.get(&oldest).map(|(_, token)| token.clone()))
        };
        // Outside the lock, as below.
        if let Some(oldest) = oldest {
            tracing::debug!(who = ?peer.identity, "cut its oldest connection: it has too many");
            oldest.cancel();
        }
        Registered { token, at, inner: self.inner.clone() }
    }

    fn change(&self, edit: impl Fn(&mut RevokedSet)) -> usize {
        self.inner.revoked.rcu(|old| {
            let mut new = RevokedSet::clone(old);
            edit(&mut new);
            new
        });
        let revoked = self.inner.revoked.load_full();
        let cut: Vec<CancellationToken> = self
            .lock()
            .connections
            .values()
            .filter(|(peer, token)| revoked.contains(peer) && !token.is_cancelled())
            .map(|(_, token)| token.clone())
            .collect();
        // Outside the lock: a waker may drop its connection, which takes the lock.
        cut.iter().for_each(CancellationToken::cancel);
        cut.len()
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn remove(&mut self, at: u64) {
        let Some((peer, _)) = self.connections.remove(&at) else { return };
        if let Some(of) = self.of.get_mut(&peer.identity) {
            of.remove(&at);
            if of.is_empty() {
                self.of.remove(&peer.identity);
            }
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner).remove(self.at);
        // Whatever hangs on the connection (streams, timers) ends with it.
        self.token.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ca::{CertificateAuthority, Leaf};
    use crate::identity::Grant;

    #[test]
    fn after_a_closing_only_known_or_new_operators_count() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let ca = CertificateAuthority::generate("demo".parse().unwrap(), now).unwrap();
        let who = |name: &str| Identity::operator("demo".parse().unwrap(), &name.parse().unwrap());
        let peer = |name: &str, at| {
            let issued = ca.issue_new(&Leaf::operator(who(name), Grant::admin(), 1), at).unwrap();
            issued.peer().clone()
        };
        let host = Leaf::agent(Identity::agent("demo".parse().unwrap(), "web-1".parse().unwrap()), 1);
        let host = ca.issue_new(&host, now).unwrap().peer().clone();
        let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
        let revocations = Revocations::new();
        let is_revoked = |peer: &PeerIdentity| revocations.is_revoked(peer);
        assert!(!is_revoked(&peer("mallory", now)));
        revocations.close(Closed { before: now + hour, known: [who("alice")].into() });
        assert!(is_revoked(&peer("mallory", now)), "nobody knows whether he was revoked");
        assert!(is_revoked(&peer("mallory", now + hour - second)), "to the second");
        assert!(!is_revoked(&peer("mallory", now + hour)), "issued since, and so asked for");
        assert!(!is_revoked(&peer("alice", now)), "an admin has named her");
        assert!(!is_revoked(&host), "hosts have records");
        revocations.replace(RevokedSet { identities: [(who("alice"), 1)].into(), ..RevokedSet::default() });
        assert!(is_revoked(&peer("alice", now)) && is_revoked(&peer("mallory", now)));
    }
}
