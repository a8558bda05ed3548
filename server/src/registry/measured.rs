//! Measurements of hosts and instances, as they said last.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use windlass_core::host::{HostStats, Usage};
use windlass_core::{HostId, Timestamp};

use super::{Live, Registry};

impl Live {
    /// Takes a measurement in. One that was said before is as old as it was.
    pub(super) fn measured(&mut self, mut stats: HostStats, now: Timestamp) {
        let known = self.stats.as_ref().filter(|known| known.at == stats.at);
        stats.told_at = known.and_then(|known| known.told_at).or(Some(now));
        self.stats = Some(Arc::new(stats));
    }
}

impl Registry {
    /// A host says how it does. Only a heartbeat is a sign of life.
    pub(crate) fn measured(&self, host: &HostId, stats: HostStats, now: Timestamp) {
        self.with(host, |live| live.measured(stats, now));
    }

    /// The last measurements of a host.
    pub(crate) fn stats_of(&self, host: &HostId) -> Option<Arc<HostStats>> {
        self.look(host, |live| live.stats.clone()).flatten()
    }

    /// The measurements of every host that has sent some lately.
    pub(crate) fn fresh_stats(&self, now: Timestamp) -> BTreeMap<HostId, Arc<HostStats>> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = |live: &Live| live.stats.clone().filter(|stats| stats.is_fresh(now));
        hosts.iter().filter_map(|(host, live)| Some((host.clone(), fresh(live)?))).collect()
    }

    /// The use of an instance on a host.
    pub(crate) fn usage_of(&self, host: &HostId, instance: &str) -> Option<Usage> {
        self.look(host, |live| live.stats.as_ref().and_then(|stats| stats.usage(instance))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::host::InstanceStats;

    use super::*;
    use crate::clock::Clock;
    use crate::config::LivenessRules;

    #[test]
    fn a_measurement_that_is_said_again_stays_as_old_as_it_is() {
        let at = |second: i64| Timestamp::from_millis(second * 1000);
        let registry = Registry::new(LivenessRules::default(), Clock::system());
        let host: HostId = "web-1".parse().unwrap();
        let instance =
            InstanceStats { instance: "web.1".to_owned(), memory_used: 7, ..InstanceStats::default() };
        let forged = Some(at(9999));
        let first =
            HostStats { at: Some(at(1)), told_at: forged, instances: vec![instance], ..HostStats::default() };
        assert_eq!(registry.usage_of(&host, "web.1"), None);
        registry.measured(&host, first.clone(), at(100));
        registry.heard(&host, Some(first.clone()), at(160)); // an agent of before, whose collector hangs
        let usage = registry.usage_of(&host, "web.1").unwrap();
        assert_eq!((usage.memory_used, usage.at), (7, at(100)));
        assert!(registry.fresh_stats(at(130)).contains_key(&host));
        assert!(registry.fresh_stats(at(131)).is_empty(), "old figures are no figures");
        registry.measured(&host, HostStats { at: Some(at(2)), ..first }, at(161));
        assert_eq!(registry.usage_of(&host, "web.1").unwrap().at, at(161));
    }
}
