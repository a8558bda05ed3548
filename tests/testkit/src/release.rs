//! A release of `production/web` in fleet `demo`.

use serde::Serialize;
use serde_json::{Value, json};
use windlass_core::release::{Release, Spec};
use windlass_core::{Counter, Digest, Timestamp};

/// The payload of release `counter`: three replicas, rolled out by quarters. Each field of `spec` replaces the usual one.
pub fn payload(counter: u64, spec: Value) -> Value {
    let mut payload = json!({
        "version": 1, "fleet": "demo", "environment": "production", "service": "web",
        "counter": Counter(counter), "created_at": Timestamp::ZERO, "author": "ada",
        "spec": {
            "image": image("registry.lab:5000/web", &format!("v{counter}"), Digest::of(&counter.to_be_bytes())),
            "scale": replicas(3, 3),
            "placement": { "spread": "host" },
            "resources": { "cpu_millis": 100, "memory": "64MiB", "pids": 64 },
            "security": { "read_only_root": false },
            "health": {},
            "strategy": rolling("25%", "5s"),
            "soak": "10s", "progress_deadline": "2m", "stop_timeout": "10s", "on_failure": "rollback_all",
            "rollback_on": { "restarts": 1, "unhealthy_for": "2m" },
            "on_lost": { "on_return": "keep_new" },
        },
    });
    let Value::Object(fields) = spec else { panic!("no fields of a specification: {spec}") };
    for (field, value) in fields {
        payload["spec"][field] = value;
    }
    payload
}

/// [`payload`] as a release.
pub fn release(counter: u64, spec: Value) -> Release {
    parse(payload(counter, spec))
}

/// The specification of [`payload`].
pub fn spec(counter: u64, fields: Value) -> Spec {
    release(counter, fields).spec
}

/// Reads a payload.
pub fn parse(payload: Value) -> Release {
    serde_json::from_value(payload).expect("the payload of a release")
}

/// An image of 1000 bytes for `linux/amd64`.
pub fn image(repository: &str, tag: &str, digest: impl Serialize) -> Value {
    json!({
        "reference": format!("{repository}:{tag}"), "repository": repository, "digest": digest,
        "platform": "linux/amd64", "size": 1000,
    })
}

/// A scale of so many replicas.
pub fn replicas(min: u32, max: u32) -> Value {
    json!({ "replicas": { "min": min, "max": max } })
}

/// The rolling strategy: `batch` slots at a time, each with a surge, none unavailable.
pub fn rolling(batch: impl Into<Value>, min_ready: &str) -> Value {
    let batch = batch.into();
    json!({ "rolling": {
        "batch": batch, "max_surge": batch, "max_unavailable": 0, "order": "auto", "min_ready": min_ready,
    } })
}

/// The strategy that stops a slot's instance before it starts the next one.
pub fn recreate(min_ready: &str) -> Value {
    json!({ "recreate": { "min_ready": min_ready } })
}
