//! The fleet around one service. Most looks at a service place nothing, and then only the hosts of its own slots
//! count: that is what keeps the cost of a step the same however large the fleet grows around it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use windlass_core::fleet::{Fleet, Member};
use windlass_core::gate::{Answer, QuestionKey};
use windlass_core::host::Usage;
use windlass_core::slot::Slot;
use windlass_core::traffic::{ServiceWindows, Traffic};
use windlass_core::{HostId, ServiceId, Timestamp};

use super::{Live, Registry};
use crate::in_order::InOrder;
use crate::ledger::State;
use crate::routes;

/// The hosts of a service's slots, and behind them all others, should a decision ask for them.
#[derive(Debug)]
pub(crate) struct Near<'a> {
    registry: &'a Registry,
    state: &'a State,
    service: &'a ServiceId,
    now: Timestamp,
    since: Timestamp,
    /// Hosts of its slots; `None` for one that is no member any more.
    own: BTreeMap<HostId, Option<Member>>,
    all: OnceCell<BTreeMap<HostId, Member>>,
    traffic: OnceCell<Traffic>,
    /// The counters of its own requests, as of now.
    windows: OnceCell<Option<Arc<ServiceWindows>>>,
}

impl<'a> Near<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        state: &'a State,
        service: &'a ServiceId,
        now: Timestamp,
    ) -> Self {
        let hosts = registry.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let nothing = Live::default();
        // In order, so that the map is built at once.
        let slots = state.slots.get(service).into_iter().flat_map(BTreeMap::values);
        let names: BTreeSet<&HostId> = slots.map(Slot::host).collect();
        let (mut records, mut lives) = (InOrder::new(&state.hosts), InOrder::new(&*hosts));
        let mut plans = InOrder::new(&state.plans);
        let mut member = |host: &HostId| {
            let record = records.get(host).filter(|record| record.is_member())?;
            let (live, plan) = (lives.get(host).unwrap_or(&nothing), plans.get(host));
            Some(registry.member(state, record, (live, plan), Some(service), now))
        };
        let own = names.into_iter().map(|host| (host.clone(), member(host))).collect();
        let since = registry.counts_since(state, now);
        let (all, traffic, windows) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { registry, state, service, now, since, own, all, traffic, windows }
    }
}

impl Fleet for Near<'_> {
    fn since(&self) -> Timestamp {
        self.since
    }

    fn member(&self, host: &HostId) -> Option<&Member> {
        match self.own.get(host) {
            Some(member) => member.as_ref(),
            None => self.all().get(host),
        }
    }

    fn traffic(&self) -> Option<&Traffic> {
        Some(self.traffic.get_or_init(|| routes::traffic(self.state, self.registry)))
    }

    fn windows(&self, service: &ServiceId) -> Option<&ServiceWindows> {
        let own = Some(service).filter(|service| *service == self.service)?;
        self.windows.get_or_init(|| self.registry.windows_of(own)).as_deref()
    }

    fn answer(&self, question: &QuestionKey) -> Option<Answer> {
        self.registry.answer(question)
    }

    fn usage(&self, host: &HostId, instance: &str) -> Option<Usage> {
        self.registry.usage_of(host, instance)
    }

    fn all(&self) -> &BTreeMap<HostId, Member> {
        self.all.get_or_init(|| {
            let hosts = self.registry.hosts.read().unwrap_or_else(PoisonError::into_inner);
            let nothing = Live::default();
            let members = self.state.hosts.values().filter(|record| record.is_member()).map(|record| {
                // Observations go on coming in: one decision sees each host as one thing.
                let member = self.own.get(&record.name).cloned().flatten().unwrap_or_else(|| {
                    let live = hosts.get(&record.name).unwrap_or(&nothing);
                    let plan = self.state.plans.get(&record.name);
                    self.registry.member(self.state, record, (live, plan), Some(self.service), self.now)
                });
                (record.name.clone(), member)
            });
            members.collect()
        })
    }
}

#[cfg(test)]
mod tests;
