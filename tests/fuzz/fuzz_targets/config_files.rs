//! `server.toml`, `agent.toml` and the operator's `config.toml`.
#![no_main]
#![allow(dead_code)]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use windlass_agent::config::{Config as AgentConfig, Given, check_address};
use windlass_server::Config;
use windlass_server::config::Overrides;

// The CLI's reader is private to it, so that its source is built in here.
#[path = "../../../ctl/src/home/config.rs"]
mod config;

/// As in `ctl/src/home.rs`.
#[derive(Debug)]
enum HomeError {
    NoContext(PathBuf),
    UnknownContext { name: String, known: Vec<String> },
}

fuzz_target!(|text: &str| {
    let root = ["/dev/shm", "/tmp"].into_iter().find(|root| std::fs::metadata(root).is_ok()).unwrap_or(".");
    let folder = PathBuf::from(root).join(format!("windlass-fuzz-{}", std::process::id()));
    let _ = std::fs::create_dir(&folder); // made by the first input
    std::fs::write(folder.join("server.toml"), text).expect("a folder in memory");
    if let Ok(config) = Config::load(&folder, Overrides::default()) {
        assert!(config.liveness.suspect <= config.liveness.lost);
    }
    let given = Given { config: Some(folder.join("server.toml")), ..Given::default() };
    if let Ok(config) = AgentConfig::resolve(&given) {
        assert!(config.engine_socket().is_absolute());
        assert!(config.server.is_none_or(|address| check_address(&address).is_ok()));
    }
    if let Ok(config) = toml::from_str::<config::Config>(text) {
        for name in config.contexts.keys() {
            assert!(config.context(Some(name), &folder).is_ok());
        }
    }
});
