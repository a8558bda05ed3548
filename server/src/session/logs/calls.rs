//! A bound on the answers that a host may send at a time: each may hold a message that never ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use windlass_core::HostId;

/// An agent answers 16 requests at a time; twice as many, since those of a link that broke may still stand.
const OF_A_HOST: usize = 32;

/// Calls under way, by host. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<HashMap<HostId, usize>>>);

/// A call under way; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Call {
    calls: Calls,
    host: HostId,
}

impl Calls {
    /// One more call of `host`; `None` if that is too many.
    pub(crate) fn begin(&self, host: &HostId) -> Option<Call> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry(host.clone()).or_default();
        if *count >= OF_A_HOST {
            return None;
        }
        *count += 1;
        drop(calls);
        Some(Call { calls: self.clone(), host: host.clone() })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = self.calls.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = calls.get_mut(&self.host) else { return };
        *count -= 1;
        if *count == 0 {
            calls.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_so_many_calls_and_no_more() {
        let calls = Calls::default();
        let (one, other): (HostId, HostId) = ("web-1".parse().unwrap(), "web-2".parse().unwrap());
        let mut held: Vec<Call> = (0..OF_A_HOST).map(|_| calls.begin(&one).unwrap()).collect();
        assert!(calls.begin(&one).is_none());
        assert!(calls.begin(&other).is_some(), "each host has its own");
        held.pop();
        held.push(calls.begin(&one).unwrap());
        assert!(calls.begin(&one).is_none());
        held.clear();
        assert!(calls.0.lock().unwrap().is_empty(), "who is done is forgotten");
    }
}
