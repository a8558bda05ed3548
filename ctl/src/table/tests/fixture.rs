//! Views as a coordinator sends them.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windlass_core::view::RolloutView;
use windlass_core::{Digest, Timestamp};

const NOW: &str = "2026-11-22T12:10:00.000Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(crate) fn view<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn digest(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}

pub(crate) fn host_view(name: &str, state: &str) -> Value {
    json!({
        "name": name, "state": state, "scheduling": "ready", "labels": { "role": "app", "zone": "a" },
        "address": "10.0.0.11", "last_seen": "2026-11-22T12:09:58.000Z", "agent_version": "0.1.0",
        "engine_version": "28.0.1", "engine": "available", "os": "Debian GNU/Linux 12", "kernel": "6.1.0",
        "platform": "linux/amd64", "cpu_millis": 8000, "memory": 34_359_738_368_u64,
        "memory_reserved": 1_073_741_824, "slots": 2, "issued_seq": 7, "seq": 6,
        "gpus": [{ "uuid": "GPU-1", "name": "H200", "memory": 150_000_000_000_u64 }],
        "plan_refusal": { "code": "expired", "detail": "2h ago" }, "stats": null,
    })
}

/// A measurement that the coordinator was told at that time.
pub(crate) fn stats(told_at: &str) -> Value {
    json!({
        "at": told_at, "told_at": told_at, "cpu_percent": 37.4, "load": [1.5, 1.25, 1.0],
        "cpu": { "user": 30.0, "system": 7.4, "iowait": 2.0, "steal": 0.0 },
        "memory_used": 8_589_934_592_u64, "memory_total": 34_359_738_368_u64,
        "swap_used": 1_048_576, "swap_total": 1_073_741_824,
        "disk_used": 41_000_000_000_u64, "disk_total": 128_000_000_000_u64,
        "disks": [{ "mount": "/", "used": 41_000_000_000_u64, "total": 128_000_000_000_u64, "inodes_used": 9, "inodes_total": 10 },
            { "mount": "/data", "used": 1, "total": 1_073_741_824, "inodes_used": 0, "inodes_total": 0 }],
        "network_rx": 18_231.5, "network_tx": 9_112.25,
        "pressure": { "cpu": { "some": 12.0 }, "memory": {}, "io": { "some": 3.0, "full": 1.0 } },
        "gpus": [{ "uuid": "GPU-1", "utilization": 93.0, "memory_used": 75_000_000_000_u64, "memory_total": 150_000_000_000_u64,
            "temperature": 61.0, "power": 402.0 }],
        "instances": [{
            "instance": "default.web.0.r7.1", "cpu_percent": 140.0, "throttled_percent": 20.0, "memory_used": 48_000_000,
            "memory_limit": 67_108_864, "pids": 11, "counters": { "oom_kills": 1, "network_rx_bytes": 4096,
            "network_tx_bytes": 1024, "block_read_bytes": 0, "block_written_bytes": 8192 },
        }],
    })
}

pub(crate) fn status_view() -> Value {
    let instance = |index: u32, state: &str, release: &str| {
        json!({
            "id": "", "instance": format!("default.web.{index}.{release}.1"), "slot": format!("default/web/{index}"),
            "host": format!("web-{index}"), "state": state, "since": "2026-11-22T11:00:00.000Z", "release": release,
            "endpoints": { "http": "10.0.0.11:20001" }, "restarts": 0, "container": null, "host_state": "connected",
            "cpu_percent": 41.6, "memory_used": 48_000_000, "memory_limit": 67_108_864, "throttled_percent": 12.0,
        })
    };
    let mut refused = instance(2, "refused", "r2");
    refused["instance"] = json!("");
    refused["endpoints"] = json!({});
    refused["since"] = Value::Null;
    refused["host_state"] = json!("suspect");
    refused["refused"] = json!({ "code": "policy", "detail": "registry docker.io is not allowed" });
    json!({
        "service": "web", "environment": "default", "release": "r2", "image": "registry.example.com/web:2", "good": "r1",
        "rollout": "0193ab00-0000-7000-8000-000000000001", "state": "advancing", "wanted": 3, "desired": 3, "healthy": 2,
        "serving": { "r1": 1, "r2": 1 },
        "instances": [instance(0, "healthy", "r2"), instance(1, "healthy", "r1"), refused],
    })
}

/// A rollout whose second slot never got ready.
pub(crate) fn rollout_view(state: &str) -> RolloutView {
    let slot = |index: u32, state: Value| {
        json!({
            "slot": format!("default/web/{index}"), "host": format!("web-{index}"), "host_state": "connected",
            "release": "r3", "phase": "running", "order": "start_first", "state": state, "available": index == 0,
            "pull": null, "refused": null,
        })
    };
    let evidence = json!({
        "instance": "default.web.1.r3.4", "release": digest("r3"), "counter": "r3", "clock": "health",
        "reason": { "exited": { "code": 137 } }, "exit_code": 137, "oom_killed": true, "restarts": 2,
        "log": ["starting", "\u{1b}[2Jallocating"], "at": "2026-11-22T12:05:00.000Z",
        "probes": [{ "at": "2026-11-22T12:04:59.000Z", "probe": "readiness", "ok": false, "detail": "HTTP 503" }],
    });
    view(json!({
        "rollout": "0193ab00-0000-7000-8000-000000000001", "service": "web", "environment": "default", "kind": "deploy",
        "release": "r3", "from": "r2", "state": state, "outcome": state, "reason": "default/web/1 on host web-1: it exited",
        "changed": true, "waiting": ["host web-1 to take its newest plan"], "actor": "operator/alice",
        "created_at": "2026-11-22T12:00:00.000Z", "state_since": "2026-11-22T12:05:00.000Z", "duration_ms": 300_000,
        "total": 2, "available": 1, "slots": [slot(0, json!("healthy")), slot(1, Value::Null)],
        "failures": [
            { "host": "web-1", "slot": "default/web/1", "message": "the process exited with code 137", "evidence": evidence,
              "refused": null },
            { "host": "web-2", "slot": "default/web/2", "message": "refused by the host: no_room: memory", "evidence": null,
              "refused": { "code": "no_room", "detail": "memory" } },
        ],
        "stragglers": ["web-9"], "serving": { "r2": 2 },
    }))
}
