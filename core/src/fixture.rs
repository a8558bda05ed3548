//! A small fleet and releases for tests beside the code.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::capacity::Taken;
use crate::digest::Digest;
use crate::fleet::{FleetView, Member, Scheduling};
use crate::host::{Gpu, HostFacts, HostPolicy, Liveness};
use crate::id::SlotId;
use crate::observation::{EngineState, Instance, InstanceState, Observation, SlotObservation, SlotStatus};
use crate::plan::{Order, Phase, PlanSlot};
use crate::release::Release;
use crate::service::{ReleaseRef, Releases, Service, Slots};
use crate::slot::Slot;
use crate::time::Timestamp;

/// A release of `production/web`, three replicas, 64 MiB each; `edit` changes its JSON.
pub(crate) fn release(counter: u64, edit: impl FnOnce(&mut serde_json::Value)) -> Release {
    let mut json = windlass_testkit::release::payload(counter, serde_json::json!({}));
    edit(&mut json);
    serde_json::from_value(json).unwrap()
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1000)
}

pub(crate) fn reference(release: &Release) -> ReleaseRef {
    ReleaseRef::of(release, Digest::of(&serde_json::to_vec(release).unwrap()))
}

/// 1 GiB of memory for releases, two GPUs of 16 GiB.
pub(crate) fn member() -> Member {
    let gpu = |n| Gpu { uuid: format!("gpu-{n}"), name: "T4".into(), memory: 16 << 30, ..Gpu::default() };
    let policy = HostPolicy {
        registries: vec!["registry.lab:5000".into()],
        max_memory: crate::host::Limit::Bytes(crate::Size::from_bytes(1 << 30)),
        host_ports: [8080].into(),
        ..HostPolicy::default()
    };
    Member {
        facts: Arc::new(HostFacts {
            platform: "linux/amd64".into(),
            cpu_millis: 4000,
            memory: 2 << 30,
            gpus: vec![gpu(0), gpu(1)],
            policy,
            ..HostFacts::default()
        }),
        liveness: Liveness::Connected,
        last_seen: Some(at(0)),
        isolated_for: None,
        scheduling: Scheduling::Ready,
        has_ingress: false,
        recovering: false,
        issued_seq: 0,
        parts: Arc::default(),
        observation: None,
        last_report: None,
        taken: Taken::default(),
    }
}

pub(crate) fn fleet(hosts: usize) -> FleetView {
    let members = (0..hosts).map(|n| (format!("h{n:04}").parse().unwrap(), member()));
    FleetView { since: at(0), members: members.collect() }
}

/// A service that is at `release`, `count` slots spread over the hosts of `fleet`, all healthy; what the
/// hosts report is written into `fleet`.
pub(crate) fn steady(release: &Release, count: u32, fleet: &mut FleetView) -> (Service, Slots, Releases) {
    let reference = reference(release);
    let mut service = Service::new(release.service_id());
    service.last_counter = release.counter.0;
    service.mark_good(reference);
    service.current = Some(reference);
    service.replicas = count;
    service.next_index = count;
    let hosts: Vec<_> = fleet.members.keys().cloned().collect();
    let mut slots = Slots::new();
    for index in 0..count {
        let slot = SlotId::new(service.id.clone(), index);
        let host = hosts[index as usize % hosts.len()].clone();
        slots.insert(slot.clone(), Slot::adopted(host, want(&slot, reference.digest)));
    }
    let releases = BTreeMap::from([(reference.digest, release.clone())]);
    report(&slots, &releases, fleet, InstanceState::Healthy);
    (service, slots, releases)
}

pub(crate) fn want(slot: &SlotId, release: Digest) -> PlanSlot {
    PlanSlot {
        slot: slot.clone(),
        release,
        phase: Phase::Running,
        good: true,
        fallback: None,
        order: Order::StartFirst,
        gpus: Vec::new(),
        previous: None,
        retry_quarantined: false,
        generation: 0,
        keeps_older: false,
        task: None,
    }
}

/// Every host reports an instance in `state` for each of its slots that has one running.
pub(crate) fn report(slots: &Slots, releases: &Releases, fleet: &mut FleetView, state: InstanceState) {
    let mut seen: BTreeMap<_, Vec<SlotObservation>> = BTreeMap::new();
    for (slot, assignment) in slots {
        let want = assignment.plan();
        let previous = want.previous.as_ref().map(|previous| previous.release);
        let running = if want.phase == Phase::Running { Some(want.release) } else { previous };
        let instances = running.map(|release| instance(slot, release, &releases[&release], state));
        seen.entry(assignment.host().clone()).or_default().push(SlotObservation {
            slot: slot.clone(),
            release: Some(want.release),
            status: SlotStatus::Settled,
            pulled: true,
            checking: false,
            pull: None,
            instances: instances.into_iter().collect(),
            trouble: None,
        });
    }
    for (host, slots) in seen {
        let member = fleet.members.get_mut(&host).unwrap();
        let (seq, engine) = (member.issued_seq, EngineState::Available);
        member.observation =
            Some(Arc::new(Observation { revision: 1, seq, engine, slots, ..Observation::default() }));
        member.last_report = member.observation.clone();
    }
}

pub(crate) fn instance(slot: &SlotId, digest: Digest, release: &Release, state: InstanceState) -> Instance {
    Instance {
        id: format!("web.{}.{}", slot.index, release.counter),
        container: Some("c0ffee".into()),
        release: digest,
        counter: release.counter,
        state,
        since: at(5),
        available: state == InstanceState::Healthy,
        endpoints: BTreeMap::from([("http".into(), format!("10.0.0.1:{}", 20_000 + slot.index))]),
        restarts: 0,
        generation: 0,
        readiness_unknown: false,
        side: crate::traffic::PortSide::A,
        vitals: Default::default(),
    }
}
