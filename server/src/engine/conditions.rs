//! Telling what is wrong with instances and slots as it comes and goes: events for people, numbers for Prometheus. What is
//! remembered here is only what was told last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use windlass_core::observation::{LastExit, Observation};
use windlass_core::view::{ConditionView, conditions};
use windlass_core::{HostId, SlotId, Timestamp};

use crate::coordinator::Coordinator;
use crate::ledger::{State, WriteError};

/// Events about what is on one host, within [`WINDOW`]: one that makes up something new all the time fills no store.
const EVENTS: u32 = 60;
const WINDOW: Duration = Duration::from_secs(600);
/// Restarts of one instance that are counted from one report to the next.
const RESTARTS: u32 = 1000;

/// The conditions that were told last.
#[derive(Debug, Default)]
pub(super) struct Announced {
    hosts: BTreeMap<HostId, OfHost>,
    dirty: BTreeSet<HostId>,
}

#[derive(Debug, Default)]
struct OfHost {
    conditions: BTreeMap<Key, ConditionView>,
    restarts: BTreeMap<String, u32>,
    /// Whether the host was heard of yet. Conditions of its first report are no news.
    known: bool,
    budget: (Timestamp, u32),
}

/// Returns the observation of `host` without slots that are on another host: its events would name a service that it never ran.
fn without_foreign(state: &State, host: &HostId, seen: Arc<Observation>) -> Arc<Observation> {
    let is_foreign = |slot: &SlotId| {
        let known = state.slots.get(&slot.service).and_then(|slots| slots.get(slot));
        known.is_some_and(|known| known.host() != host)
    };
    if !seen.slots.iter().any(|of| is_foreign(&of.slot)) {
        return seen;
    }
    let mut own = Arc::unwrap_or_clone(seen);
    own.slots.retain(|of| !is_foreign(&of.slot));
    Arc::new(own)
}

/// The key of a condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    code: String,
    slot: Option<SlotId>,
    instance: Option<String>,
    device: Option<String>,
}

