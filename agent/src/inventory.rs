//! `inventory`: what this host is, allows, runs and refused, without asking a coordinator.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use windlass_core::host::HostFacts;
use windlass_core::observation::{EngineState, RefusalCode, SlotObservation, SlotStatus};
use windlass_core::reconcile::Quarantined;
use windlass_core::{Digest, ServiceId, Timestamp};

use crate::config::Config;
use crate::data::DataDir;
use crate::failure::Failure;
use crate::member::Member;
use crate::state::Journal;
use crate::status::Status;
use crate::{facts, gpu, policy};

/// The longest time to count GPUs where no agent runs.
const GPUS: Duration = Duration::from_secs(10);

/// Everything known about this host.
#[derive(Debug, Serialize)]
pub struct Inventory {
    /// The fleet.
    pub fleet: String,
    /// The host's name.
    pub host: String,
    /// Whether an agent runs, and when it said so last.
    pub agent: Agent,
    /// Version of the trust document in force.
    pub trust_version: u64,
    /// Number of the plan in force; 0 if none.
    pub plan_seq: u64,
    /// Facts of the host, its policy included.
    pub facts: HostFacts,
    /// Whether the engine can be asked.
    pub engine: EngineState,
    /// The slots of the plan, and what is in them.
    pub slots: Vec<SlotObservation>,
    /// The number of refusals of each rule since the agent started.
    pub refusals: BTreeMap<RefusalCode, u64>,
    /// Contents that failed here and are not tried again unasked.
    pub quarantine: BTreeMap<ServiceId, BTreeMap<Digest, Quarantined>>,
}

/// The agent's process.
#[derive(Debug, Serialize)]
pub struct Agent {
    /// Whether one runs.
    pub running: bool,
    /// The coordinator it is connected to; empty if none.
    pub coordinator: String,
    /// When it spoke last.
    pub seen_at: Option<Timestamp>,
}

/// Reads everything.
pub async fn collect(config: &Config) -> Result<Inventory, Failure> {
    let data = DataDir::open(&config.data)?;
    let member = Member::load(&data)?;
    let policy = policy::load(&config.policy)?;
    let running = data.is_running();
    let state = Journal::open(&data.journal()).ok().map(|journal| journal.state());
    let status = Status::load(&data.status());
    let facts = match status.as_ref().filter(|_| running) {
        Some(status) => status.facts.clone(),
        None => {
            let seen = gpu::ask_once(GPUS).await.unwrap_or_default();
            facts::of_host(&member, &policy, &seen)
        }
    };
    Ok(Inventory {
        fleet: member.fleet.to_string(),
        host: member.host.to_string(),
        agent: Agent {
            running,
            coordinator: status
                .as_ref()
                .map(|s| s.coordinator.clone())
                .filter(|_| running)
                .unwrap_or_default(),
            seen_at: status.as_ref().map(|status| status.at),
        },
        trust_version: state.as_ref().map_or(0, |state| state.trust.version),
        plan_seq: state.as_ref().and_then(|state| state.plan.as_ref()).map_or(0, |plan| plan.seq),
        facts,
        engine: status.as_ref().map(|status| status.observation.engine.clone()).unwrap_or_default(),
        slots: status.as_ref().map(|status| status.observation.slots.clone()).unwrap_or_default(),
        refusals: status.map(|status| status.refusals).unwrap_or_default(),
        quarantine: state.map(|state| state.memory.quarantine.clone()).unwrap_or_default(),
    })
}

/// GiB with one decimal.
fn tenths(bytes: u64) -> String {
    let tenths = (u128::from(bytes) * 10 + (1 << 29)) >> 30;
    format!("{}.{}", tenths / 10, tenths % 10)
}

impl Inventory {
    /// For a terminal.
    pub fn table(&self) -> String {
        let facts = &self.facts;
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<12} {value}");
        };
        row("host", format!("{} ({})", self.host, facts.hostname));
        row("fleet", format!("{}, trust version {}", self.fleet, self.trust_version));
        let agent = match (self.agent.running, self.agent.coordinator.as_str()) {
            (false, _) => "not running".to_owned(),
            (true, "") => "running, no coordinator connected".to_owned(),
            (true, coordinator) => format!("running, connected to {coordinator}"),
        };
        row("agent", agent);
        row("plan", if self.plan_seq == 0 { "none".to_owned() } else { format!("seq {}", self.plan_seq) });
        row("system", format!("{}, {}, {}", facts.os, facts.kernel, facts.platform));
        let cores = facts.cpu_millis / 1000;
        row("resources", format!("{cores} cores, {} GiB, {} GPUs", tenths(facts.memory), facts.gpus.len()));
        let labels: Vec<String> = facts.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        row("labels", if labels.is_empty() { "none".to_owned() } else { labels.join(", ") });
        row("registries", facts.policy.registries.join(", "));
        for slot in &self.slots {
            let status = match &slot.status {
                SlotStatus::Converging => "converging".to_owned(),
                SlotStatus::Settled => "settled".to_owned(),
                SlotStatus::Refused(refusal) => format!("refused: {refusal}"),
                SlotStatus::Failed { evidence, .. } => format!("failed: {}", evidence.reason),
            };
            let instances: Vec<String> =
                slot.instances.iter().map(|seen| format!("{} {}", seen.id, seen.state.as_str())).collect();
            row("slot", format!("{} {status} [{}]", slot.slot, instances.join(", ")));
        }
        for (code, count) in &self.refusals {
            row("refused", format!("{} {count}", code.as_str()));
        }
        for (service, contents) in &self.quarantine {
            for (content, why) in contents {
                row("quarantine", format!("{service} {}: {}", content.short(), why.reason));
            }
        }
        text
    }
}
