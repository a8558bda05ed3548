//! GPUs in what people see.

use super::*;
use crate::condition::{Condition, ConditionCode};

/// Two cards are on each host; the service has one of them, and another one the second.
#[test]
fn a_plan_warns_of_a_hook_that_finds_no_gpu() {
    let warned = |held: &[&str]| {
        let mut fleet = fleet(1);
        let gpus = serde_json::json!({ "count": 1 });
        let scaled = |json: &mut serde_json::Value| {
            json["spec"]["resources"]["gpus"] = gpus.clone();
            json["spec"]["scale"] = serde_json::json!({ "replicas": { "min": 1, "max": 1 } });
        };
        let (service, mut slots, releases) = steady(&release(1, scaled), 1, &mut fleet);
        slots.values_mut().for_each(|slot| slot.edit(|part| part.gpus = vec!["gpu-0".to_owned()]));
        let member = fleet.members.values_mut().next().unwrap();
        let taken = held.iter().map(|uuid| ((*uuid).to_owned(), crate::capacity::GpuTaken::Exclusively));
        member.taken.gpus = taken.collect();
        let next = release(2, |json| {
            scaled(json);
            let hook = serde_json::json!({ "name": "check", "run": ["true"], "gpus": 1, "timeout": "1m" });
            json["spec"]["hooks"] = serde_json::json!({ "before": [hook] });
        });
        preview(&service, &slots, &releases, &fleet, &next, reference(&next).digest, at(60)).warnings
    };
    assert_eq!(warned(&[]), [""; 0], "its successor gets the card after it");
    assert_eq!(
        warned(&["gpu-1"]),
        ["hook check needs 1 GPUs of h0000 alone, and 0 of 2 are free: it would be refused"]
    );
}

/// The word of its agent about a device is said of the host, in a list too.
#[test]
fn errors_of_a_gpu_are_conditions_of_its_host() {
    let mut fleet = fleet(1);
    let (_, slots, _) = steady(&release(1, |_| {}), 1, &mut fleet);
    let (name, member) = fleet.members.iter_mut().next().unwrap();
    let seen = Arc::make_mut(member.observation.as_mut().unwrap());
    let lost = Condition::of_device(ConditionCode::GpuLost, "GPU-1", "GPU-1 T4 is lost");
    let slot = slots.keys().next().cloned();
    seen.conditions = vec![lost.clone(), Condition { slot, message: "its GPU".to_owned(), ..lost }];
    let mut view = crate::view::host(name, member, None);
    assert_eq!(view.host_conditions.iter().map(|of| of.code.as_str()).collect::<Vec<_>>(), ["gpu_lost"]);
    assert_eq!(view.conditions.len(), 2);
    view.for_list();
    assert_eq!((view.conditions.len(), view.note().as_deref()), (1, Some("GPU-1 T4 is lost")));
    crate::view::narrow(&mut view, |_| false);
    assert_eq!((view.host_conditions.len(), view.note().as_deref()), (1, Some("GPU-1 T4 is lost")));
}
