//! The words for what a slot waits for.

use std::sync::Arc;

use super::*;
use crate::fixture::{at, fleet, release, steady};
use crate::host::{GPUS, HostFacts, Silent};

#[test]
fn what_gets_a_gpu_waits_for_a_library_that_hangs() {
    let mut fleet = fleet(1);
    let (_, mut slots, _) = steady(&release(1, |_| {}), 1, &mut fleet);
    let (host, member) = fleet.members.iter_mut().next().unwrap();
    let silent = Silent { what: GPUS.to_owned(), since: at(5), why: "it hangs".to_owned() };
    member.facts = Arc::new(HostFacts { silent: vec![silent], ..HostFacts::clone(&member.facts) });
    let slot = slots.values_mut().next().unwrap();
    let (id, hangs) = (slot.id().clone(), Waiting::GpusSilent(host.clone()));
    let healthy = Waiting::Healthy { host: host.clone(), slot: id };
    let waits = |slot: &Slot, member: &Member| SlotFacts::new(slot, Some(member), false).until_available();
    let mut none = member.clone();
    Arc::make_mut(none.observation.as_mut().unwrap()).slots[0].instances.clear();
    assert_eq!(waits(slot, &none), healthy, "without a GPU");
    slot.edit(|part| part.gpus = vec!["gpu-0".to_owned()]);
    assert_eq!(waits(slot, member), healthy, "it has started");
    assert_eq!(waits(slot, &none), hangs);
    assert_eq!(hangs.kind(), "gpus_silent");
}
