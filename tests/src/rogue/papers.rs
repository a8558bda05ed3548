//! Documents as a forger makes them: honest drafts, changed value by value, signed by whoever is at hand, bent after.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_core::{Digest, SlotId, Timestamp};
use windlass_testkit::release;

use super::keys::FLEET;
use super::registry::Pinned;
use windlass_testkit::now;

/// A payload in the making.
#[derive(Debug, Clone)]
pub struct Draft(pub Value);

/// An envelope, and the digest of its payload.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The envelope that is sent.
    pub envelope: Vec<u8>,
    /// The digest that names it.
    pub digest: Digest,
}

impl Draft {
    /// A release of `environment/name` that any agent would start: the sample service, small and quick.
    pub fn release(service: &str, counter: u64, image: &Pinned) -> Self {
        let (environment, name) = service.split_once('/').unwrap_or(("production", service));
        let probe = json!({
            "check": { "http": { "path": "/health/ready", "port": "http" } },
            "every": "200ms", "timeout": "1s", "failures": 3, "successes": 1,
        });
        let mut own = release::image(&image.repository, "lab", image.digest);
        own["size"] = image.size.into();
        let draft = Self(release::payload(
            counter,
            json!({
                "image": own, "scale": release::replicas(1, 1),
                "ports": { "http": { "container": 8080 } }, "main_port": "http",
                "resources": { "cpu_millis": 100, "memory": "32MiB", "pids": 64 },
                "security": { "user": "65534", "read_only_root": false },
                "health": { "readiness": probe }, "strategy": release::recreate("200ms"),
                "soak": "1s", "progress_deadline": "20s", "stop_timeout": "1s",
                "rollback_on": { "restarts": 3, "unhealthy_for": "30s" },
            }),
        ));
        let made = at(now() - Duration::from_secs(1));
        draft
            .with("fleet", FLEET)
            .with("environment", environment)
            .with("service", name)
            .with("created_at", made)
    }

    /// A plan for `host` with these slots, in their order.
    pub fn plan(host: &str, seq: u64, slots: Vec<Value>) -> Self {
        let mut slots = slots;
        slots.sort_by_key(|slot| slot["slot"].as_str().and_then(|text| text.parse::<SlotId>().ok()));
        Self(json!({
            "version": 1, "fleet": FLEET, "host": host, "epoch": 1, "seq": seq,
            "issued_at": at(now()), "expires_at": at(now() + Duration::from_secs(300)), "slots": slots,
        }))
    }

    /// Sets one value, named by its path: `spec.security.user`. A number names an element of a list.
    #[must_use]
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        *place(&mut self.0, path) = value.into();
        self
    }

    /// Takes a value away.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        let (parent, key) = path.rsplit_once('.').map_or(("", path), |split| split);
        if let Some(fields) = place(&mut self.0, parent).as_object_mut() {
            fields.remove(key);
        }
        self
    }

    /// The payload.
    pub fn payload(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    /// Signs it as what it is.
    pub fn seal(&self, kind: PayloadType, keys: &[&SigningKey]) -> Sealed {
        seal(kind, self.payload(), keys)
    }
}

/// Signs any bytes as a document of any kind.
pub fn seal(kind: PayloadType, payload: Vec<u8>, keys: &[&SigningKey]) -> Sealed {
    let envelope = Envelope::sign(kind, payload, keys);
    Sealed { digest: envelope.digest(), envelope: envelope.to_bytes() }
}

/// A slot of a plan in which `release` runs.
pub fn slot(slot: &str, release: &Digest) -> Value {
    json!({
        "slot": slot, "release": release.to_string(), "phase": "running", "good": true,
        "order": "start_first", "retry_quarantined": false,
    })
}

/// A point in time as documents write it.
pub fn at(time: Timestamp) -> String {
    time.to_string()
}

/// Changes the envelope behind its signers' backs.
///
/// # Panics
/// If it is not JSON.
pub fn bend(envelope: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(envelope).expect("an envelope is JSON");
    change(&mut value);
    value.to_string().into_bytes()
}

/// Changes the payload behind its signers' backs.
///
/// # Panics
/// If it is not an envelope.
pub fn bend_payload(envelope: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    bend(envelope, |envelope| {
        let text = envelope["payload"].as_str().expect("an envelope has a payload");
        let mut payload = STANDARD.decode(text).expect("base64");
        change(&mut payload);
        envelope["payload"] = STANDARD.encode(payload).into();
    })
}

fn place<'a>(value: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('.').filter(|key| !key.is_empty()).fold(value, |place, key| match key.parse::<usize>() {
        Ok(index) if place.is_array() => &mut place[index],
        Ok(_) | Err(_) => &mut place[key], // makes what is not there
    })
}
