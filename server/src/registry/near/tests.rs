//! A decision near a service is the one that the whole fleet would give.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use windlass_certs::keys::SigningKey;
use windlass_core::fleet::Scheduling;
use windlass_core::host::{HostFacts, HostPolicy};
use windlass_core::observation::{EngineState, Observation};
use windlass_core::release::Release;
use windlass_core::rollout::{self, Advance, Snapshot};
use windlass_core::service::{ReleaseRef, Service};
use windlass_core::{Digest, SlotId};
use windlass_testkit::plan::part;
use windlass_testkit::release::{self, image, rolling};

use super::*;
use crate::clock::Clock;
use crate::config::LivenessRules;
use crate::ledger::state_for_tests as state;
use crate::store::record::{HostRecord, Membership, RecoveryRecord};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// h0 to h7: h5 was evicted, h6 has never connected, and every other host has reported.
fn fleet(state: &mut State) -> Registry {
    let registry = Registry::new(LivenessRules::default(), Clock::manual(NOW - Duration::from_secs(3600)));
    let receipts = SigningKey::generate().unwrap().public();
    for n in 0..8 {
        let host: HostId = format!("h{n}").parse().unwrap();
        let facts = HostFacts {
            platform: "linux/amd64".to_owned(),
            cpu_millis: 4000,
            memory: 8 << 30,
            policy: HostPolicy { registries: vec!["registry.lab".to_owned()], ..HostPolicy::default() },
            ..HostFacts::default()
        };
        let record = json!({
            "name": host, "standing": "member", "labels": {}, "address": "127.0.0.1", "receipt_key": receipts,
            "key": Digest::of(b"key"), "joined_at": NOW, "token": Digest::of(b"token"), "certificate": {
                "generation": 1, "serial": "01", "not_after": NOW, "chain": "", "seen": true,
            },
        });
        let mut record: HostRecord = serde_json::from_value(record).unwrap();
        record.facts = Arc::new(facts);
        record.scheduling = if n == 4 { Scheduling::Draining } else { Scheduling::Ready };
        record.standing = if n == 5 { Membership::Evicted } else { Membership::Member };
        state.hosts.insert(host.clone(), record);
        if n != 6 {
            let engine = EngineState::Available;
            registry.observed(&host, Arc::new(Observation { engine, ..Observation::default() }), NOW);
        }
    }
    registry
}

/// A service at rest, with a slot on each of `on`, that wants `replicas`.
fn service(state: &mut State, name: &str, replicas: u32, on: &[u32]) -> ServiceId {
    let spec = json!({
        "image": image("registry.lab/web", "1", Digest::of(b"image")), "scale": release::replicas(0, 100),
        "resources": { "cpu_millis": 100, "memory": "1GiB", "pids": 64 }, "strategy": rolling(1, "0s"),
        "soak": "0s", "progress_deadline": "1m", "stop_timeout": "1s",
        "rollback_on": { "restarts": 1, "unhealthy_for": "1m" },
    });
    let release = Release { service: name.parse().unwrap(), ..windlass_testkit::release::release(1, spec) };
    let digest = Digest::of(name.as_bytes());
    let mut service = Service::new(release.service_id());
    let reference = ReleaseRef::of(&release, digest);
    state.releases.insert(digest, release);
    service.mark_good(reference);
    (service.current, service.replicas, service.next_index) = (Some(reference), replicas, 50);
    let id = service.id.clone();
    state.services.insert(id.clone(), service);
    for (index, host) in (0..).zip(on) {
        let slot = SlotId::new(id.clone(), index);
        let host = format!("h{host}").parse().unwrap();
        state.put_slot(slot.clone(), Slot::adopted(host, part(slot, digest)));
    }
    id
}

/// One that has begun long ago.
fn recovery() -> RecoveryRecord {
    let cause = "a host was ahead".to_owned();
    RecoveryRecord { segment: 0, start: 0, cause, begun_at: NOW - Duration::from_secs(9000), ended_at: None }
}

fn decide(state: &State, fleet: &dyn Fleet, id: &ServiceId) -> Advance {
    rollout::advance(&Snapshot {
        service: &state.services[id],
        slots: state.slots.get(id).unwrap_or(&Default::default()),
        rollout: None,
        releases: &state.releases,
        fleet,
        now: NOW,
    })
}

#[test]
fn decision_near_a_service_equals_that_of_the_whole_fleet() {
    let mut state = state();
    let registry = fleet(&mut state);
    let cases = [
        ("rests", 3, vec![0, 1, 2], false),
        ("lacks", 6, vec![0, 1, 2], true),
        ("drains", 2, vec![0, 4], true),
        ("evicted", 2, vec![0, 5], true),
        ("unheard", 2, vec![0, 6], false),
        ("too-many", 1, vec![0, 1, 2], false),
        ("nowhere-yet", 2, vec![], true),
    ];
    let ids: Vec<_> =
        cases.iter().map(|(name, count, on, _)| service(&mut state, name, *count, on)).collect();
    for ((name, _, _, asks), id) in cases.iter().zip(&ids) {
        let near = registry.around(&state, id, NOW);
        let whole = registry.fleet(&state, Some(id), NOW);
        assert_eq!(decide(&state, &near, id), decide(&state, &whole, id), "{name}");
        assert_eq!(near.all.get().is_some(), *asks, "{name}: only who places asks for everybody");
        assert_eq!(near.all(), &whole.members, "{name}");
    }
}

#[test]
fn no_deadline_counts_time_before_the_end_of_recovery() {
    let mut state = state();
    let registry = fleet(&mut state);
    let id = service(&mut state, "web", 3, &[0, 1, 2]);
    let ends = [None, Some(NOW - Duration::from_secs(60)), Some(NOW - Duration::from_secs(7200))];
    let wants = [registry.started(), NOW - Duration::from_secs(60), registry.started()];
    for (ended_at, want) in ends.into_iter().zip(wants) {
        state.recovery = Some(RecoveryRecord { ended_at, ..recovery() });
        assert_eq!(registry.around(&state, &id, NOW).since(), want, "{ended_at:?}");
        assert_eq!(registry.fleet(&state, Some(&id), NOW).since(), want, "{ended_at:?}");
    }
}

#[test]
fn resources_taken_of_a_host_equal_those_of_its_slots() {
    let mut state = state();
    fleet(&mut state);
    let ids = ["a", "b", "c"].map(|name| service(&mut state, name, 3, &[0, 1, 2]));
    state.put_slot(SlotId::new(ids[0].clone(), 0), {
        let mut moved = state.slots[&ids[0]][&SlotId::new(ids[0].clone(), 0)].clone();
        moved = Slot::adopted("h1".parse().unwrap(), moved.plan());
        moved
    });
    let slots = |host: &str| state.taken_beside(&host.parse().unwrap(), None).slots;
    assert_eq!([slots("h0"), slots("h1"), slots("h2"), slots("h3")], [2, 4, 3, 0]);
    let host = "h1".parse().unwrap();
    let beside: BTreeSet<u32> = ids.iter().map(|id| state.taken_beside(&host, Some(id)).slots).collect();
    assert_eq!(beside, [2, 3].into(), "a has two slots there, b and c one");
    let other = "production/elsewhere".parse().unwrap();
    assert_eq!(state.taken_beside(&host, Some(&other)).memory, 4 << 30);
}
