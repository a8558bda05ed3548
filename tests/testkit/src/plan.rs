//! The plan of a host, and slots of `production/web` in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use windlass_core::host::HostPolicy;
use windlass_core::plan::{HostPlan, Order, PLAN_VERSION, Phase, PlanSlot, Previous};
use windlass_core::reconcile::{Desired, LocalHost};
use windlass_core::{Digest, SlotId, Timestamp};

/// Slot `index`.
pub fn slot(index: u32) -> SlotId {
    format!("production/web/{index}").parse().expect("a slot")
}

/// A slot in which `release` runs and is good.
pub fn part(slot: SlotId, release: Digest) -> PlanSlot {
    PlanSlot {
        slot,
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

/// Slot `index`, in which `release` is good.
pub fn good(index: u32, release: Digest) -> PlanSlot {
    part(slot(index), release)
}

/// Slot `index`, in which `release` runs and is not good yet.
pub fn running(index: u32, release: Digest) -> PlanSlot {
    PlanSlot { good: false, ..good(index, release) }
}

/// Slot `index`, in which `release` replaces the good `old`, whose instance is to be in `phase`.
pub fn replacing(index: u32, release: Digest, old: Digest, phase: Phase) -> PlanSlot {
    let previous = Some(Previous { release: old, phase });
    PlanSlot { fallback: Some(old), previous, ..running(index, release) }
}

/// A plan of fleet `demo` that holds for a day.
pub fn plan(host: &str, seq: u64, issued_at: Timestamp, slots: Vec<PlanSlot>) -> HostPlan {
    HostPlan {
        version: PLAN_VERSION,
        fleet: "demo".parse().expect("a fleet"),
        host: host.parse().expect("a host"),
        epoch: 1,
        seq,
        issued_at,
        expires_at: issued_at + Duration::from_secs(86_400),
        slots,
    }
}

/// A host of fleet `demo` whose policy is the usual one.
pub fn local(host: &str, address: &str) -> LocalHost {
    LocalHost {
        fleet: "demo".parse().expect("a fleet"),
        host: host.parse().expect("a host"),
        address: address.to_owned(),
        policy: HostPolicy::default(),
    }
}

/// The desired state of a host that has no plan yet.
pub fn nothing(local: Arc<LocalHost>) -> Desired {
    Desired { local, plan: None, releases: BTreeMap::new(), plan_refusal: None, refusals: BTreeMap::new() }
}
