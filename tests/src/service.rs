//! Manifests of the sample service, with short times. A manifest is YAML, and JSON is YAML.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A manifest in the making.
#[derive(Debug, Clone)]
pub struct Service {
    manifest: Value,
}

impl Service {
    /// `web` with an image and so many replicas: one at a time, the new one first, nothing unavailable.
    pub fn web(image: &str, replicas: u32) -> Self {
        let probe = |path: &str, failures: u32| json!({ "http": path, "every": "500ms", "timeout": "1s", "failures": failures });
        Self {
            manifest: json!({
                "service": "web",
                "image": image,
                "replicas": replicas,
                "ports": { "http": 8080 },
                "resources": { "cpu": 0.1, "memory": "32MiB" },
                "health": { "startup": probe("/health", 10), "readiness": probe("/health/ready", 3) },
                "strategy": {
                    "rolling": { "batch": 1, "max_surge": 1, "max_unavailable": 0, "min_ready": "500ms" },
                },
                "soak": "1s",
                "progress_deadline": "40s",
                "stop_timeout": "2s",
            }),
        }
    }

    /// A manifest that was written elsewhere.
    pub const fn from_manifest(manifest: Value) -> Self {
        Self { manifest }
    }

    /// Sets one value, named by its path: `strategy.rolling.batch`.
    #[must_use]
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.manifest;
        for key in path.split('.') {
            place = &mut place[key]; // makes what is not there
        }
        *place = value.into();
        self
    }

    /// Writes it into a folder and answers with the file's path.
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, self.manifest.to_string()).expect("the scenario's folder can be written");
        path
    }
}
