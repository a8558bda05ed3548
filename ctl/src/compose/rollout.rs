//! `deploy` and the keys of older files that say the same: how many, where, how much of the host, how it is updated.

use serde_json::{Map, Value, json};
use windlass_core::Span;

use super::draft::Draft;
use super::values::{at, cores, millis, size, text, texts};

pub(super) fn fill(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    if let Some(scale) = draft.take(service, "scale") {
        draft.set(&["replicas"], scale.clone());
    }
    let older = [("cpus", "cpu"), ("mem_limit", "memory"), ("pids_limit", "pids")];
    for (key, ours) in older {
        if let Some(value) = draft.take(service, key) {
            resource(draft, key, ours, value);
        }
    }
    if draft.take(service, "mem_reservation").is_some() && draft.get(&["resources", "memory"]).is_none() {
        draft.say("mem_reservation", "one value is limit and request", "`resources: { memory: 512MiB }`");
    }
    if let Some(grace) = draft.take(service, "stop_grace_period").and_then(millis) {
        draft.set(&["stop_timeout"], span(grace.clamp(1000, 3_600_000)));
    }
    let Some(Value::Object(deploy)) = draft.take(service, "deploy") else { return };
    count(draft, deploy);
    resources(draft, deploy);
    update(draft, deploy);
    placement(draft, deploy);
    for key in deploy.keys().filter(|key| {
        !matches!(
            key.as_str(),
            "replicas"
                | "mode"
                | "resources"
                | "update_config"
                | "placement"
                | "restart_policy"
                | "labels"
                | "rollback_config"
        )
    }) {
        draft.say(
            &format!("deploy.{key}"),
            "a manifest has no such key",
            "look whether it is needed: `windlass schema`",
        );
    }
}

fn span(millis: u64) -> Value {
    json!(Span::from_millis(millis).to_string())
}

fn count(draft: &mut Draft<'_>, deploy: &Map<String, Value>) {
    match deploy.get("mode").and_then(Value::as_str) {
        None | Some("replicated") => {}
        Some("global") => return draft.set(&["per_host"], json!(true)),
        Some(other) => draft.say(
            "deploy.mode",
            &format!("`{other}` is not supported"),
            "a service that goes on running is",
        ),
    }
    match deploy.get("replicas").and_then(text).map(|text| text.parse::<u32>()) {
        Some(Ok(0)) => draft.say(
            "deploy.replicas",
            "a service has at least one instance",
            "`windlass stop SERVICE` stops it",
        ),
        Some(Ok(count)) => draft.set(&["replicas"], json!(count)),
        Some(Err(_)) => draft.say("deploy.replicas", "it is no number", "`replicas: 2`"),
        None => {}
    }
}

fn resource(draft: &mut Draft<'_>, key: &str, ours: &str, value: &Value) {
    let read = match ours {
        "cpu" => cores(value),
        "memory" => size(value).map(|size| json!(size)),
        _ => text(value)
            .and_then(|text| text.parse::<u32>().ok())
            .filter(|count| *count > 0)
            .map(|count| json!(count)),
    };
    match read {
        Some(read) => draft.set(&["resources", ours], read),
        None => draft.say(key, "it cannot be read", "`resources: { cpu: 0.5, memory: 512MiB, pids: 512 }`"),
    }
}

