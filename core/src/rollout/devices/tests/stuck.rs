//! Slots whose device is lost on a host that has no other for them.

use super::*;
use crate::host::GpuHealth;
use crate::rollout::State;
use crate::view::preview;

fn edited(counter: u64, edit: impl FnOnce(&mut serde_json::Value)) -> Release {
    release(counter, |json| {
        with(json!({ "count": 1 }))(json);
        edit(json);
    })
}

/// The slot's device and its neighbour are lost.
fn lose_both(fleet: &mut FleetView) {
    lose(fleet, "gpu-0");
    lose(fleet, "gpu-1");
}

/// A deploy over a slot on the first of `hosts`, whose devices have come to `harm`: where its slots are to run, and why not, if it
/// is refused.
fn deployed_over(
    hosts: usize,
    edit: fn(&mut serde_json::Value),
    harm: fn(&mut FleetView),
) -> (Vec<String>, Option<String>) {
    let (before, to) = (edited(1, edit), edited(2, edit));
    let mut fleet = fleet(hosts);
    let (service, mut slots, mut releases) = steady(&before, 1, &mut fleet);
    slots.values_mut().for_each(|slot| slot.edit(|part| part.gpus = vec!["gpu-0".to_owned()]));
    harm(&mut fleet);
    let shown = preview(&service, &slots, &releases, &fleet, &to, reference(&to).digest, at(100));
    releases.insert(reference(&to).digest, to.clone());
    let target = crate::rollout::tests::midway::deploy(&to, false);
    let (service, rollout, _) = start(&service, None, target, "00000001".parse().unwrap(), at(100)).unwrap();
    let placed = place_only(&snapshot((&fleet, &service, &slots, &releases), Some(&rollout)));
    let rollout = placed.rollout.unwrap();
    let why =
        rollout.reason.as_ref().filter(|_| rollout.state == State::RollingBack).map(ToString::to_string);
    assert_eq!(shown.error, why, "a plan says the same");
    let digest = reference(&to).digest;
    let new = placed.slots.values().filter(|slot| slot.release() == digest);
    (new.map(|slot| format!("{} on {}", slot.target().gpus.join(","), slot.host())).collect(), why)
}

#[test]
fn a_deploy_leaves_a_host_that_has_lost_its_gpus() {
    assert_eq!(deployed_over(2, |_| {}, lose_both), (vec!["gpu-0 on h0001".to_owned()], None));
    let (new, why) = deployed_over(1, |_| {}, lose_both);
    assert!(new.is_empty(), "{new:?}");
    let why = why.unwrap();
    assert!(why.contains("h0000: no room: gpu: 1 needed, 0 free (gpu-0, gpu-1: lost)"), "{why}");
}

#[test]
fn a_slot_whose_volume_is_there_is_not_moved() {
    let volume = |json: &mut serde_json::Value| {
        json["spec"]["volumes"] = json!({ "data": { "mount": "/data", "read_only": false } });
    };
    let (new, why) = deployed_over(2, volume, lose_both);
    assert!(new.is_empty(), "{new:?}");
    let want = "h0000 does not take it in the place of production/web/0: \
                no room: gpu: 1 needed, 0 free (gpu-0, gpu-1: lost), and its named volume is there";
    assert!(why.as_deref().is_some_and(|why| why.contains(want)), "{why:?}");
}

#[test]
fn a_slot_keeps_a_bad_device_where_no_other_is() {
    let both_bad = |fleet: &mut FleetView| {
        facts(fleet).gpus.iter_mut().for_each(|gpu| gpu.health = GpuHealth::Defective);
    };
    assert_eq!(deployed_over(1, |_| {}, both_bad), (vec!["gpu-0 on h0000".to_owned()], None));
}

#[test]
fn a_release_without_gpus_stays_on_such_a_host() {
    let mut fleet = fleet(2);
    lose(&mut fleet, "gpu-0");
    let before = edited(1, |_| {});
    let (service, mut slots, mut releases) = steady(&before, 1, &mut fleet);
    slots.values_mut().for_each(|slot| slot.edit(|part| part.gpus = vec!["gpu-0".to_owned()]));
    let to = release(2, |json| json["spec"]["scale"] = json!({ "replicas": { "min": 1, "max": 1 } }));
    releases.insert(reference(&to).digest, to.clone());
    let target = crate::rollout::tests::midway::deploy(&to, false);
    let (service, rollout, _) = start(&service, None, target, "00000001".parse().unwrap(), at(100)).unwrap();
    let placed = place_only(&snapshot((&fleet, &service, &slots, &releases), Some(&rollout)));
    let hosts: Vec<_> = placed.slots.values().map(|slot| slot.host().as_str()).collect();
    assert_eq!(hosts, ["h0000"]);
}
