//! Conditions: what is wrong with instances, slots and hosts now, one line each, with a code that scripts can rely on.

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::fleet::Fleet;
use crate::id::{HostId, SlotId};
use crate::observation::{
    Cause, Instance, InstanceState, LastExit, NotReady, Observation, SlotObservation, SlotStatus,
};
use crate::service::Slots;
use crate::time::Timestamp;

/// Conditions of one host that are shown.
pub const CONDITIONS: usize = 256;

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ConditionView {
    /// Its kind, stable: of an instance `paused`, `not_ready` (it has never been), `unready` (it was, and is not),
    /// `crash_loop`; of a slot `pull_failed`, `port_taken`, `start_failed`, `step_failed`, `refused`, `failed`; and what
    /// agents find themselves. A newer coordinator may know more.
    pub code: String,
    /// In words.
    pub message: String,
    /// Where.
    pub host: HostId,
    /// The slot that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<SlotId>,
    /// The instance that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The device that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Since when, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The last answers that were not good, where it is about one that is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<NotReady>,
    /// Last exit of the instance, where the condition is about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
}

impl ConditionView {
    /// `slot 0 on web-1: …`.
    pub fn line(&self) -> String {
        match &self.slot {
            Some(slot) => format!("slot {} on {}: {}", slot.index, self.host, self.message),
            None => format!("{}: {}", self.host, self.message),
        }
    }
}

/// Everything that is wrong on one host.
pub fn conditions(host: &HostId, seen: &Observation) -> Vec<ConditionView> {
    let said = seen.conditions.iter().map(|said| of_agent(host, said));
    let mut found: Vec<ConditionView> =
        said.chain(seen.slots.iter().flat_map(|slot| of_slot(host, slot))).collect();
    found.truncate(CONDITIONS);
    found
}

/// The findings of its agent about the host itself or a device of it.
pub(super) fn of_host(found: &[ConditionView]) -> impl Iterator<Item = &ConditionView> {
    found.iter().filter(|found| found.slot.is_none() && found.instance.is_none())
}

/// A condition that the agent itself found.
fn of_agent(host: &HostId, said: &Condition) -> ConditionView {
    ConditionView {
        code: said.code.as_str().to_owned(),
        message: said.message.clone(),
        host: host.clone(),
        slot: said.slot.clone(),
        instance: None,
        device: said.device.clone(),
        since: None,
        not_ready: None,
        last_exit: None,
    }
}

/// Everything that is wrong in the slots of one service, as far as their hosts were heard of.
pub(super) fn of_service(slots: &Slots, fleet: &dyn Fleet) -> Vec<ConditionView> {
    let mut found = Vec::new();
    for (slot, assignment) in slots {
        let seen = fleet.member(assignment.host()).and_then(|member| member.observation.as_deref());
        let host = assignment.host();
        let said = seen.into_iter().flat_map(|seen| &seen.conditions);
        found.extend(said.filter(|said| said.slot.as_ref() == Some(slot)).map(|said| of_agent(host, said)));
        let seen = seen.and_then(|seen| seen.slot(slot));
        found.extend(seen.into_iter().flat_map(|seen| of_slot(host, seen)));
    }
    found.truncate(CONDITIONS);
    found
}

/// Everything that is wrong in one slot, the reason for the rest first.
pub fn of_slot(host: &HostId, seen: &SlotObservation) -> Vec<ConditionView> {
    let about = |code: &str, message: String, since: Option<Timestamp>| ConditionView {
        code: code.to_owned(),
        message,
        host: host.clone(),
        slot: Some(seen.slot.clone()),
        instance: None,
        device: None,
        since,
        not_ready: None,
        last_exit: None,
    };
    let mut found = Vec::new();
    if let Some(trouble) = &seen.trouble {
        found.push(about(trouble.code.as_str(), trouble.to_string(), Some(trouble.since)));
    }
    match &seen.status {
        SlotStatus::Refused(refusal) => found.push(about("refused", refusal.to_string(), None)),
        SlotStatus::Failed { evidence, .. } => {
            let text = format!("{} failed: {}", evidence.counter, evidence.words());
            found.push(about("failed", text, Some(evidence.at)));
        }
        SlotStatus::Converging | SlotStatus::Settled => {}
    }
    for instance in &seen.instances {
        let of_instance = |condition: ConditionView| ConditionView {
            instance: Some(instance.id.clone()),
            last_exit: instance.vitals.last_exit,
            ..condition
        };
        if let Some(since) = instance.vitals.crash_loop {
            found.push(of_instance(about("crash_loop", crash_loop(instance), Some(since))));
        }
        if let Some(why) = &instance.vitals.not_ready {
            let code = match (why.cause, instance.state) {
                (Cause::Paused, _) => "paused",
                (_, InstanceState::Unready) => "unready",
                (_, _) => "not_ready",
            };
            let condition = of_instance(about(code, why.to_string(), Some(why.since)));
            found.push(ConditionView { not_ready: Some(why.clone()), ..condition });
        }
    }
    found
}

fn crash_loop(instance: &Instance) -> String {
    let last = instance.vitals.last_exit.map(|exit| format!("; last {exit}")).unwrap_or_default();
    format!("crash loop: {} restarts{last}", instance.restarts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, at};
    use crate::observation::{SlotTrouble, TroubleCode};

    #[test]
    fn what_is_wrong_in_a_slot_has_a_code_and_words() {
        let host: HostId = "web-1".parse().unwrap();
        let slot: SlotId = "production/web/0".parse().unwrap();
        let release = fixture::release(1, |_| {});
        let digest = fixture::reference(&release).digest;
        let mut instance = fixture::instance(&slot, digest, &release, InstanceState::Starting);
        instance.restarts = 4;
        instance.vitals.crash_loop = Some(at(5));
        instance.vitals.last_exit = Some(LastExit { code: 137, oom_killed: true, at: at(7) });
        instance.vitals.not_ready = Some(NotReady {
            cause: Cause::Probe,
            asked: "readiness GET /health/ready".to_owned(),
            answer: "HTTP 404".to_owned(),
            failed: 9,
            of: 9,
            since: at(8),
        });
        let trouble = SlotTrouble {
            code: TroubleCode::PortTaken,
            message: "port 80 of the host is taken".to_owned(),
            tries: 3,
            since: at(2),
            retry_at: at(9),
        };
        let mut seen = SlotObservation {
            slot,
            release: Some(digest),
            status: SlotStatus::Converging,
            pulled: true,
            checking: false,
            pull: None,
            instances: vec![instance],
            trouble: Some(trouble),
        };
        let said = |seen: &SlotObservation| -> Vec<(String, String)> {
            of_slot(&host, seen).into_iter().map(|found| (found.code.clone(), found.line())).collect()
        };
        let pair = |code: &str, text: &str| (code.to_owned(), format!("slot 0 on web-1: {text}"));
        let port = pair("port_taken", "port 80 of the host is taken (tried 3 times)");
        let crash = pair("crash_loop", "crash loop: 4 restarts; last killed for memory (exit 137)");
        let probe = "readiness GET /health/ready → HTTP 404 (9 of 9 failed)";
        assert_eq!(said(&seen), [port.clone(), crash.clone(), pair("not_ready", probe)]);
        seen.instances[0].state = InstanceState::Unready;
        assert_eq!(said(&seen)[2], pair("unready", probe));
        seen.instances[0].vitals.not_ready = Some(NotReady::paused(at(8)));
        assert_eq!(said(&seen), [port, crash, pair("paused", "the container is paused")]);
    }
}