/// An event to write: kind, subject, message.
type Line = (&'static str, String, String);

impl Announced {
    /// A host has reported.
    pub(super) fn heard(&mut self, host: &HostId) {
        self.dirty.insert(host.clone());
    }

    /// Any host may have reported.
    pub(super) fn everything(&mut self, coordinator: &Coordinator) {
        self.dirty.extend(coordinator.ledger.read(|state| state.hosts.keys().cloned().collect::<Vec<_>>()));
    }

    /// Tells what has changed since it was last asked.
    pub(super) async fn announce(&mut self, coordinator: &Coordinator) -> anyhow::Result<()> {
        if self.dirty.is_empty() {
            return Ok(());
        }
        let now = coordinator.ledger.now();
        let mut lines: Vec<Line> = Vec::new();
        for host in std::mem::take(&mut self.dirty) {
            let member = coordinator
                .ledger
                .read(|state| state.hosts.get(&host).is_some_and(|record| record.is_member()));
            let Some(seen) = coordinator.registry.observation_of(&host).filter(|_| member) else {
                self.hosts.remove(&host);
                continue;
            };
            let seen = coordinator.ledger.read(|state| without_foreign(state, &host, seen));
            let of_host = self.hosts.entry(host.clone()).or_default();
            for (oom, count) in of_host.ends(&seen) {
                coordinator.metrics.restarted(oom, count);
            }
            lines.extend(of_host.changes(&host, &seen, now));
        }
        let all = self.hosts.values().flat_map(|of| of.conditions.values());
        coordinator.metrics.conditions(all.map(|condition| condition.code.as_str()));
        if lines.is_empty() {
            return Ok(());
        }
        let told = coordinator.ledger.write(move |batch| {
            lines.into_iter().for_each(|(kind, subject, text)| batch.event(kind, subject, text));
        });
        match told.await {
            Ok(()) | Err(WriteError::Stopping) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl OfHost {
    /// The restarts since the last report, and whether each was for memory.
    fn ends(&self, seen: &Arc<Observation>) -> Vec<(bool, u32)> {
        let instances = seen.slots.iter().flat_map(|slot| &slot.instances);
        let new = instances.filter_map(|instance| {
            let before = *self.restarts.get(&instance.id)?;
            let count = instance.restarts.saturating_sub(before).min(RESTARTS);
            let oom = instance.vitals.last_exit.is_some_and(|exit| exit.oom_killed);
            (count > 0).then_some((oom, count))
        });
        new.collect()
    }

    fn changes(&mut self, host: &HostId, seen: &Arc<Observation>, now: Timestamp) -> Vec<Line> {
        let mut lines = Vec::new();
        let found: BTreeMap<Key, ConditionView> =
            conditions(host, seen).into_iter().map(|found| (key(&found), found)).collect();
        for (key, condition) in found.iter().filter(|(key, _)| !self.conditions.contains_key(key)) {
            lines.extend(is_news(&key.code).then(|| raised(condition)));
        }
        for (key, condition) in self.conditions.iter().filter(|(key, _)| !found.contains_key(key)) {
            lines.extend(is_news(&key.code).then(|| over(condition)));
        }
        for (slot, instance) in seen.slots.iter().flat_map(|of| of.instances.iter().map(|i| (&of.slot, i))) {
            let before = self.restarts.get(&instance.id);
            let again = before.is_some_and(|before| instance.restarts > *before);
            // A crash loop is one event, not one for each restart.
            if again && instance.vitals.crash_loop.is_none() {
                let text = restarted(host, slot, instance.restarts, instance.vitals.last_exit);
                lines.push(("instance.restarted", slot.service.to_string(), text));
            }
        }
        self.conditions = found;
        let instances = seen.slots.iter().flat_map(|of| &of.instances);
        self.restarts = instances.map(|instance| (instance.id.clone(), instance.restarts)).collect();
        if !std::mem::replace(&mut self.known, true) {
            return Vec::new();
        }
        lines.retain(|_| self.may_tell(now));
        lines
    }

    fn may_tell(&mut self, now: Timestamp) -> bool {
        let (since, count) = &mut self.budget;
        if now.since(*since) >= WINDOW || now < *since {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= EVENTS
    }
}

fn key(condition: &ConditionView) -> Key {
    let (slot, instance) = (condition.slot.clone(), condition.instance.clone());
    Key { code: condition.code.clone(), slot, instance, device: condition.device.clone() }
}

/// Whether a code is news: an instance that is not ready yet is none, as a rollout says how it comes out.
fn is_news(code: &str) -> bool {
    code != "not_ready"
}

fn raised(condition: &ConditionView) -> Line {
    (kind_of(condition).0, subject(condition), condition.line())
}

fn over(condition: &ConditionView) -> Line {
    let what = condition.code.replace('_', " ");
    let text = match &condition.slot {
        Some(slot) => format!("slot {} on {}: {what} is over", slot.index, condition.host),
        None => match &condition.device {
            Some(device) => format!("{what} of {device} is over"),
            None => format!("{what} is over"),
        },
    };
    (kind_of(condition).1, subject(condition), text)
}

/// The kinds of its beginning and of its end.
fn kind_of(condition: &ConditionView) -> (&'static str, &'static str) {
    match condition.code.as_str() {
        "crash_loop" => ("instance.crash_loop", "instance.crash_loop.over"),
        "paused" => ("instance.paused", "instance.paused.over"),
        "unready" => ("instance.unready", "instance.unready.over"),
        "pull_failed" => ("slot.pull_failed", "slot.pull_failed.over"),
        "port_taken" => ("slot.port_taken", "slot.port_taken.over"),
        "start_failed" => ("slot.start_failed", "slot.start_failed.over"),
        "step_failed" => ("slot.step_failed", "slot.step_failed.over"),
        "refused" => ("slot.refused", "slot.refused.over"),
        "failed" => ("slot.failed", "slot.failed.over"),
        _ => ("host.condition", "host.condition.over"),
    }
}

fn subject(condition: &ConditionView) -> String {
    condition.slot.as_ref().map_or_else(|| condition.host.to_string(), |slot| slot.service.to_string())
}

fn restarted(host: &HostId, slot: &SlotId, restarts: u32, last: Option<LastExit>) -> String {
    let why = last.map(|exit| format!(" after {exit}")).unwrap_or_default();
    let s = if restarts == 1 { "" } else { "s" };
    format!("slot {} on {host}: started again{why}, {restarts} restart{s}", slot.index)
}

#[cfg(test)]
mod tests {
    use windlass_core::Digest;
    use windlass_core::observation::{InstanceState, SlotObservation, SlotStatus};

    use super::*;

    fn seen(restarts: u32, looping: bool) -> Arc<Observation> {
        let slot: SlotId = "default/web/0".parse().unwrap();
        let instance = serde_json::json!({
            "id": "i1", "container": null, "release": Digest::of(b"r"), "counter": "r1",
            "state": InstanceState::Healthy, "since": Timestamp::ZERO, "available": true, "endpoints": {},
            "restarts": restarts,
            "vitals": { "last_exit": { "code": 101, "oom_killed": false, "at": Timestamp::ZERO } },
        });
        let mut instance: windlass_core::observation::Instance = serde_json::from_value(instance).unwrap();
        instance.vitals.crash_loop = looping.then_some(Timestamp::ZERO);
        let of = SlotObservation {
            slot,
            release: None,
            status: SlotStatus::Settled,
            pulled: true,
            checking: false,
            pull: None,
            instances: vec![instance],
            trouble: None,
        };
        Arc::new(Observation { slots: vec![of], ..Observation::default() })
    }

    #[test]
    fn one_restart_is_counted_as_one() {
        let (host, slot) = ("web-1".parse().unwrap(), "default/web/0".parse().unwrap());
        assert_eq!(restarted(&host, &slot, 1, None), "slot 0 on web-1: started again, 1 restart");
        assert_eq!(restarted(&host, &slot, 2, None), "slot 0 on web-1: started again, 2 restarts");
    }

    #[test]
    fn a_restart_and_a_crash_loop_are_told_once() {
        let (host, now) = ("web-1".parse().unwrap(), Timestamp::from_millis(1_000_000));
        let mut of_host = OfHost::default();
        let mut kinds = |seen: &Arc<Observation>| -> Vec<&str> {
            of_host.changes(&host, seen, now).into_iter().map(|(kind, _, _)| kind).collect()
        };
        assert!(kinds(&seen(4, false)).is_empty(), "what stood before is no news");
        assert_eq!(kinds(&seen(5, false)), ["instance.restarted"]);
        assert!(kinds(&seen(5, false)).is_empty());
        assert_eq!(kinds(&seen(6, true)), ["instance.crash_loop"]);
        assert!(kinds(&seen(9, true)).is_empty());
        assert_eq!(kinds(&seen(9, false)), ["instance.crash_loop.over"]);
        assert_eq!(of_host.ends(&seen(12, true)), [(false, 3)]);
    }

    #[test]
    fn a_host_that_changes_all_the_time_is_cut_short() {
        let (host, now) = ("web-1".parse().unwrap(), Timestamp::from_millis(1_000_000));
        let mut of_host = OfHost::default();
        let told: usize = (0..500).map(|n| of_host.changes(&host, &seen(n, false), now).len()).sum();
        assert_eq!(told, EVENTS as usize);
        assert_eq!(of_host.changes(&host, &seen(900, false), now + WINDOW).len(), 1);
    }
}
