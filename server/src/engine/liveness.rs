//! Telling when hosts come and go. Liveness is judged by the clock and never stored; what is remembered here
//! is only what people were told last.

use std::collections::BTreeMap;

use windlass_core::HostId;
use windlass_core::host::Liveness;

use crate::clock;
use crate::coordinator::Coordinator;
use crate::ledger::WriteError;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Watch {
    told: BTreeMap<HostId, Liveness>,
}

impl Watch {
    /// Tells what has changed since it was last asked. Has anything?
    pub(super) async fn changed(&mut self, coordinator: &Coordinator) -> anyhow::Result<bool> {
        let now = clock::now();
        let members: Vec<HostId> = coordinator.ledger.read(|state| {
            state
                .hosts
                .values()
                .filter(|record| record.is_member())
                .map(|record| record.name.clone())
                .collect()
        });
        let mut news = Vec::new();
        for host in members {
            let liveness = coordinator.registry.liveness(&host, now);
            let before = self.told.insert(host.clone(), liveness);
            if before != Some(liveness) {
                news.push((host, before, liveness));
            }
        }
        if news.is_empty() {
            return Ok(false);
        }
        coordinator.metrics.hosts(self.told.values());
        let lines: Vec<_> =
            news.into_iter().filter_map(|(host, old, new)| line(old, new).map(|l| (host, l))).collect();
        if !lines.is_empty() {
            let told = coordinator.ledger.write(move |draft| {
                lines.into_iter().for_each(|(host, (kind, text))| draft.event(kind, host.as_str(), text));
            });
            match told.await {
                Ok(()) | Err(WriteError::Stopping) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

/// What people hear. A host that is unknown after a start, and connected then, is no news.
fn line(before: Option<Liveness>, now: Liveness) -> Option<(&'static str, &'static str)> {
    match (before, now) {
        (Some(Liveness::Suspect | Liveness::Lost), Liveness::Connected) => {
            Some(("host.returned", "it is heard of again"))
        }
        (None | Some(Liveness::Unknown), Liveness::Connected) => Some(("host.connected", "it has connected")),
        (_, Liveness::Suspect) => Some(("host.suspect", "it has not been heard of for a while")),
        (Some(_), Liveness::Lost) => Some(("host.lost", "it is not heard of; what it runs goes on")),
        (None, Liveness::Lost)
        | (_, Liveness::Unknown)
        | (Some(Liveness::Connected), Liveness::Connected) => None,
    }
}
