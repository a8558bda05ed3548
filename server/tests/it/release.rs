//! Releases to submit.

use serde_json::json;
use windlass_certs::dsse::PayloadType;
use windlass_certs::keys::SigningKey;
use windlass_core::Digest;
use windlass_core::release::Release;
use windlass_testkit::keys::seal;
use windlass_testkit::release::{image, replicas, rolling};

/// `default/web rN` whose image is named after `content`.
pub(crate) fn release(counter: u64, instances: u32, content: &str) -> Release {
    let spec = json!({
        "image": image("127.0.0.1:5000/web", content, Digest::of(content.as_bytes())),
        "scale": replicas(instances, instances), "ports": { "http": { "container": 3000 } }, "main_port": "http",
        "resources": { "cpu_millis": 500, "memory": "64MiB", "pids": 100 },
        "strategy": rolling(1, "0s"), "soak": "200ms", "progress_deadline": "10m", "stop_timeout": "1s",
        "rollback_on": { "restarts": 3, "unhealthy_for": "2m" },
    });
    Release { environment: "default".parse().unwrap(), ..windlass_testkit::release::release(counter, spec) }
}

/// Its envelope.
pub(crate) fn signed(release: &Release, key: &SigningKey) -> Vec<u8> {
    seal(PayloadType::Release, release, &[key]).to_bytes()
}
