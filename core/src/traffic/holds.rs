//! Ports at which a host answers with another release than its plan wants, since that one failed there. The host's agent tells
//! its own ingress, so that requests find them while nobody makes a new table.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::ServiceId;
use crate::observation::{InstanceState, Observation, SlotStatus};

use super::port_of;

/// Ports in one message.
pub const MAX_HOLDS: usize = 4096;

/// A port at which a host answers with the release that it has restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The service.
    pub service: ServiceId,
    /// The name of its port.
    pub port: String,
    /// The port of the host.
    pub number: u16,
    /// The release that answers there.
    pub release: Digest,
    /// The release that failed.
    pub failed: Digest,
    /// The port of the host at which that one answered, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<u16>,
}

/// The ports of restored releases that serve, by what an agent sees.
pub fn holds(seen: &Observation) -> Vec<Hold> {
    let mut holds = Vec::new();
    for slot in &seen.slots {
        let SlotStatus::Failed { restored: Some(restored), evidence } = &slot.status else { continue };
        let serves = slot
            .instances
            .iter()
            .find(|instance| &instance.release == restored && instance.state == InstanceState::Healthy);
        let Some(serves) = serves.filter(|_| *restored != evidence.release) else { continue };
        let failed = slot.instances.iter().find(|instance| instance.release == evidence.release);
        for (name, endpoint) in &serves.endpoints {
            let Some(number) = port_of(endpoint) else { continue };
            holds.push(Hold {
                service: slot.slot.service.clone(),
                port: name.clone(),
                number,
                release: *restored,
                failed: evidence.release,
                instead_of: failed.and_then(|failed| port_of(failed.endpoints.get(name)?)),
            });
        }
    }
    holds.truncate(MAX_HOLDS);
    holds
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Timestamp;

    fn seen(status: &Value, states: [InstanceState; 2]) -> Observation {
        let instance = |release: &str, port: u16, state: InstanceState| {
            json!({
                "id": release, "container": null, "release": Digest::of(release.as_bytes()), "counter": "r1",
                "state": state, "since": Timestamp::ZERO, "available": false, "restarts": 0,
                "endpoints": { "http": format!("10.0.0.1:{port}") },
            })
        };
        let [old, new] = states;
        serde_json::from_value(json!({
            "revision": 1, "seq": 1, "engine": "available", "plan_refusal": null,
            "slots": [{
                "slot": "production/web/0", "release": Digest::of(b"new"), "status": status, "pulled": true,
                "pull": null, "instances": [instance("new", 20_001, new), instance("old", 20_000, old)],
            }],
        }))
        .unwrap()
    }

    #[test]
    fn a_restored_release_holds_its_port_once_it_serves() {
        let failed = |restored: Value| {
            json!({ "failed": { "restored": restored, "evidence": {
                "instance": null, "release": Digest::of(b"new"), "counter": "r2", "clock": "health",
                "reason": { "exited": { "code": 1 } }, "exit_code": 1, "oom_killed": false, "restarts": 0,
                "log": [], "probes": [], "at": Timestamp::ZERO,
            } } })
        };
        let old = json!(Digest::of(b"old"));
        let wanted = Hold {
            service: "production/web".parse().unwrap(),
            port: "http".to_owned(),
            number: 20_000,
            release: Digest::of(b"old"),
            failed: Digest::of(b"new"),
            instead_of: Some(20_001),
        };
        let (up, down) = (InstanceState::Healthy, InstanceState::Failed);
        assert_eq!(holds(&seen(&failed(old.clone()), [up, down])), [wanted]);
        assert_eq!(holds(&seen(&failed(old), [InstanceState::Unready, down])), []);
        assert_eq!(holds(&seen(&failed(Value::Null), [up, down])), [], "it is not back yet");
        assert_eq!(holds(&seen(&json!("settled"), [up, up])), [], "the plan's own release serves");
    }
}
