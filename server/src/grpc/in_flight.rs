//! A bound on the calls that somebody may have begun and not finished: each may hold a message of 8 MiB that never ends.
//!
//! A call counts from its headers until it is answered (a stream: until it stands, since then there is one per
//! host). Members are counted by identity, over all their connections; strangers, whose messages are small, by
//! connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use windlass_certs::identity::{Identity, Role};
use windlass_certs::tls::ConnectInfo;

/// An agent has one stream, fetches one thing at a time, and renews now and then.
const OF_AN_AGENT: usize = 6;
/// A build server may submit for many services at once.
const OF_AN_OPERATOR: usize = 64;
/// Enrolling is one call after the other.
const OF_A_STRANGER: usize = 4;

/// Calls under way. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<HashMap<Who, usize>>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Member(Identity),
    Stranger(Option<SocketAddr>),
}

/// A call under way; dropping it ends it.
#[derive(Debug)]
pub(super) struct Call {
    calls: InFlight,
    who: Who,
}

impl InFlight {
    /// One more call on `connection`; `None` if that is too many.
    pub(super) fn begin(&self, connection: Option<&ConnectInfo>) -> Option<Call> {
        let (who, most) = match connection.and_then(|connection| connection.peer.as_deref()) {
            Some(peer) if peer.identity.role() == Role::Operator => {
                (Who::Member(peer.identity.clone()), OF_AN_OPERATOR)
            }
            Some(peer) => (Who::Member(peer.identity.clone()), OF_AN_AGENT),
            None => (Who::Stranger(connection.map(|connection| connection.remote)), OF_A_STRANGER),
        };
        self.enter(who, most)
    }

    fn enter(&self, who: Who, most: usize) -> Option<Call> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry(who.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(calls);
        Some(Call { calls: self.clone(), who })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = self.calls.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = calls.get_mut(&self.who) else { return };
        *count -= 1;
        if *count == 0 {
            calls.remove(&self.who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_share_and_who_is_done_is_forgotten() {
        let calls = InFlight::default();
        let stranger = |port| Who::Stranger(Some(SocketAddr::from(([10, 0, 0, 1], port))));
        let held: Vec<Call> = (0..2).map(|_| calls.enter(stranger(1), 2).unwrap()).collect();
        assert!(calls.enter(stranger(1), 2).is_none());
        assert!(calls.enter(stranger(2), 2).is_some(), "another connection");
        drop(held);
        assert!(calls.0.lock().unwrap().is_empty());
        assert!(calls.enter(stranger(1), 2).is_some());
    }
}
