//! The things that a rollout, or the care of a service, waits for.

use serde::{Deserialize, Serialize};

use crate::gate::Verdict;
use crate::host::Liveness;
use crate::id::{HostId, SlotId};
use crate::observation::Pending;
use crate::time::Timestamp;
use crate::traffic::{Silent, Weight};

/// The thing that a rollout, or the care of a service, waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// A host that has not connected since the coordinator started, is silent or is lost.
    Host {
        /// Which.
        host: HostId,
        /// Its state.
        liveness: Liveness,
    },
    /// A host that has not taken its newest plan.
    Plan(HostId),
    /// A host that has connected and not reported yet.
    Report(HostId),
    /// A host that is ahead of a store that was set back.
    Recovering(HostId),
    /// A host whose engine does not answer.
    Engine(HostId),
    /// A host whose GPUs nobody can ask: what gets one there does not start.
    GpusSilent(HostId),
    /// A host whose agent can write nothing down, and so does nothing.
    Journal(HostId),
    /// A pull.
    Pull {
        /// Where.
        host: HostId,
        /// Bytes here.
        done: u64,
        /// Bytes in all, as far as known.
        total: u64,
    },
    /// An instance that is not available yet.
    Healthy {
        /// Where.
        host: HostId,
        /// Which.
        slot: SlotId,
    },
    /// A warm-up request or a smoke test that an instance has not answered yet.
    Answer {
        /// Where.
        host: HostId,
        /// Which instance's.
        slot: SlotId,
        /// Which, and when if that is later.
        asked: Box<Pending>,
    },
    /// Checks that a host makes before it starts anything of the release.
    Checks(HostId),
    /// A hook.
    Hook {
        /// Its name.
        hook: String,
        /// Its host.
        host: HostId,
        /// Since when its process runs, by the clock of its host; absent while it is not known to run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// A hook that has not stopped yet.
    HookStop {
        /// Its name.
        hook: String,
        /// Its host.
        host: HostId,
    },
    /// An old instance that has not stopped yet.
    Stop {
        /// Where.
        host: HostId,
        /// Which.
        slot: SlotId,
    },
    /// Requests under way on an instance that is about to stop, or an ingress that may still send it some.
    Drain {
        /// Where.
        host: HostId,
        /// Which.
        slot: SlotId,
        /// Requests under way, in all that is reported.
        in_flight: u64,
        /// The ingresses, and the end of the wait.
        #[serde(flatten)]
        by: Box<HeldUp>,
    },
    /// Ingresses that do not divide the requests by the weights of the step yet.
    Switch {
        /// The share of the new release.
        weight: Weight,
        /// Those that have not taken it; none if no table says it yet.
        missing: Vec<HostId>,
    },
    /// The end of the watch over a step of the traffic.
    Watch {
        /// The share of the new release.
        weight: Weight,
        /// The end.
        until: Timestamp,
    },
    /// The windows of a gate that still have to pass.
    Gate {
        /// Its name.
        gate: String,
        /// Windows of the step that have passed.
        passed: u32,
        /// Windows that have to.
        wanted: u32,
        /// End of the window that is under way.
        until: Timestamp,
        /// The verdict of the one before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        newest: Option<Verdict>,
    },
    /// A person who lets the traffic move.
    Approval,
    /// The same, again: an approval does not count for ever.
    ApprovalExpired {
        /// The approver.
        by: String,
        /// Until when that counted.
        expired: Timestamp,
    },
    /// The end of the soak.
    Soak(Timestamp),
    /// Room for both instances on a host.
    Room(HostId),
    /// Disruption budget: other instances that serve, before one that may serve stops.
    Others {
        /// The host of the slot.
        host: HostId,
        /// Which.
        slot: SlotId,
    },
    /// A host that takes one more slot; why none does, host by host.
    Place(String),
    /// A slot that cannot leave the host that drains: its named volume is there.
    Pinned {
        /// Where.
        host: HostId,
        /// Which.
        slot: SlotId,
    },
    /// A slot that does not leave the host that drains: its service is not at a good release, so nothing is moved.
    Unsettled {
        /// Where.
        host: HostId,
        /// Which.
        slot: SlotId,
    },
    /// A lost host whose instance must never run beside another one: until it must have stopped it by itself, or,
    /// where that is not known, until a person says that it is off.
    Fence {
        /// Which host.
        host: HostId,
    },
    /// A host that has gone from the fleet's sight to say that nothing is left there.
    Gone {
        /// Which host.
        host: HostId,
        /// Its state.
        liveness: Liveness,
    },
    /// A person.
    Person,
}

