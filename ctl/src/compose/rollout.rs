//! `deploy` and the keys of older files that say the same: how many, where, how much of the host, how it is updated.

use serde_json::{Map, Value, json};
use windlass_core::Span;

use super::draft::{Draft, take};
use super::runs::restart;
use super::values::{at, cores, size, text, texts};

/// The bounds of `stop_timeout`, in milliseconds.
const SHORTEST_STOP: u64 = 1000;
const LONGEST_STOP: u64 = 3_600_000;

pub(super) fn fill(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    if let Some(scale) = take(service, "scale") {
        draft.set(&["replicas"], scale.clone());
    }
    let older = [("cpus", "cpu"), ("mem_limit", "memory"), ("pids_limit", "pids")];
    for (key, ours) in older {
        if let Some(value) = take(service, key) {
            resource(draft, key, ours, value);
        }
    }
    if let Some(reserved) = take(service, "mem_reservation") {
        let (hint, is_limited) =
            ("`resources: { memory: 512MiB }`", draft.get(&["resources", "memory"]).is_some());
        if !is_limited || take(service, "mem_limit") != Some(reserved) {
            let taken = if is_limited { "; the limit is taken" } else { "" };
            draft.say("mem_reservation", &format!("one value is limit and request{taken}"), hint);
        }
    }
    if let Some(grace) = draft.millis(service, "stop_grace_period") {
        let taken = grace.clamp(SHORTEST_STOP, LONGEST_STOP);
        if taken != grace {
            let reason = format!(
                "{} is written as {}: it is from 1s to 1h",
                Span::from_millis(grace),
                Span::from_millis(taken)
            );
            draft.say("stop_grace_period", &reason, "`stop_timeout: 30s`");
        }
        draft.set(&["stop_timeout"], span(taken));
    }
    gpus(draft, service);
    if let Some(Value::Object(deploy)) = take(service, "deploy") {
        deployed(draft, deploy);
    }
    unlimited(draft);
}

fn deployed(draft: &mut Draft<'_>, deploy: &Map<String, Value>) {
    count(draft, deploy);
    resources(draft, deploy);
    update(draft, deploy);
    placement(draft, deploy);
    if let Some(policy) = at(deploy, &["restart_policy", "condition"]).and_then(text) {
        restart(draft, "deploy.restart_policy.condition", &policy);
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
    let key = "deploy.resources.reservations.devices";
    for device in devices.into_iter().flatten() {
        if device.get("capabilities").map(texts).is_some_and(|all| all.iter().any(|one| one == "gpu")) {
            some_gpus(draft, key, device);
        } else {
            draft.say(key, "only GPUs are given", "remove the key");
        }
    }
}

/// In compose, a service without a limit may take the whole host.
fn unlimited(draft: &mut Draft<'_>) {
    let defaults = [("cpu", "one core"), ("memory", "512MiB of memory")];
    let missing = defaults.iter().filter(|(key, _)| draft.get(&["resources", key]).is_none());
    let missing: Vec<&str> = missing.map(|(_, default)| *default).collect();
    if !missing.is_empty() {
        let reason = format!("no limit is named, so an instance gets {} at most", missing.join(" and "));
        draft.say("deploy.resources.limits", &reason, "`resources: { cpu: 2, memory: 2GiB }`");
    }
}

/// `gpus: all`, or a list of devices.
fn gpus(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    match take(service, "gpus") {
        None => {}
        Some(Value::Array(devices)) => devices.iter().for_each(|device| some_gpus(draft, "gpus", device)),
        Some(count) => some_gpus(draft, "gpus", &json!({ "count": count })),
    }
}

/// The GPUs of one entry: a count, or as many as it names.
fn some_gpus(draft: &mut Draft<'_>, key: &str, device: &Value) {
    let named = device.get("device_ids").and_then(Value::as_array);
    let count = device.get("count").and_then(text).and_then(|text| text.parse::<u64>().ok());
    let count = count.or_else(|| named.map(|ids| u64::try_from(ids.len()).unwrap_or(1)));
    draft.set(&["resources", "gpus"], json!(count.unwrap_or(1)));
    if named.is_some() {
        draft.say(key, "which GPUs it gets is chosen on the host", "`resources: { gpus: 2 }`");
    }
    if count.is_none() {
        draft.say(key, "`all` GPUs are not asked for; one is", "`resources: { gpus: 2 }`");
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
    let set =
        |draft: &mut Draft<'_>, key: &str, value: Value| draft.set(&[rolling[0], rolling[1], key], value);
    if let Some(parallelism) = take(update, "parallelism") {
        match text(parallelism).and_then(|text| text.parse::<u64>().ok()) {
            Some(0) => set(draft, "batch", json!("100%")),
            Some(count) => set(draft, "batch", json!(count)),
            None => draft.odd(
                "deploy.update_config.parallelism",
                parallelism,
                "`strategy: { rolling: { batch: 2 } }`",
            ),
        }
    }
    if let Some(delay) = draft.millis(update, "deploy.update_config.delay") {
        set(draft, "min_ready", span(delay));
    }
    match update.get("order").and_then(Value::as_str) {
        Some("start-first") if !is_fixed => set(draft, "order", json!("start_first")),
        Some("stop-first") => set(draft, "order", json!("stop_first")),
        None | Some("start-first") => {}
        Some(other) => draft.odd(
            "deploy.update_config.order",
            &json!(other),
            "`strategy: { rolling: { order: start_first } }`",
        ),
    }
    if let Some(monitor) = draft.millis(update, "deploy.update_config.monitor") {
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
