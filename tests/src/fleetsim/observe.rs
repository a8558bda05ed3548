//! The report of a host whose engine does everything at once.

use std::collections::BTreeMap;

use windlass_core::host::{HostFacts, HostPolicy, HostStats, InstanceStats, ProbeStats};
use windlass_core::observation::{
    EngineState, Instance, InstanceState, Observation, SlotObservation, SlotStatus,
};
use windlass_core::plan::{HostPlan, PLAN_VERSIONS, Phase, PlanSlot};
use windlass_core::{Counter, Digest, Timestamp};

use super::enrol::Member;
use super::papers::timestamp;

/// An ordinary host.
pub(super) fn facts(member: &Member) -> HostFacts {
    HostFacts {
        agent_version: "0.0.0-herd".to_owned(),
        plan_versions: PLAN_VERSIONS.to_vec(),
        release_versions: windlass_core::release::RELEASE_VERSIONS.to_vec(),
        routes_versions: windlass_core::traffic::ROUTES_VERSIONS.to_vec(),
        address: "127.0.0.1".to_owned(),
        labels: [("role".to_owned(), member.role.clone())].into(),
        hostname: member.host.to_string(),
        os: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        kernel: "6.1.0-28-amd64".to_owned(),
        platform: "linux/amd64".to_owned(),
        cpu_millis: 8000,
        memory: 16 << 30,
        engine_version: "20.10.24".to_owned(),
        policy: HostPolicy { registries: vec!["registry.herd:5000".to_owned()], ..HostPolicy::default() },
        ..HostFacts::default()
    }
}

/// Statistics as large as a real host sends.
pub(super) fn stats(plan: Option<&HostPlan>) -> HostStats {
    let running = plan.into_iter().flat_map(|plan| &plan.slots).filter(|slot| slot.phase == Phase::Running);
    HostStats {
        at: Some(timestamp()),
        cpu_percent: 12.5,
        load: [0.71, 0.52, 0.4],
        memory_used: 3_221_225_472,
        memory_total: 16 << 30,
        disk_used: 41_000_000_000,
        disk_total: 128_000_000_000,
        network_rx: 18_231.5,
        network_tx: 9_112.25,
        instances: running.map(instance_stats).collect(),
        ..HostStats::default()
    }
}

fn instance_stats(slot: &PlanSlot) -> InstanceStats {
    InstanceStats {
        instance: name(slot, slot.release),
        cpu_percent: 3.25,
        memory_used: 48_000_000,
        memory_limit: 64 << 20,
        pids: 11,
        probe: Some(ProbeStats { ok: true, seconds: 0.0042, answers: 1234, failures: 1 }),
        ..InstanceStats::default()
    }
}

/// Everything is as `plan` says.
pub(super) fn observe(plan: Option<&HostPlan>, revision: u64) -> Observation {
    let slots = plan.into_iter().flat_map(|plan| &plan.slots);
    Observation {
        revision,
        seq: plan.map_or(0, |plan| plan.seq),
        engine: EngineState::Available,
        plan_refusal: None,
        unwritable: None,
        conditions: Vec::new(),
        slots: slots.map(observe_slot).collect(),
        tasks: Vec::new(),
    }
}

fn observe_slot(slot: &PlanSlot) -> SlotObservation {
    let mut instances = Vec::new();
    if slot.phase == Phase::Running {
        instances.push(instance(slot, slot.release, InstanceState::Healthy));
    }
    if let Some(previous) = &slot.previous {
        let state = match previous.phase {
            Phase::Running => Some(InstanceState::Healthy),
            Phase::Draining => Some(InstanceState::Draining),
            Phase::Standby => Some(InstanceState::Standby),
            Phase::Pulled | Phase::Absent => None,
        };
        instances.extend(state.map(|state| instance(slot, previous.release, state)));
    }
    SlotObservation {
        slot: slot.slot.clone(),
        release: Some(slot.release),
        status: SlotStatus::Settled,
        pulled: true,
        checking: false,
        pull: None,
        instances,
        trouble: None,
    }
}

fn instance(slot: &PlanSlot, release: Digest, state: InstanceState) -> Instance {
    Instance {
        id: name(slot, release),
        container: Some("4f0c35b39e1f7c2e9b7c0e1a2f3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d".to_owned()),
        release,
        counter: Counter(1),
        state,
        since: Timestamp::from_millis(1_790_000_000_000),
        available: state == InstanceState::Healthy,
        endpoints: BTreeMap::from([("http".to_owned(), "127.0.0.1:20000".to_owned())]),
        restarts: 0,
        generation: slot.generation,
        readiness_unknown: false,
        side: windlass_core::traffic::PortSide::A,
        vitals: Default::default(),
    }
}

fn name(slot: &PlanSlot, release: Digest) -> String {
    format!("{}.{}.{}", slot.slot.service.name, slot.slot.index, release.short())
}