/// The ingresses that hold up a drain, and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HeldUp {
    /// Ingresses that have not taken the table in which the instance gets no requests.
    pub missing: Vec<HostId>,
    /// Those that are waited for and of which nothing is heard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<Silent>,
    /// When it is waited for no longer; absent while the table still has the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Waiting {
    /// Its kind, as JSON names it: `healthy`, `pull`.
    pub fn kind(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(kind)) => kind,
            Ok(serde_json::Value::Object(one)) => {
                one.into_iter().map(|(kind, _)| kind).next().unwrap_or_default()
            }
            _ => String::new(),
        }
    }
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host { host, liveness } => write!(f, "host {host}, which is {}", liveness.as_str()),
            Self::Plan(host) => write!(f, "host {host} to take its newest plan"),
            Self::Report(host) => write!(f, "host {host}, which has connected, to say what it runs"),
            Self::Recovering(host) => write!(f, "host {host}, which is recovering"),
            Self::Engine(host) => write!(f, "the engine of host {host} to answer"),
            Self::GpusSilent(host) => {
                write!(f, "the GPUs of host {host} to answer: their library or driver does not")
            }
            Self::Journal(host) => write!(f, "the agent of host {host} to be able to write its journal"),
            Self::Pull { host, done, total } => {
                write!(f, "host {host} to pull the image ({done} of {total} bytes)")
            }
            Self::Healthy { host, slot } => {
                write!(f, "{slot} on host {host}, which has to stay healthy for min_ready")
            }
            Self::Answer { host, slot, asked } => write!(f, "{slot} on host {host} to answer {asked}"),
            Self::Checks(host) => write!(f, "host {host} to make the checks that come before a start"),
            Self::Hook { hook, host, since: Some(since) } => {
                write!(f, "hook {hook} on {host} (runs since {since})")
            }
            Self::Hook { hook, host, since: None } => write!(f, "hook {hook} on {host} to start"),
            Self::HookStop { hook, host } => write!(f, "hook {hook} on {host} to stop"),
            Self::Stop { host, slot } => write!(f, "the old instance of {slot} on host {host} to stop"),
            Self::Drain { host, slot, in_flight, by } => {
                let HeldUp { missing, silent, until } = &**by;
                if missing.is_empty() {
                    let requests = if *in_flight == 1 { "request" } else { "requests" };
                    write!(f, "{in_flight} {requests} under way on {slot} on host {host} to end")?;
                } else {
                    let names: Vec<&str> = missing.iter().map(|host| host.as_str()).collect();
                    let names = names.join(", ");
                    write!(f, "the ingress on {names} to send no more requests to {slot} on host {host}")?;
                }
                if let Some(until) = until {
                    write!(f, ", until {until} at the latest")?;
                }
                for Silent { host, since } in silent {
                    write!(
                        f,
                        "; nothing is heard of the ingress on {host} since {since}: \
                         if it is gone, say so with `windlass routes forget {host}`"
                    )?;
                }
                Ok(())
            }
            Self::Switch { weight, missing } if missing.is_empty() => {
                write!(f, "a traffic table in which the new release has {weight}")
            }
            Self::Switch { weight, missing } => {
                let names: Vec<&str> = missing.iter().map(|host| host.as_str()).collect();
                write!(f, "the ingress on {} to give the new release {weight}", names.join(", "))
            }
            Self::Watch { weight, until } => {
                write!(f, "the end of the watch over the new release at {weight} of the traffic, {until}")
            }
            Self::Gate { gate, passed, wanted, until, newest } => {
                // A window that another gate is waited for in passes too.
                write!(f, "gate {gate}: {} of {wanted} windows have passed", passed.min(wanted))?;
                if let Some(other) = newest.filter(|newest| *newest != Verdict::Pass) {
                    write!(f, ", the last one: {}", other.as_str().replace('_', " "))?;
                }
                write!(f, "; the end of the next one at {until}")
            }
            Self::Approval => f.write_str("approval of the next step (`windlass rollout approve`)"),
            Self::ApprovalExpired { by, expired } => write!(
                f,
                "another approval of the next step (`windlass rollout approve`): that of {by} expired at {expired}"
            ),
            Self::Soak(until) => write!(f, "the end of the soak at {until}"),
            Self::Room(host) => write!(f, "room on host {host}"),
            Self::Others { host, slot } => {
                write!(f, "disruption budget, to stop {slot} on host {host}")
            }
            Self::Place(why) => write!(f, "a host that takes one more ({why})"),
            Self::Pinned { host, slot } => {
                write!(f, "{slot}, which cannot leave host {host}: its named volume is there")
            }
            Self::Unsettled { host, slot } => write!(
                f,
                "{slot}, which does not leave host {host}: its last rollout did not succeed; deploy, roll back or remove {}",
                slot.service
            ),
            Self::Fence { host } => write!(
                f,
                "lost host {host} to have stopped its instance; if it is off, say so with `windlass host evict {host}`"
            ),
            Self::Gone { host, liveness: Liveness::Connected } => {
                write!(f, "host {host} to say that nothing is left there")
            }
            Self::Gone { host, liveness } => {
                write!(f, "host {host}, which is {} and gets it when it returns", liveness.as_str())
            }
            Self::Person => f.write_str("manual action"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_windows_are_said_to_have_passed_than_wanted() {
        let words = |passed| {
            let gate = "errors".to_owned();
            let waiting = Waiting::Gate { gate, passed, wanted: 1, until: Timestamp::ZERO, newest: None };
            waiting.to_string()
        };
        assert!(words(0).starts_with("gate errors: 0 of 1 windows have passed; "), "{}", words(0));
        assert!(words(2).starts_with("gate errors: 1 of 1 windows have passed; "), "{}", words(2));
    }
}