fn resources(draft: &mut Draft<'_>, deploy: &Map<String, Value>) {
    for (theirs, ours) in [("cpus", "cpu"), ("memory", "memory"), ("pids", "pids")] {
        let limit = at(deploy, &["resources", "limits", theirs]);
        let reserved = at(deploy, &["resources", "reservations", theirs]);
        if let Some(value) = limit.or(reserved) {
            resource(draft, &format!("deploy.resources.limits.{theirs}"), ours, value);
        }
        if limit.is_some() && reserved.is_some_and(|reserved| Some(reserved) != limit) {
            let key = format!("deploy.resources.reservations.{theirs}");
            draft.say(
                &key,
                "one value is limit and request; the limit is taken",
                "lower it if the host is short",
            );
        }
    }
    let devices = at(deploy, &["resources", "reservations", "devices"]).and_then(Value::as_array);
    for device in devices.into_iter().flatten() {
        let is_gpu =
            device.get("capabilities").map(texts).is_some_and(|all| all.iter().any(|one| one == "gpu"));
        let count = device.get("count").and_then(Value::as_u64).or_else(|| {
            device
                .get("device_ids")
                .and_then(Value::as_array)
                .map(|ids| u64::try_from(ids.len()).unwrap_or(1))
        });
        match (is_gpu, count) {
            (true, Some(count)) => draft.set(&["resources", "gpus"], json!(count)),
            (true, None) => {
                draft.set(&["resources", "gpus"], json!(1));
                draft.say(
                    "deploy.resources.reservations.devices",
                    "`all` GPUs are not asked for; one is",
                    "`resources: { gpus: 2 }`",
                );
            }
            (false, _) => {
                draft.say("deploy.resources.reservations.devices", "only GPUs are given", "leave it away")
            }
        }
    }
}

fn update(draft: &mut Draft<'_>, deploy: &Map<String, Value>) {
    let Some(Value::Object(update)) = deploy.get("update_config") else { return };
    let rolling = ["strategy", "rolling"];
    let is_fixed = draft.get(&["ports"]).and_then(Value::as_object).into_iter().flat_map(Map::values);
    let is_fixed = is_fixed.clone().any(|port| port.get("host").is_some());
    if is_fixed && update.get("order").and_then(Value::as_str) == Some("start-first") {
        draft.say(
            "deploy.update_config.order",
            "one container holds a fixed port of the host, so the old one stops first",
            "leave `host` away and let clients come by `route`",
        );
    }
    let mut set = |key: &str, value: Value| draft.set(&[rolling[0], rolling[1], key], value);
    if let Some(count) = update.get("parallelism").and_then(Value::as_u64) {
        set("batch", if count == 0 { json!("100%") } else { json!(count) });
    }
    if let Some(delay) = update.get("delay").and_then(millis) {
        set("min_ready", span(delay));
    }
    match update.get("order").and_then(Value::as_str) {
        Some("start-first") if !is_fixed => set("order", json!("start_first")),
        Some("stop-first") => set("order", json!("stop_first")),
        _ => {}
    }
    if let Some(monitor) = update.get("monitor").and_then(millis) {
        draft.set(&["soak"], span(monitor));
    }
    match update.get("failure_action").and_then(Value::as_str) {
        Some("rollback") | None => {}
        Some("pause") => draft.set(&["on_failure"], json!("pause")),
        Some(other) => draft.say(
            "deploy.update_config.failure_action",
            &format!("`{other}` is not supported: a release that fails is rolled back"),
            "`on_failure: pause` waits for a person",
        ),
    }
}

fn placement(draft: &mut Draft<'_>, deploy: &Map<String, Value>) {
    let Some(Value::Object(placement)) = deploy.get("placement") else { return };
    for constraint in placement.get("constraints").map(texts).unwrap_or_default() {
        let read = constraint.split_once("==").map(|(key, value)| (key.trim(), value.trim()));
        match read {
            Some(("node.hostname", host)) => draft.set(&["placement", "hosts"], json!([host])),
            Some((key, value)) if key.starts_with("node.labels.") => {
                draft.set(&["placement", "require", key.trim_start_matches("node.labels.")], json!(value));
            }
            _ => draft.say(
                "deploy.placement.constraints",
                &format!("`{constraint}` is not supported"),
                "`placement: { require: { role: app } }` asks for a label of the host",
            ),
        }
    }
    if placement.contains_key("preferences") {
        draft.say(
            "deploy.placement.preferences",
            "instances are spread over hosts anyway",
            "`placement: { spread: pack }` does the opposite",
        );
    }
}
