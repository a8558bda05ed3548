//! Telling when hosts come and go. Liveness is judged by the clock and never stored; what is remembered here
//! is only what people were told last.

use std::collections::BTreeMap;

use windlass_core::HostId;
use windlass_core::host::Liveness;
use windlass_core::time::display_duration;

use crate::config::LivenessRules;
use crate::coordinator::Coordinator;
use crate::ledger::WriteError;

/// The states that were told last.
#[derive(Debug, Default)]
pub(super) struct Watch {
    told: BTreeMap<HostId, LastAnnounced>,
}

#[derive(Debug, Clone, Copy)]
struct LastAnnounced {
    liveness: Liveness,
    /// Whether the host was connected since this coordinator started.
    seen: bool,
}

impl Watch {
    /// Tells what has changed since the last call; returns whether anything has.
    pub(super) async fn changed(&mut self, coordinator: &Coordinator) -> anyhow::Result<bool> {
        let now = coordinator.ledger.now();
        let started = coordinator.registry.started();
        let members: Vec<(HostId, bool)> = coordinator.ledger.read(|state| {
            let members = state.hosts.values().filter(|record| record.is_member());
            members.map(|record| (record.name.clone(), record.joined_at >= started)).collect()
        });
        let (mut changed, mut lines) = (false, Vec::new());
        self.told.retain(|host, _| members.binary_search_by(|(name, _)| name.cmp(host)).is_ok());
        let liveness = coordinator.registry.liveness_of_all(members.iter().map(|(host, _)| host), now);
        for ((host, new_here), liveness) in members.into_iter().zip(liveness) {
            let before = self.told.get(&host).copied();
            let seen = before.is_some_and(|told| told.seen);
            if before.map(|told| told.liveness) != Some(liveness) {
                changed = true;
                let rules = *coordinator.registry.rules();
                lines.extend(line(seen, new_here, liveness, rules).map(|line| (host.clone(), line)));
            }
            self.told.insert(host, LastAnnounced { liveness, seen: seen || liveness == Liveness::Connected });
        }
        if !changed {
            return Ok(false);
        }
        coordinator.metrics.hosts(self.told.values().map(|told| told.liveness));
        if !lines.is_empty() {
            let told = coordinator.ledger.write(move |batch| {
                lines.into_iter().for_each(|(host, (kind, text))| batch.event(kind, host.as_str(), text));
            });
            match told.await {
                Ok(()) | Err(WriteError::Stopping) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

/// The event of a change. Known hosts that connect after a start of the coordinator are no news; those that do not, are.
fn line(seen: bool, new_here: bool, now: Liveness, rules: LivenessRules) -> Option<(&'static str, String)> {
    let LivenessRules { suspect, lost, unknown, .. } = rules;
    match (now, seen, new_here) {
        (Liveness::Connected, true, _) => {
            Some(("host.returned", "host returned: connected again".to_owned()))
        }
        (Liveness::Connected, false, true) => Some(("host.connected", "host connected".to_owned())),
        (Liveness::Suspect, true, _) => {
            Some(("host.suspect", format!("host suspect: no contact for {}", display_duration(suspect))))
        }
        (Liveness::Lost, true, _) | (Liveness::Lost, false, false) => {
            let silent = display_duration(if seen { lost } else { unknown });
            Some(("host.lost", format!("host lost: no contact for {silent}; its containers keep running")))
        }
        (Liveness::Connected | Liveness::Suspect, false, false)
        | (Liveness::Suspect | Liveness::Lost, false, true)
        | (Liveness::Unknown, _, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_and_no_news() {
        #[rustfmt::skip]
        let table = [
            ("a new host connects", false, true, Liveness::Connected, Some("host.connected")),
            ("a known host connects after a start", false, false, Liveness::Connected, None),
            ("it is silent", true, false, Liveness::Suspect, Some("host.suspect")),
            ("it is gone", true, false, Liveness::Lost, Some("host.lost")),
            ("it comes back", true, true, Liveness::Connected, Some("host.returned")),
            ("it never came after a start", false, false, Liveness::Lost, Some("host.lost")),
            ("it has joined and not connected yet", false, true, Liveness::Lost, None),
            ("a start", false, false, Liveness::Unknown, None),
        ];
        let rules = LivenessRules::default();
        for (case, seen, new_here, now, want) in table {
            assert_eq!(line(seen, new_here, now, rules).map(|(kind, _)| kind), want, "{case}");
        }
    }

    #[test]
    fn events_of_silent_hosts_name_how_long() {
        let rules = LivenessRules::default();
        let said = |seen, now| line(seen, false, now, rules).map(|(_, text)| text).unwrap();
        assert_eq!(said(true, Liveness::Suspect), "host suspect: no contact for 15s");
        assert_eq!(said(true, Liveness::Lost), "host lost: no contact for 30s; its containers keep running");
        assert_eq!(said(false, Liveness::Lost), "host lost: no contact for 1m; its containers keep running");
    }
}
