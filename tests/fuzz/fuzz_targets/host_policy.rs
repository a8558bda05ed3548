//! `policy.toml`. The agent's reader is private to it, so that its source is built in here.
#![no_main]
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use windlass_core::host::HostPolicy;
use windlass_core::policy::{normalise_path, normalise_repository};

#[path = "../../../agent/src/policy/file.rs"]
mod file;

/// As in `agent/src/policy.rs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub host: HostPolicy,
    pub labels: Option<BTreeMap<String, String>>,
}

/// As in `agent/src/policy.rs`.
#[derive(Debug)]
pub enum PolicyError {
    Missing(PathBuf),
    Read { path: PathBuf, source: std::io::Error },
    Owner { path: PathBuf, owner: u32 },
    Mode { path: PathBuf, mode: u32 },
    Malformed { path: PathBuf, source: Box<toml::de::Error> },
    Value { path: PathBuf, key: &'static str, why: String },
}

fuzz_target!(|text: &str| {
    let Ok(policy) = file::parse(Path::new("policy.toml"), text) else { return };
    for prefix in policy.host.registries.iter().chain(&policy.host.insecure_registries) {
        assert_eq!(normalise_repository(prefix).as_ref(), Ok(prefix));
    }
    for path in &policy.host.mounts {
        assert_eq!(normalise_path(path).as_ref(), Ok(path));
        assert_ne!(path, "/");
    }
    let (first, last) = policy.host.port_range;
    assert!(1024 <= first && first <= last);
    assert!(!policy.host.capabilities.contains("ALL"));
    assert!(policy.host.environments.as_ref().is_none_or(|served| !served.is_empty()));
});
